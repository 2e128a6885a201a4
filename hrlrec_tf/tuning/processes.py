"""Starts trials as processes that share the machine, and ends them with the search."""

import fcntl
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import IO

from hrlrec_tf.errors import ModelError, TrainingError
from hrlrec_tf.tuning import trials
from hrlrec_tf.tuning.trials import Outcome

_PATIENCE = 10.0  # seconds for the trials of a killed search to end


class FolderLock:
    """Holds a search folder: two searches in one would overwrite each other's trials.

    Trials inherit the lock, so that it is free only when the last process of a killed search has ended.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._file: IO[str] | None = None

    def __enter__(self) -> int:
        """Waits a little for the lock; returns its file descriptor. Raises ModelError when another search runs."""
        self._file = open(self._folder / ".lock", "w", encoding="utf-8")
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return self._file.fileno()
            except BlockingIOError:
                if time.monotonic() > deadline:
                    self._file.close()
                    raise ModelError(
                        f"another hrlrec tune works in {self._folder}; wait for it, or choose another --out"
                    ) from None
                time.sleep(0.2)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


class TrialProcesses:
    """Runs trials, each in a process of its own; called from several threads."""

    def __init__(self, parallel: int, lock: int) -> None:
        """
        Args:
          parallel: trials that run at a time; they share the machine's cores evenly.
          lock: file descriptor that the processes keep open.
        """
        self._threads = max(1, len(os.sched_getaffinity(0)) // parallel)
        self._lock = lock
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False
        self._starting = threading.Lock()

    def __call__(self, folder: pathlib.Path) -> Outcome:
        """Runs the trial of `folder` to its end; a process that dies is a failed trial."""
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(self._threads),
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # trials side by side share a GPU's memory
        }
        command = [sys.executable, "-m", "hrlrec_tf.tuning.worker", str(folder), str(self._threads)]
        with open(folder / trials.LOG, "ab") as log:
            with self._starting:
                if self._closed:
                    raise TrainingError("the search ended before this trial")
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    pass_fds=[self._lock],
                    start_new_session=True,  # Ctrl-C is the search's to handle
                )
                self._running.add(process)
            process.wait()
            self._running.discard(process)
        if self._closed:
            raise TrainingError("the search ended in the middle of this trial")
        outcome = trials.read_outcome(folder)
        return outcome or Outcome("failed", reason=f"{_ending(process.returncode)}; see {folder / trials.LOG}")

    def close(self) -> None:
        """Ends what still runs; it can be resumed."""
        with self._starting:
            self._closed = True
        for process in list(self._running):
            process.kill()
            process.wait()


def _ending(code: int) -> str:
    if code == -signal.SIGKILL:
        return "its process was killed, most likely for memory: lower --parallel or training.batch_size"
    return f"its process ended with exit code {code}"
