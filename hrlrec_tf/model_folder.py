"""The folder that training makes: opened, resumed, its metrics written and read.

A model folder holds `config.json`, `schema.pbtxt`, `transform/`, `checkpoints/last` (everything, to resume),
`checkpoints/best` (the networks of the best validation AUC), `metrics.jsonl`, TensorBoard events in `logs/`, and
`result.json`, written last: a folder without it is unfinished.
"""

import dataclasses
import hashlib
import json
import pathlib
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2

from hrlrec_tf import cli
from hrlrec_tf.data import schema as schemas
from hrlrec_tf.data import vocabulary_join
from hrlrec_tf.errors import DataError, ModelError
from hrlrec_tf.settings import Sections

CONFIG, RESULT = "config.json", "result.json"
_METRICS, _EVENTS = "metrics.jsonl", "logs"


def open_folder(
    folder: pathlib.Path,
    config: Sections,
    train_files: Sequence[str],
    schema: schema_pb2.Schema,
    transform_dir: str,
    resume: bool,
    model: str,
    warm_start: str | None = None,
) -> pathlib.Path:
    """Makes the folder of a named model, or checks that an unfinished one can be resumed.

    `warm_start` names the finished model folder that this one goes on from.

    Raises:
      ModelError: the folder holds a finished model, one of other settings or sessions, or other files.
    """
    sessions = {pathlib.Path(file).name: tf.io.gfile.stat(file).length for file in train_files}
    settings = {"model": model, "config": config.to_dict(), "sessions": sessions}
    if warm_start is not None:
        settings["warm_start"] = identity(pathlib.Path(warm_start))
    if (folder / RESULT).exists():
        raise ModelError(f"{folder} holds a finished model; choose another --out or remove it")
    begun = read_settings(folder)
    if resume and begun:
        if begun != json.loads(json.dumps(settings)):
            raise ModelError(
                f"{folder} was begun with other settings or sessions; repeat them, or start again without --resume"
            )
        return folder
    if begun:  # unfinished: start again
        shutil.rmtree(folder)
    if folder.exists() and any(folder.iterdir()):
        raise ModelError(f"{folder} holds other files; choose another --out")
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    shutil.copytree(transform_dir, scratch / "transform")
    schemas.write(schema, str(scratch / "schema.pbtxt"))
    cli.write_json(scratch / CONFIG, settings)
    scratch.chmod(0o755)
    scratch.rename(folder)
    return folder


def read_settings(folder: pathlib.Path) -> dict[str, Any] | None:
    """What `config.json` of a model folder holds, or None if the folder is none: only what training made may be
    removed.
    """
    try:
        settings = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known = {"model", "config", "sessions"}
    return settings if isinstance(settings, dict) and known <= set(settings) <= known | {"warm_start"} else None


def identity(folder: pathlib.Path) -> str:
    """Of a finished model: the same settings, sessions and result, the same identity."""
    content = "".join((folder / name).read_text(encoding="utf-8") for name in (CONFIG, RESULT))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def check_warm_start(folder: pathlib.Path, model: str, schema: schema_pb2.Schema) -> str:
    """The transform of a finished model whose training may be gone on with on sessions of a schema.

    Raises:
      ModelError: the folder holds no finished model of this name.
      DataError: its sessions have other features than these, or other rules of ids.
    """
    finished_settings(folder, [model])
    theirs, ours = (schemas.from_schema(each) for each in (schemas.read(str(folder / "schema.pbtxt")), schema))
    if dataclasses.replace(theirs, ids={}) != dataclasses.replace(ours, ids={}):
        raise DataError(
            f"{folder} was trained on sessions of other features; prepare these with the columns, list_length, "
            "sequence_length and max_tags of those, or train without --warm-start"
        )
    vocabulary_join.check_rules(str(folder), theirs, ours)
    return str(folder / "transform")


def finished_settings(folder: pathlib.Path, models: Collection[str]) -> dict[str, Any]:
    """What `config.json` of a finished model folder holds.

    Args:
      folder: of a model.
      models: names of the models that will do.

    Raises:
      ModelError: the folder holds no finished model, or one of another name.
    """
    settings = read_settings(folder)
    if settings is None or not (folder / RESULT).exists():
        raise ModelError(f"{folder} holds no finished model; run hrlrec train with --out {folder}, or --resume it")
    if settings["model"] not in models:
        raise ModelError(
            f"{folder} holds the model {settings['model']}, which this does not work with; name a folder of "
            f"{', '.join(models)}"
        )
    return settings


def read_metrics(folder: pathlib.Path) -> list[dict[str, Any]]:
    """Records of `metrics.jsonl`, one per epoch and split; a last line that a kill cut off is left out."""
    file = folder / _METRICS
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


class MetricsLog:
    """Writes `metrics.jsonl` and the same values as TensorBoard events; every metric is in docs/metrics.md.

    Args:
      folder: of the model.
      finished_epochs: what an earlier run wrote of later epochs is dropped: their checkpoint was never written.
    """

    def __init__(self, folder: pathlib.Path, finished_epochs: int) -> None:
        self._file = folder / _METRICS
        kept = [record for record in read_metrics(folder) if record["epoch"] <= finished_epochs]
        scratch = self._file.with_name(f".{self._file.name}.partial")
        scratch.write_text("".join(f"{json.dumps(record)}\n" for record in kept), encoding="utf-8")
        scratch.replace(self._file)
        # Events cannot be taken back, so those of a resumed run are written anew from what was kept.
        shutil.rmtree(folder / _EVENTS, ignore_errors=True)
        self._writer = tf.summary.create_file_writer(str(folder / _EVENTS))
        for record in kept:
            self._show(record)

    def record(self, epoch: int, step: int, split: str, values: Mapping[str, float]) -> None:
        """Adds what one epoch showed of one split."""
        record = {"epoch": epoch, "step": step, "split": split, **values}
        with open(self._file, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        self._show(record)

    def _show(self, record: Mapping[str, Any]) -> None:
        with self._writer.as_default():
            for name, value in record.items():
                if name not in ("epoch", "step", "split"):
                    tf.summary.scalar(f"{record['split']}/{name}", value, step=record["epoch"])
        self._writer.flush()
