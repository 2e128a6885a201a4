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


def runs(process: psutil.Process) -> bool:
    """Where nobody asks for the exit code of an orphan it stays as a zombie."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


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
    try:
        until = time.monotonic() + 120
        while not (tmp_path / "who").exists() and time.monotonic() < until:
            time.sleep(0.1)
        others = [psutil.Process(int(pid)) for pid in (tmp_path / "who").read_text().split()]
    finally:
        command.kill()
        command.wait()
    until = time.monotonic() + 20
    while any(map(runs, others)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(runs, others))


def test_what_fails_is_said_and_returned(capsys: pytest.CaptureFixture[str]) -> None:
    failed = trials.execute_all([Broken(), Killed(), Fine()], 2)
    assert failed["the broken one"] == "it broke" and "perhaps killed for memory" in failed["the killed one"]
    assert len(failed) == 2 and "the broken one: it broke" in capsys.readouterr().err
