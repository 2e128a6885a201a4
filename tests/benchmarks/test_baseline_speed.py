"""The comparison of speed, on rows drawn here and a stand-in for DeepCTR's process."""

import contextlib
import sys
import types

import numpy as np
import pytest

from benchmarks import baseline_speed
from benchmarks.peer_inputs import FIELDS, Inputs
from hrlrec_tf.errors import TrainingError


@pytest.fixture
def task():
    rng = np.random.default_rng(0)
    ids = {name: rng.integers(0, 9, 5000).astype(np.int32) for name in FIELDS}
    return types.SimpleNamespace(
        parts={"train": ids},
        labels={"train": rng.integers(0, 2, 5000)},
        inputs=lambda pooled_items: Inputs(dict.fromkeys(FIELDS, 9)),
    )


def test_both_sides_take_turns(task, monkeypatch):
    turns = []

    @contextlib.contextmanager
    def peers(*words):
        assert words == ("python", "sessions", "fm", 2)
        yield lambda: turns.append("deepctr") or (0.5, 0.25)

    ours = baseline_speed.our_round

    def our_round(*words):
        run = ours(*words)
        return lambda: (run(), turns.append("ours"))

    monkeypatch.setattr(baseline_speed, "peer_process", peers)
    monkeypatch.setattr(baseline_speed, "our_round", our_round)
    found = baseline_speed.compare(task, "fm", "python", "sessions", rounds=2, threads=2)
    assert turns == ["ours", "ours", "deepctr", "ours", "deepctr"]  # the first traces
    assert (found["deepctr_per_second"], found["deepctr_per_processor_second"]) == (10_000, 20_000)
    assert found["speedup"] == pytest.approx(found["ours_per_second"] / 10_000) and found["rows"] == 5000
    assert found["ours_per_processor_second"] > 0


def test_an_environment_without_deepctr_is_named():
    with pytest.raises(TrainingError, match="ended without an answer; install requirements/peers.txt there"):
        with baseline_speed.peer_process(sys.executable, "no sessions", "lr", 1):
            pass
