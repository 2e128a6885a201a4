"""Trials as processes: they share the cores, die alone, and never outlive the search."""

import os
import pathlib
import subprocess
import sys
import threading
import time

import pytest

from hrlrec_tf.errors import TrainingError
from hrlrec_tf.folder_lock import FolderLock
from hrlrec_tf.tuning import trials
from hrlrec_tf.tuning.processes import TrialProcesses
from hrlrec_tf.tuning.trials import Job

ROOT = pathlib.Path(__file__).parent.parent.parent


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Makes a shell script the program that trials run."""

    def make(body: str) -> None:
        script = tmp_path / "program"
        script.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))

    return make


@pytest.fixture
def trial(tmp_path) -> pathlib.Path:
    folder = tmp_path / "trial"
    folder.mkdir()
    return folder


def test_a_trial_hands_its_outcome_on(stand_in, trial, monkeypatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    stand_in(
        f'echo "$@ $OMP_NUM_THREADS"; echo \'{{"status": "completed", "aucs": [0.7]}}\' > {trial}/{trials.OUTCOME}'
    )
    with FolderLock(trial) as lock:
        assert TrialProcesses(3, lock)(trial).aucs == (0.7,)
    assert (trial / trials.LOG).read_text() == f"-m hrlrec_tf.tuning.worker {trial} 2 2\n"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("exit 3", "its process ended with exit code 3; see "),
        ("kill -9 $$", "most likely for memory: lower --parallel"),
    ],
)
def test_a_process_that_dies_is_a_failed_trial(stand_in, trial, body, reason) -> None:
    stand_in(body)
    with FolderLock(trial) as lock:
        outcome = TrialProcesses(1, lock)(trial)
    assert outcome.status == "failed" and reason in outcome.reason and str(trial / trials.LOG) in outcome.reason


def test_closing_ends_trials_without_an_outcome(stand_in, trial) -> None:
    stand_in("exec sleep 60")
    errors = []

    def run() -> None:
        try:
            runner(trial)
        except TrainingError as error:
            errors.append(error)

    with FolderLock(trial) as lock:
        runner = TrialProcesses(1, lock)
        thread = threading.Thread(target=run)
        thread.start()
        while not runner._running:
            time.sleep(0.01)
        runner.close()
        thread.join(timeout=10)
        with pytest.raises(TrainingError, match="the search ended before this trial"):
            runner(trial)
    assert len(errors) == 1 and not (trial / trials.OUTCOME).exists()


def test_a_worker_ends_when_its_search_is_gone() -> None:
    """Its standard input closes; TensorFlow's place is taken by a stand-in."""
    code = (
        "import sys, time, types; from unittest import mock; from hrlrec_tf.tuning import worker;"
        "sys.modules['tensorflow'] = mock.MagicMock();"
        "worker.run = lambda folder: (print('running', flush=True), time.sleep(60));"
        "worker.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "folder", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdin and process.stdout
    with process.stdout:
        assert process.stdout.readline() == b"running\n"
        process.stdin.close()
        assert process.wait(timeout=10) == 1


def test_the_real_worker_records_what_stopped_it(trial) -> None:
    trials.write(trial, trials.JOB, Job(str(trial / "nowhere"), "hrl-rec", "best", ["training.epochs=1"]))
    with FolderLock(trial) as lock:
        outcome = TrialProcesses(2, lock)(trial)
    assert outcome.status == "failed" and "holds no finished sessions" in outcome.reason
