"""Kills in the middle of long work: nothing half-written is taken for finished, and the next run ends well."""

import json
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf

from hrlrec_tf import model_folder
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.logs import write_log

pytestmark = pytest.mark.slow
_PATIENCE_SECONDS = 600


def start(*arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "hrlrec_tf.cli", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def run(*arguments: str) -> None:
    command = [sys.executable, "-m", "hrlrec_tf.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def kill_when(process: subprocess.Popen, condition) -> None:
    """Kills the process the moment `condition()` holds."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("kills") / "log"
    write_log(WorldConfig(users=300, items=600, days=7, requests_per_day=300), folder, progress=False)
    return str(folder)


@pytest.fixture(scope="module")
def sessions(tmp_path_factory, log) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("kills") / "sessions"
    run("prepare", "--log", log, "--out", str(folder))
    return folder


def test_killed_prepare_starts_clean(tmp_path, log, sessions):
    out = tmp_path / "sessions"
    process = start("prepare", "--log", log, "--out", str(out))
    kill_when(process, lambda: any(tmp_path.iterdir()))
    assert not (out / "summary.json").exists()
    run("prepare", "--log", log, "--out", str(out))
    assert (out / "summary.json").read_bytes() == (sessions / "summary.json").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["sessions"]


def test_killed_training_resumes_to_an_equal_result(tmp_path, sessions):
    """Killed inside its second epoch, after a checkpoint there."""
    settings = ("training.epochs=3", "training.patience=3", "training.checkpoint_batches=5", "losses.action_noise=0.05")
    data = ["--data", str(sessions), *(word for setting in settings for word in ("--set", setting))]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run("train", *data, "--out", str(whole))
    process = start("train", *data, "--out", str(broken))
    kill_when(process, lambda: inside_the_second_epoch(broken))
    assert not (broken / "result.json").exists()
    run("train", *data, "--out", str(broken), "--resume")
    result = json.loads((broken / "result.json").read_text())
    expected = json.loads((whole / "result.json").read_text())
    assert result["epochs"] == expected["epochs"]
    assert result["validation_auc"] == pytest.approx(expected["validation_auc"], abs=1e-4)
    found, wanted = model_folder.read_metrics(broken), model_folder.read_metrics(whole)
    assert [(record["epoch"], record["split"]) for record in found] == [
        (epoch, split) for epoch in (1, 2, 3) for split in ("train", "validation", "panel")
    ]
    for mine, other in zip(found, wanted):
        assert mine.pop("split") == other.pop("split")
        assert mine == pytest.approx(other, rel=1e-3, abs=1e-4)


def inside_the_second_epoch(model: pathlib.Path) -> bool:
    """Whether the newest checkpoint was written there: one epoch is finished, and some batches' metrics are held."""
    newest = tf.train.latest_checkpoint(str(model / "checkpoints/last"))
    if newest is None:
        return False
    try:
        reader = tf.train.load_checkpoint(newest)
        (name,) = [name for name in reader.get_variable_to_shape_map() if name.startswith("health/")]
        finished = reader.get_tensor("epoch/.ATTRIBUTES/VARIABLE_VALUE")
        sums, _ = json.loads(reader.get_tensor(name))
    except (tf.errors.OpError, ValueError):  # replaced while it was read
        return False
    return finished == 1 and sums["batches"] > 0
