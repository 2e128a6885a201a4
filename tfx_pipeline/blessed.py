"""The models that were blessed, newest last: what the next run goes on from and is compared with.

A registry is a folder with one folder per pushed version:

* `export/`, the SavedModel; `model/`, the model folder with optimizer state (see `hrlrec_tf.training`);
* `panel.tfrecord.gz`, the sessions whose users make up the fixed panel;
* `card.json` and `card.md`, the model card.

A version's folder appears complete or not at all. Beside them `refused/DATE` has the card of a model that was not
pushed.
"""

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from tfx import v1 as tfx
from tfx.dsl.io import fileio
from tfx.utils import io_utils, path_utils

from tfx_pipeline.reports import GateError

MODEL, EXPORT, PANEL, CARD, CARD_TEXT = "model", "export", "panel.tfrecord.gz", "card.json", "card.md"
WITHDRAWN = "withdrawn"  # folder beside the versions that were taken back
REFUSED = "refused"  # folder beside the versions, with the cards of models that were not pushed
_HALF_REMOVED = re.compile(r"\.\d+\.removed")  # a version on its way out
_PARTIAL = re.compile(r"\.(\d+)\.partial")  # a version on its way in
FIRST_RUN = "FIRST_RUN"  # stands in the artifact of `LastBlessed` where nothing was blessed yet


def versions(registry: str) -> list[int]:
    """Recorded versions, oldest first."""
    return sorted(int(name) for name in _names(registry) if name.isdecimal())


def _names(folder: str) -> list[str]:
    """What a folder holds, nothing where there is none; remote listings end the names of folders in a slash."""
    return [name.rstrip("/") for name in fileio.listdir(folder)] if fileio.exists(folder) else []


def remove_partial(folder: str) -> None:
    """Removes versions that a killed process was about to bring; one process at a time brings them into a folder.

    Where folders cannot be renamed at once, half of a version may be in its place already: it goes first.
    """
    for name in _names(folder):
        partial = _PARTIAL.fullmatch(name)
        if partial:
            for path in (f"{folder.rstrip('/')}/{partial[1]}", f"{folder.rstrip('/')}/{partial[0]}"):
                if fileio.exists(path):
                    fileio.rmtree(path)


def withdrawn_message(version: int) -> str:
    """Why a run ends whose model, pushed as this version, was taken back since."""
    return f"version {version}, the model of this run, was withdrawn; run the next day"


def check_not_withdrawn(pushed: str) -> None:
    """Raises `GateError` where a version was taken back since it was pushed to a place, `pushed`."""
    folder, version = os.path.split(pushed)
    if int(version) in versions(os.path.join(folder, WITHDRAWN)):
        raise GateError(withdrawn_message(int(version)))


def record(registry: str, version: int, parts: Mapping[str, str], texts: Mapping[str, str]) -> str:
    """Adds a version; one that is there already stays as it is.

    Args:
      registry: folder or URI.
      version: its number.
      parts: name in the record -> folder or file to copy.
      texts: name in the record -> content.

    Returns:
      The record's folder.
    """
    remove_partial(registry)
    target = f"{registry.rstrip('/')}/{version}"
    if fileio.exists(f"{target}/{CARD}"):
        return target
    scratch = f"{registry.rstrip('/')}/.{version}.partial"
    fileio.makedirs(scratch)
    for name, source in parts.items():
        (io_utils.copy_dir if fileio.isdir(source) else io_utils.copy_file)(source, f"{scratch}/{name}")
    for name, text in texts.items():
        with fileio.open(f"{scratch}/{name}", "w") as file:
            file.write(text)
    fileio.rename(scratch, target, overwrite=True)
    return target


def refuse(registry: str, date: str, texts: Mapping[str, str], keep: int) -> str:
    """Keeps the card of a model that was not pushed, in place of an earlier one of that date.

    Args:
      registry: folder or URI.
      date: of the run, ISO.
      texts: file name -> content.
      keep: how many dates stay: this one, and the newest.

    Returns:
      The folder of the card.
    """
    folder = f"{registry.rstrip('/')}/{REFUSED}"
    fileio.makedirs(f"{folder}/{date}")
    for name, text in texts.items():
        io_utils.write_string_file(f"{folder}/{date}/.{name}", text)
        fileio.rename(f"{folder}/{date}/.{name}", f"{folder}/{date}/{name}", overwrite=True)
    others = sorted(set(_names(folder)) - {date}, reverse=True)
    for old in others[max(keep, 1) - 1 :]:
        fileio.rmtree(f"{folder}/{old}")
    return f"{folder}/{date}"


