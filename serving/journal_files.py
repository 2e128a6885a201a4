"""Reading a journal's files: whole lines, torn ones told apart, and what a dead writer left completed."""

import dataclasses
import fcntl
import json
import logging
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from hrlrec_tf.errors import HrlrecError

SUFFIX = ".jsonl"
OPEN = ".open"
TORN = ".torn"

_LOG = logging.getLogger(__name__)


class FeedbackError(HrlrecError):
    """A line could not be written, in which case lines before it are whole, or there is nothing to read."""


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a journal's file.

    Attributes:
      file: the file's name. number: the line's, from 1.
      text: what it holds, without the line break.
      record: what it says; None where it is no JSON object.
      is_torn: whether the file of a dead writer breaks off in it.
    """

    file: str
    number: int
    text: bytes
    record: Mapping[str, Any] | None
    is_torn: bool = False


def files(folder: str | os.PathLike[str], name: str) -> list[pathlib.Path]:
    """A journal's files, by name; those that grow come with their `.open`.

    Raises:
      FeedbackError: the folder does not exist.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FeedbackError(f"{folder}: there is no such folder; give the one that a log was written to")
    return sorted(path for path in folder.glob(f"{name}-*") if path.name.endswith((SUFFIX, SUFFIX + OPEN)))


def read(path: pathlib.Path) -> Iterator[Line]:
    """The lines of one file, in order; a file that is completed meanwhile is found under its final name."""
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        path = path.with_name(path.name.removesuffix(OPEN))
        stream = path.open("rb")
    with stream:
        for number, raw in enumerate(stream, 1):
            if raw.endswith(b"\n"):
                yield Line(path.name, number, raw[:-1], _parsed(raw))
            elif not _is_alive(stream.fileno()):
                yield Line(path.name, number, raw, None, is_torn=True)


def recover(folder: pathlib.Path, name: str) -> list[str]:
    """Completes the files that dead writers left; returns those whose last line was torn."""
    torn = []
    for path in folder.glob(f"{name}-*{SUFFIX}{OPEN}"):
        with path.open("r+b") as file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            data = file.read()
            if not data or not path.exists():  # a writer is about to lock it, or somebody else was faster
                continue
            rest = data.rpartition(b"\n")[2]
            if rest:
                torn.append(path.name)
                path.with_name(path.name.removesuffix(OPEN) + TORN).write_bytes(rest)
                file.truncate(len(data) - len(rest))
                _LOG.warning("%s: its writer died in the middle of a line; %d bytes set aside", path, len(rest))
            os.fsync(file.fileno())
            path.rename(path.with_name(path.name.removesuffix(OPEN)))
    return torn


def _is_alive(descriptor: int) -> bool:
    """Whether another process, or another journal of this one, holds the file's lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def _parsed(line: bytes) -> Mapping[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
