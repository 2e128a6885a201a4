"""The training pipeline on TFX: adapters around `hrlrec_tf`, no model code of its own.

`pipeline.create_pipeline` is the one DAG. `local_runner` runs it on this machine, `kubeflow_runner` compiles it for
Kubeflow Pipelines; the runners own the paths.
"""

import hrlrec_tf  # noqa: F401  (selects Keras 2 before anything here imports TensorFlow)
