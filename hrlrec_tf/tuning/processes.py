"""Starts trials as processes that share the machine, and ends them with the search."""

import os
import pathlib
import signal
import subprocess
import sys
import threading

from hrlrec_tf.errors import TrainingError
from hrlrec_tf.tuning import trials
from hrlrec_tf.tuning.trials import Outcome


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
