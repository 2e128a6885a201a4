"""`prepare`: a log becomes a folder of sessions that is complete or absent.

Everything is written beside the final place and moved at the end. `summary.json` marks a finished folder.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import StandardOptions
from google.protobuf import text_format

from hrlrec_tf.data import schema, sessions
from hrlrec_tf.data.beam_options import pipeline_options
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.errors import ConfigError, DataError, LogError

SUMMARY = "summary.json"
SCHEMA = "schema.pbtxt"


def prepare(
    dataset: DatasetConfig,
    out: str,
    beam_args: Sequence[str] = (),
    overwrite: bool = False,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Makes sessions of a log.

    Args:
      dataset: the log.
      out: the folder to make, on any file system that Beam knows.
      beam_args: Beam pipeline arguments.
      overwrite: replace a folder that an earlier run finished.
      show_progress: whether to show bars on stderr.

    Returns:
      What `summary.json` holds: see `schemas/README.md`.

    Raises:
      ConfigError: a setting is wrong, or `out` is taken.
      LogError: the log cannot be used, or the disk refuses the output.
    """
    target = out.rstrip("/") if "://" in out else os.path.abspath(out)
    check_outside(dataset, target, "--out")
    _check_reachable(dataset, target, beam_args)
    _check_target(target, overwrite)
    parent, name = FileSystems.split(target)
    partial = FileSystems.join(parent, f".{name}.partial")
    made, work = FileSystems.join(partial, "sessions"), FileSystems.join(partial, "work")
    try:
        _remove(partial)  # what a killed run left
        spec, summary = sessions.build(dataset, made, work, beam_args, show_progress)
        text = text_format.MessageToString(schema.to_schema(spec))
        summary["features_digest"] = hashlib.sha256(text.encode("utf-8")).hexdigest()
        _write(FileSystems.join(made, SCHEMA), text)
        _write(FileSystems.join(made, SUMMARY), json.dumps(summary, indent=2, sort_keys=True) + "\n")
        _publish(made, target, FileSystems.join(partial, "replaced"))
    except OSError as error:
        raise LogError(f"cannot write sessions to {target} ({error}); free space or name another --out") from error
    finally:
        _remove(partial)
    return summary


def read_summary(folder: str) -> Mapping[str, Any]:
    """The summary of a finished folder.

    Raises:
      DataError: the folder is absent or not finished.
    """
    try:
        path = FileSystems.join(folder, SUMMARY)
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            return json.loads(file.read())
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: holds no finished sessions ({error}); run `hrlrec prepare`") from error


def check_outside(dataset: DatasetConfig, folder: str, option: str) -> None:
    """Refuses to write below the log, where the next run would read it; raises `ConfigError`."""
    log = dataset.log or ""
    if (
        "://" not in folder
        and os.path.isdir(log)
        and os.path.commonpath([os.path.abspath(log), folder]) == os.path.abspath(log)
    ):
        raise ConfigError(
            f"{folder} lies inside the log {log}, where it would be read as part of it; name another {option}"
        )


def _check_reachable(dataset: DatasetConfig, target: str, beam_args: Sequence[str]) -> None:
    """Refuses folders of this machine where the workers are Google's; other clusters may share a disk."""
    runner = pipeline_options(beam_args).view_as(StandardOptions).runner
    for option, folder in {"--log": dataset.log or "", "--out": target}.items():
        if "dataflow" in runner.lower() and "://" not in folder:
            raise ConfigError(f"Dataflow's machines cannot reach {option} {folder}; name a gs:// folder")


def _check_target(target: str, overwrite: bool) -> None:
    if not _files(target):
        return
    if not FileSystems.exists(FileSystems.join(target, SUMMARY)):
        raise ConfigError(f"{target} exists and holds no finished sessions; name another --out or remove it")
    if not overwrite:
        raise ConfigError(f"{target} holds finished sessions; add --overwrite to replace them, or name another --out")


def _files(folder: str) -> list[str]:
    return [each.path for each in FileSystems.match([FileSystems.join(folder, "**")])[0].metadata_list]


def _remove(folder: str) -> None:
    if FileSystems.exists(folder) or _files(folder):
        FileSystems.delete([folder])


def _write(path: str, text: str) -> None:
    with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as sink:
        sink.write(text.encode("utf-8"))


def _publish(source: str, target: str, replaced: str) -> None:
    """Moves a finished folder to its place: at once on a disk, else file by file with the mark of completion last.

    An earlier result goes to `replaced`, a place of this job's own.
    """
    if "://" in target:
        _remove(target)
        for path in sorted(_files(source), key=lambda path: path.endswith(SUMMARY)):
            FileSystems.rename([path], [target + path.removeprefix(source)])
        return
    if FileSystems.exists(target):
        FileSystems.rename([target], [replaced])
    FileSystems.rename([source], [target])
