"""What mattered is found, what did not is not, and too little is said to be too little."""

import numpy as np
import pytest

from hrlrec_tf.tuning import importance
from hrlrec_tf.tuning.importance import Importance
from hrlrec_tf.tuning.space import SearchSpace
from hrlrec_tf.tuning.trials import Outcome, TrialRecord
from tuning.searching import load

SPACE = """
search: random
trials: 99
space:
  training.learning_rate: {min: 1e-4, max: 1e-2, sampling: log}
  network.critic_head: [relu, linear, softplus]
  network.user_id: [true, false]
"""
HEADS = {"relu": 0.0, "linear": 0.02, "softplus": 0.01}


@pytest.fixture(scope="module")
def space(tmp_path_factory) -> SearchSpace:
    return load(tmp_path_factory.mktemp("space"), SPACE)


@pytest.fixture(scope="module")
def found(space) -> Importance:
    """What 60 trials say."""
    return importance.analyse(space, _records(60, noise=0.0005))


def _records(count: int, noise: float = 0.0, signal: float = 1.0) -> list[TrialRecord]:
    """AUC depends on the head most, on the rate a little, on the user's id not at all."""
    rng = np.random.default_rng(3)
    records = []
    for i in range(count):
        rate, head = float(10 ** rng.uniform(-4, -2)), str(rng.choice(list(HEADS)))
        auc = 0.7 + signal * (HEADS[head] + 0.004 * (np.log10(rate) + 3)) + noise * rng.normal()
        values = {"training.learning_rate": rate, "network.critic_head": head, "network.user_id": bool(rng.integers(2))}
        records.append(TrialRecord(str(i), values, Outcome("completed", (float(auc),))))
    return records


def test_fields_stand_in_the_order_of_their_effect(found) -> None:
    assert list(found.shares) == ["network.critic_head", "training.learning_rate", "network.user_id"]
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert found.shares["network.critic_head"] > 0.7 and found.shares["network.user_id"] < 0.03
    assert found.explained > 0.8 and "60 trials" in found.note and "hint" not in found.note


def test_curves_show_the_direction(found) -> None:
    heads = dict(found.curves["network.critic_head"])
    assert heads["linear"] > heads["softplus"] > heads["relu"]
    rates = found.curves["training.learning_rate"]
    assert rates[0][0] == pytest.approx(1e-4) and rates[-1][0] == pytest.approx(1e-2)
    assert rates[-1][1] > rates[0][1]


def test_few_trials_give_a_hint_only(space) -> None:
    assert (
        "With fewer than 10 trials per field, take the shares as a hint" in importance.analyse(space, _records(20)).note
    )


def test_noise_is_called_noise(space) -> None:
    found = importance.analyse(space, _records(24, noise=0.01, signal=0.0))
    assert found.shares == {} and found.explained < 0.1 and "lost in noise" in found.note


def test_too_few_trials_say_nothing(space) -> None:
    records = _records(7)
    copies = [TrialRecord("9", records[0].values, Outcome("completed", (0.7,), same_as="0"))] * 5
    failed = [TrialRecord("8", records[0].values, Outcome("failed", reason="nan"))] * 5
    found = importance.analyse(space, [*records, *copies, *failed])
    assert found.shares == {} and found.explained is None and found.note.startswith("7 trials tell too little")
