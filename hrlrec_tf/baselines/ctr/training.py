"""Trains a baseline on prepared sessions and opens what that made; the folder is described in `model_folder`."""

import pathlib
from collections.abc import Mapping, Sequence

import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2

from hrlrec_tf import cli, model_folder
from hrlrec_tf.baselines.ctr import config as configs
from hrlrec_tf.baselines.ctr import fields, rows
from hrlrec_tf.baselines.ctr.config import CtrConfig
from hrlrec_tf.baselines.ctr.fitting import Fit
from hrlrec_tf.baselines.ctr.model import SessionScorer, build
from hrlrec_tf.data import schema as schemas
from hrlrec_tf.data.input import SessionReader
from hrlrec_tf.model_folder import MetricsLog


def train(
    model: str,
    config: CtrConfig,
    schema: schema_pb2.Schema,
    transform_dir: str,
    train_files: Sequence[str],
    validation_files: Sequence[str],
    out: str,
    resume: bool = False,
    progress: bool = True,
) -> Mapping[str, object]:
    """Trains a baseline and keeps the weights of the best validation AUC.

    Args:
      model: its name, one of `config.MODELS`.
      config: all settings.
      schema, transform_dir, train_files, validation_files, out, resume, progress: as for `hrlrec_tf.training.train`.

    Returns:
      What `result.json` holds: best validation AUC, epochs, batches, training rows, trained parameters.

    Raises:
      ConfigError, DataError: the sessions lack rows or features. ModelError: `out` holds a finished model, or one of
      other settings. TrainingError: the loss is NaN or infinite.
    """
    reader = SessionReader(schema, transform_dir)
    session_rows = fields.of_model(model, config, reader.spec, reader.sizes)
    folder = model_folder.open_folder(pathlib.Path(out), config, train_files, schema, transform_dir, resume, model)
    tf.keras.utils.set_random_seed(config.training.seed)
    network = build(model, config, session_rows.fields, len(session_rows.groups))
    training = rows.read(reader, session_rows, train_files)
    validation = rows.read(reader, session_rows, validation_files) if validation_files else None
    if network.rates is not None and training.size:
        network.rates.adapt(training.features["counts"], training.labels)
    fit = Fit(network, training, validation, config.training, folder / "checkpoints")
    fit.run(MetricsLog(folder, fit.epoch).record, progress)
    result = {
        "model": model,
        "epochs": fit.epoch,
        "batches": fit.batches,
        "rows": training.size,
        "parameters": sum(int(tf.size(weight)) for weight in network.trainable_variables),
        **fit.best,
    }
    cli.write_json(folder / model_folder.RESULT, result)
    return result


def load(model_dir: str) -> tuple[SessionScorer, SessionReader, CtrConfig]:
    """The best weights of a model folder as a scorer of sessions, with the reader of its sessions.

    Raises:
      ModelError: the folder holds no finished baseline.
    """
    folder = pathlib.Path(model_dir)
    settings = model_folder.finished_settings(folder, configs.MODELS)
    config = configs.from_dict(settings["model"], settings["config"])
    reader = SessionReader(schemas.read(str(folder / "schema.pbtxt")), str(folder / "transform"))
    session_rows = fields.of_model(settings["model"], config, reader.spec, reader.sizes)
    network = build(settings["model"], config, session_rows.fields, len(session_rows.groups))
    best = tf.train.latest_checkpoint(str(folder / "checkpoints/best"))
    tf.train.Checkpoint(model=network).restore(best).assert_existing_objects_matched().expect_partial()
    return SessionScorer(network, session_rows), reader, config
