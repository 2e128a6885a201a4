"""One process at a time works in a folder: two would overwrite what the other wrote."""

import fcntl
import pathlib
import time
from types import TracebackType
from typing import IO

from hrlrec_tf.errors import ConfigError

_PATIENCE = 10.0  # seconds for the processes of a killed command to end


class FolderLock:
    """Holds a folder that is there.

    Processes that inherit the file descriptor hold it too, so that it is free only when the last process of a killed
    command has ended.

    Args:
      folder: to hold.
      option: of the command line that chose it.
    """

    def __init__(self, folder: pathlib.Path, option: str = "--out") -> None:
        self._folder = folder
        self._option = option
        self._file: IO[str] | None = None

    def __enter__(self) -> int:
        """Waits a little for the lock; returns its file descriptor. Raises ConfigError when another command runs."""
        self._file = open(self._folder / ".lock", "w", encoding="utf-8")
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return self._file.fileno()
            except BlockingIOError:
                if time.monotonic() > deadline:
                    self._file.close()
                    raise ConfigError(
                        f"another hrlrec works in {self._folder}; wait for it, or choose another {self._option}"
                    ) from None
                time.sleep(0.2)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
