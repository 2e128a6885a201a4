"""Processes of a command end with it."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import psutil
import pytest

from hrlrec_tf.errors import TrainingError
from hrlrec_tf.experiments import trials

HERE = pathlib.Path(__file__).parent


class Sleeper:
    """Starts a program, says who it is, and waits."""

    def __init__(self, file: pathlib.Path) -> None:
        self.file = file

    def execute(self) -> None:
        program = subprocess.Popen(["sleep", "60"])
        scratch = self.file.with_suffix(".partial")
        scratch.write_text(f"{os.getpid()} {program.pid}")
        scratch.rename(self.file)
        program.wait()


class Broken:
    def __str__(self) -> str:
        return "the broken one"

    def execute(self) -> None:
        raise TrainingError("it broke")


class Fine:
    def execute(self) -> None:
        pass


class Killed:
    def __str__(self) -> str:
        return "the killed one"

    def execute(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_command_leaves_no_process(tmp_path) -> None:
    code = (
        f"import pathlib, test_trials; from hrlrec_tf.experiments import trials\n"
        f"trials.execute_all([test_trials.Sleeper(pathlib.Path({str(tmp_path / 'who')!r}))], 1)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent.parent)])}
    command = subprocess.Popen([sys.executable, "-c", code], env=environment)
    until = time.monotonic() + 60
    while not (tmp_path / "who").exists() and time.monotonic() < until:
        time.sleep(0.1)
    others = [psutil.Process(int(pid)) for pid in (tmp_path / "who").read_text().split()]
    os.kill(command.pid, signal.SIGKILL)
    command.wait()
    _, alive = psutil.wait_procs(others, timeout=20)
    assert not alive


def test_what_fails_is_said_at_once_and_returned(capsys: pytest.CaptureFixture[str]) -> None:
    failed = trials.execute_all([Broken(), Killed(), Fine()], 2)
    assert failed["the broken one"] == "it broke" and "most likely for memory" in failed["the killed one"]
    assert len(failed) == 2 and "the broken one: it broke" in capsys.readouterr().err
