"""Entry point of the Trainer component: the one training loop of `hrlrec_tf.training`, then the export."""

import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tfx import v1 as tfx
from tfx.utils import io_utils

from hrlrec_tf import export, models, quotas, runtime, warm_start
from hrlrec_tf.config import Config
from hrlrec_tf.data.input import SessionReader
from hrlrec_tf.settings import Sections
from tfx_pipeline import blessed

BASELINE = "lr"


def run_fn(fn_args: tfx.components.FnArgs) -> None:
    """Trains on split `train`, chooses by split `validation`, writes the export and the model folder.

    Args:
      fn_args: TFX's; `custom_config["config"]` is a `Config` as JSON, the export goes to `serving_model_dir`, the model
        folder (see `hrlrec_tf.training`) to `model_run_dir`. With a `base_model` (of `blessed.LastBlessed`) training
        goes on from it, with the settings of `custom_config["warm"]` changed. What the export carries: see `carried`.
    """
    config = Config.from_json(fn_args.custom_config["config"])
    base = os.path.dirname(fn_args.base_model) if fn_args.base_model else None
    if base is None or not blessed.has_model(base):
        return _train("hrl-rec", config, fn_args)
    with tempfile.TemporaryDirectory() as scratch:
        io_utils.copy_dir(os.path.join(base, blessed.MODEL), scratch)
        _train("hrl-rec", config.override(fn_args.custom_config["warm"]), fn_args, warm_start=scratch)


def run_baseline_fn(fn_args: tfx.components.FnArgs) -> None:
    """Trains and exports logistic regression on the same sessions, for the gates to compare with."""
    _train(BASELINE, models.settings(BASELINE), fn_args)


def _train(model_name: str, config: Sections, fn_args: tfx.components.FnArgs, **more: Any) -> None:
    runtime.keep_freed_memory()
    schema = io_utils.SchemaReader().read(fn_args.schema_file)
    # Training works on local folders; artifacts may lie anywhere that TFX can copy from and to.
    with tempfile.TemporaryDirectory() as scratch:
        transform, model, saved_model = (os.path.join(scratch, name) for name in ("transform", "model", "export"))
        io_utils.copy_dir(fn_args.transform_graph_path, transform)
        files = (_files(fn_args.train_files), _files(fn_args.eval_files))
        carries = carried(fn_args, scratch)
        if carries["quotas"]:  # a channel that is unknown is told before a training, not after it
            base, vanished = more.get("warm_start"), config.to_dict()["training"]["vanished"]
            with warm_start.joined_transform(base, model_name, schema, transform, vanished) as joined:
                reader = SessionReader(schema, joined)
                quotas.Quotas.from_file(carries["quotas"], reader.spec.list_length, reader.vocabulary("channel"))
        models.train(model_name, config, schema, transform, *files, model, progress=sys.stderr.isatty(), **more)
        export.export_saved_model(model, saved_model, **carries)
        io_utils.copy_dir(model, fn_args.model_run_dir)
        io_utils.copy_dir(saved_model, fn_args.serving_model_dir)


def carried(fn_args: tfx.components.FnArgs, scratch: str) -> dict[str, str | None]:
    """What the export carries along, as `export.export_saved_model` takes it.

    Args:
      fn_args: TFX's; `custom_config["catalogue"]` asks for the items of the run's own sessions,
        `custom_config["quotas"]` are quotas as YAML.
      scratch: a local folder for what that needs.
    """
    bounds = quotas.write_text(fn_args.custom_config.get("quotas", ""), scratch)
    if not fn_args.custom_config.get("catalogue"):
        return {"catalogue": None, "quotas": bounds}
    sessions = os.path.dirname(os.path.dirname(fn_args.train_files[0]))  # the folder of all splits
    if "://" in sessions:
        io_utils.copy_dir(sessions, os.path.join(scratch, "sessions"))
        sessions = os.path.join(scratch, "sessions")
    return {"catalogue": sessions, "quotas": bounds}


def _files(patterns: Sequence[str]) -> list[str]:
    return sorted(file for pattern in patterns for file in tf.io.gfile.glob(pattern))
