"""HRL-Rec: hierarchical reinforcement learning for integrated recommendation (AAAI 2021), on TensorFlow.

TF-Agents and TensorFlow Recommenders need Keras 2, which TensorFlow serves as `tf.keras` only when
`TF_USE_LEGACY_KERAS=1` is set before TensorFlow is imported. Importing this package sets it in time, for this process
and its children, or fails with the remedy. It does not import TensorFlow itself.
"""

import os
import sys

from hrlrec_tf.version import __version__

__all__ = ["__version__"]


def _use_legacy_keras() -> None:
    """Makes `tf.keras` mean Keras 2; raises `ImportError` when TensorFlow already serves Keras 3."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
    # `tf.keras` names no version of its own: Keras 2 is the package tf_keras, Keras 3 is keras.
    elif not tensorflow.keras.Model.__module__.startswith("tf_keras."):
        raise ImportError(
            "hrlrec_tf needs Keras 2, but TensorFlow is already imported with Keras 3: import hrlrec_tf before "
            "tensorflow, or set the environment variable TF_USE_LEGACY_KERAS=1"
        )


_use_legacy_keras()
