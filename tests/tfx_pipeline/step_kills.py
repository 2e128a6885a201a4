"""Kills between the steps of work on folders, each of them in turn."""

import pathlib
from collections.abc import Callable
from typing import Any

import pytest
from tfx.dsl.io import fileio


class Killed(BaseException):
    """As far as folders go, SIGKILL: nothing that the work does on an error is done."""


def ends_within(steps: int, work: Callable[..., Any], *arguments: Any) -> bool:
    """Kills `work(*arguments)` after so many changes of TFX's file system; returns whether it had ended before.

    A file is copied or written in two changes, half of it and the whole.
    """
    left = steps

    def step() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed

    def counted(change: Callable) -> Callable:
        def stepping(*arguments: Any, **options: Any) -> Any:
            step()
            return change(*arguments, **options)

        return stepping

    def write(path: str, data: bytes) -> None:
        for part in (data[: len(data) // 2], data):
            step()
            pathlib.Path(path).write_bytes(part)

    class Writer:
        def __init__(self, path: str) -> None:
            self._path = path

        def __enter__(self) -> "Writer":
            return self

        def write(self, text: str) -> None:
            write(self._path, text.encode())

        def __exit__(self, *_: object) -> None:
            pass

    read = fileio.open
    with pytest.MonkeyPatch.context() as patch:
        for name in ("makedirs", "rename", "rmtree"):
            patch.setattr(fileio, name, counted(getattr(fileio, name)))
        patch.setattr(fileio, "copy", lambda source, target, **_: write(target, pathlib.Path(source).read_bytes()))
        patch.setattr(fileio, "open", lambda path, mode="r": Writer(path) if "w" in mode else read(path, mode))
        try:
            work(*arguments)
        except Killed:
            return False
    return True