def accept(registry: str, date: str) -> None:
    """Removes the card of the model that was refused on a date: another one has been pushed."""
    folder = f"{registry.rstrip('/')}/{REFUSED}/{date}"
    if fileio.exists(folder):
        fileio.rmtree(folder)


def card(registry: str, version: int) -> dict[str, Any]:
    """The model card of a version."""
    with fileio.open(f"{registry.rstrip('/')}/{version}/{CARD}") as file:
        return json.loads(file.read())


def base_of(registry: str, date: str) -> int | None:
    """The version that a run of a date goes on from: the newest that was judged by an earlier day.

    So a run that is repeated has the base that it had, and no model is held against itself.
    """
    return max((version for version, judged in dates(registry).items() if judged < date), default=None)


def dates(registry: str) -> dict[int, str]:
    """Version -> the day that judged it."""
    return {version: card(registry, version)["window"]["date"] for version in versions(registry)}


def believed(registry: str, date: str) -> set[str]:
    """Days that runs of earlier dates than this one learnt from or were judged by, and were blessed: no fault then."""
    windows = [card(registry, version)["window"] for version in versions(registry)]
    return {day for window in windows if window["date"] < date for day in window["dates"]}


def retain(registry: str, keep: int, serving: str | None = None) -> list[int]:
    """Removes all but the newest records, and what a killed call left half removed; returns what it removed.

    Args:
      registry: the records.
      keep: how many stay, at least 1.
      serving: folder of pushed versions, of which those go that are older than all records.
    """
    recorded = versions(registry)
    removed = recorded[: max(len(recorded) - max(keep, 1), 0)]
    oldest = recorded[len(removed)] if recorded else 0
    for folder in (registry, *([serving] if serving else [])):
        for name in _names(folder):
            if _HALF_REMOVED.fullmatch(name):
                fileio.rmtree(f"{folder.rstrip('/')}/{name}")
        for version in versions(folder):
            if version < oldest:
                _remove(folder, version)
    return removed


def _remove(folder: str, version: int) -> None:
    """A version goes at once: a server must not find half of it."""
    path, gone = f"{folder.rstrip('/')}/{version}", f"{folder.rstrip('/')}/.{version}.removed"
    fileio.rename(path, gone, overwrite=True)
    fileio.rmtree(gone)


@tfx.dsl.components.component
def LastBlessed(
    base: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.Model],
    registry: tfx.dsl.components.Parameter[str],
    date: tfx.dsl.components.Parameter[str],
    first: tfx.dsl.components.Parameter[int],
) -> None:
    """Brings the last blessed model into the run; Kubeflow has no Resolver.

    Args:
      base: receives the record, its export where TFX looks for one; only a file FIRST_RUN where there is no record.
      registry: folder or URI of the records.
      date: of the run; see `base_of`.
      first: 1 accepts that nothing was blessed yet: then gates that compare have nothing to compare with.

    Raises:
      GateError: nothing was blessed yet and this is not said to be the first run.
    """
    version = base_of(registry, date)
    if version is None:
        if not first:
            raise GateError(
                f"{registry} holds no blessed model of a day before {date} to go on from or compare with; check the "
                "path, or say that this is the first run (--first): it is then judged by its own figures and LR's alone"
            )
        with fileio.open(f"{base.uri}/{FIRST_RUN}", "w") as file:
            file.write("nothing was blessed before this run\n")
        return
    source = f"{registry.rstrip('/')}/{version}"
    io_utils.copy_dir(source, base.uri)
    fileio.rename(f"{base.uri}/{EXPORT}", path_utils.serving_model_path(base.uri), overwrite=True)
    base.set_int_custom_property("version", version)


def has_model(uri: str) -> bool:
    """Whether an artifact of `LastBlessed` holds a model, or this is the first run."""
    return not fileio.exists(f"{uri}/{FIRST_RUN}")
