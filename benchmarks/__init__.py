"""Measurements of the package against peers; not part of the wheel. Run from the repository's root."""

import hrlrec_tf  # noqa: F401  chooses Keras 2 before anything imports TensorFlow
