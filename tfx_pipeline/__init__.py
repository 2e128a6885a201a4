"""The training pipeline on TFX: adapters around `hrlrec_tf`, no model code of its own.

`pipeline.create_pipeline` is the one DAG. `local_runner` runs it on this machine, `kubeflow_runner` compiles it for
Kubeflow Pipelines; the runners own the paths.
"""

from typing import Any

import hrlrec_tf  # noqa: F401  (selects Keras 2 before anything here imports TensorFlow)


def __getattr__(name: str) -> Any:
    """Kubeflow names an artifact's class by this package and its own name; TFX is imported when it is asked for."""
    if name in ("GateReport", "ModelCard"):
        from tfx_pipeline import reports

        return getattr(reports, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
