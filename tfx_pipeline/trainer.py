"""Entry point of the Trainer component: the one training loop of `hrlrec_tf.training`, then the export."""

import os
import sys
import tempfile
from collections.abc import Sequence

import tensorflow as tf
from tfx import v1 as tfx
from tfx.utils import io_utils

from hrlrec_tf import export, runtime, training
from hrlrec_tf.config import Config


def run_fn(fn_args: tfx.components.FnArgs) -> None:
    """Trains on split `train`, chooses by split `validation`, writes the export and the model folder.

    Args:
      fn_args: TFX's; `custom_config["config"]` is a `Config` as JSON, the export goes to `serving_model_dir`, the model
        folder (see `hrlrec_tf.training`) to `model_run_dir`.
    """
    runtime.keep_freed_memory()
    schema = io_utils.SchemaReader().read(fn_args.schema_file)
    # Training works on local folders; artifacts may lie anywhere that TFX can copy from and to.
    with tempfile.TemporaryDirectory() as scratch:
        transform, model, saved_model = (os.path.join(scratch, name) for name in ("transform", "model", "export"))
        io_utils.copy_dir(fn_args.transform_graph_path, transform)
        training.train(
            Config.from_json(fn_args.custom_config["config"]),
            schema,
            transform,
            _files(fn_args.train_files),
            _files(fn_args.eval_files),
            model,
            progress=sys.stderr.isatty(),
        )
        export.export_saved_model(model, saved_model)
        io_utils.copy_dir(model, fn_args.model_run_dir)
        io_utils.copy_dir(saved_model, fn_args.serving_model_dir)


def _files(patterns: Sequence[str]) -> list[str]:
    return sorted(file for pattern in patterns for file in tf.io.gfile.glob(pattern))
