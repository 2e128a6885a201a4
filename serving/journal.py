"""Append-only files of JSON lines that survive crashes: what was written stays, what was cut off is told apart.

A `Journal` writes to one file at a time. It bears the suffix `.open` while it grows and loses it when it is complete; a
lock tells a living writer from a dead one. Each record is one line and one write, so a killed process leaves at most
one torn line, at the end. The next journal in the folder completes what a dead one left and sets its torn line aside in
a file `.torn`.
"""

import fcntl
import json
import logging
import os
import pathlib
import threading
import time
import types
import uuid
from collections.abc import Mapping
from typing import Any, Literal

from hrlrec_tf.errors import ConfigError
from serving.journal_files import OPEN, SUFFIX, FeedbackError, recover

Fsync = Literal["always", "never"] | float

_LOG = logging.getLogger(__name__)
_TICK_SECONDS = 1.0


class Journal:
    """Writes records to files of one folder; threads may share it, processes make one each.

    Args:
      folder: made if it does not exist; journals of several processes may share it.
      name: what its files' names begin with.
      fsync: when lines reach the disk for sure: "always" before `write` returns, "never" as the operating system likes,
        or at most this many seconds later. A killed process loses nothing either way, a power failure may.
      rotate_bytes, rotate_seconds: a file is completed when it is this large or this old.
      on_error: "raise" lets `write` raise `FeedbackError`; "drop" logs, counts in `dropped` and goes on.

    Raises:
      ConfigError: a setting is wrong.
      FeedbackError: the folder cannot be written to.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        name: str,
        *,
        fsync: Fsync = 1.0,
        rotate_bytes: int = 64 << 20,
        rotate_seconds: float = 3600.0,
        on_error: Literal["raise", "drop"] = "raise",
    ) -> None:
        if fsync not in ("always", "never") and not (isinstance(fsync, float | int) and fsync > 0):
            raise ConfigError(f"fsync must be 'always', 'never' or seconds above 0: got {fsync!r}")
        if on_error not in ("raise", "drop"):
            raise ConfigError(f"on_error must be 'raise' or 'drop': got {on_error!r}")
        self.dropped = 0
        self._folder, self._name = pathlib.Path(folder), name
        self._fsync, self._on_error = fsync, on_error
        self._rotate_bytes, self._rotate_seconds = rotate_bytes, rotate_seconds
        self._lock, self._stop, self._process = threading.Lock(), threading.Event(), os.getpid()
        self._file: _File | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            recover(self._folder, name)
        except OSError as error:
            raise _error(self._folder, error) from error
        self._keeper = threading.Thread(target=self._keep, name=f"journal-{name}", daemon=True)
        self._keeper.start()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.close()

    def write(self, record: Mapping[str, Any]) -> None:
        """Appends one record; raises `FeedbackError` where `on_error` says so."""
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace") + b"\n"
        try:
            if os.getpid() != self._process:
                raise FeedbackError(f"{self._folder}: its journal belongs to another process; make one per process")
            if self._stop.is_set():
                raise FeedbackError(f"{self._folder}: its journal is closed; open another")
            with self._lock:
                self._append(line)
        except OSError as error:
            self._failed(_error(self._folder, error), error)
        except FeedbackError as error:
            self._failed(error, None)

    def close(self) -> None:
        """Completes the file; nothing can be written any more."""
        self._stop.set()
        with self._lock:
            self._complete()

    def _append(self, line: bytes) -> None:
        if self._file is not None and self._is_full(self._file):
            self._complete()
        if self._file is None:
            self._file = _File(self._folder, self._name)
        try:
            self._file.append(line)
        except OSError:
            if not self._file.is_whole:
                self._file = None  # left as it is; its torn line is told apart when it is read
            raise
        if self._fsync == "always":
            self._file.sync()

    def _is_full(self, file: "_File") -> bool:
        return file.size >= self._rotate_bytes or time.monotonic() - file.made >= self._rotate_seconds

    def _complete(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.complete(sync=self._fsync != "never")

    def _keep(self) -> None:
        """Syncs and completes files that nothing is written to any more."""
        synced = time.monotonic()
        while not self._stop.wait(_TICK_SECONDS if isinstance(self._fsync, str) else min(self._fsync, _TICK_SECONDS)):
            try:
                with self._lock:
                    if self._file is not None and self._is_full(self._file):
                        self._complete()
                    due = not isinstance(self._fsync, str) and time.monotonic() - synced >= self._fsync
                    descriptor = self._file.duplicate() if due and self._file is not None else None
                if descriptor is not None:  # outside the lock, so that writers need not wait for the disk
                    synced = time.monotonic()
                    _sync(descriptor)
            except OSError as error:
                _LOG.error("%s", _error(self._folder, error))

    def _failed(self, error: FeedbackError, cause: OSError | None) -> None:
        if self._on_error == "raise":
            raise error from cause
        self.dropped += 1
        if self.dropped & (self.dropped - 1) == 0:  # the 1st, 2nd, 4th, ...: a full disk must not fill the log
            _LOG.error("%s; %d lines dropped so far", error, self.dropped)


class _File:
    """A file that grows line by line, or not at all."""

    def __init__(self, folder: pathlib.Path, name: str) -> None:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self._final = folder / f"{name}-{stamp}-{uuid.uuid4().hex[:12]}{SUFFIX}"
        self._path = self._final.with_name(self._final.name + OPEN)
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)  # before the first line: an empty file is left alone by `recover`
        self.size, self.made, self.is_whole, self._is_synced = 0, time.monotonic(), True, True
        _sync_folder(folder)

    def append(self, line: bytes) -> None:
        """Writes a whole line, or takes back what the disk took of it and raises `OSError`."""
        self._is_synced = False
        written = 0
        try:
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
        except OSError:
            self._take_back()
            raise
        self.size += written

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._descriptor, self.size)
        except OSError:
            self.is_whole = False
            os.close(self._descriptor)

    def duplicate(self) -> int | None:
        """Another descriptor of the file, for whoever makes sure that the disk has it; None where it has."""
        if self._is_synced:
            return None
        self._is_synced = True
        return os.dup(self._descriptor)

    def sync(self) -> None:
        """Makes sure that the disk has it."""
        if not self._is_synced:
            self._is_synced = True
            os.fsync(self._descriptor)

    def complete(self, sync: bool) -> None:
        """Gives the file its final name."""
        try:
            if sync:
                self.sync()
            self._path.rename(self._final) if self.size else self._path.unlink()
            _sync_folder(self._final.parent)
        finally:
            os.close(self._descriptor)


def _sync_folder(folder: pathlib.Path) -> None:
    _sync(os.open(folder, os.O_RDONLY))


def _sync(descriptor: int) -> None:
    """Syncs and closes."""
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _error(folder: pathlib.Path, error: OSError) -> FeedbackError:
    return FeedbackError(
        f"{folder}: a line could not be written ({error.strerror}); free space or name another folder, "
        "lines before it are whole"
    )
