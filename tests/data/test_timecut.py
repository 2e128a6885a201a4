import random

import numpy as np
import pytest

from hrlrec_tf.data import timecut
from hrlrec_tf.data.rules import Split
from hrlrec_tf.data.timecut import Cuts
from hrlrec_tf.errors import ConfigError

from .oracle import cuts


def of(times):
    return timecut.histogram(np.array(times, np.int64))


@pytest.mark.parametrize("seed", range(20))
def test_cuts_agree_with_the_definition(seed):
    draw = random.Random(seed)
    times = [draw.randrange(1, 3 + seed * 5) for _ in range(draw.randrange(3, 60))]
    found = timecut.cut(of(times), Split())
    expected = cuts([{"timestamp": time} for time in times])
    assert found.eval_from == expected[1]
    if min(times) < found.eval_from:
        assert found.validation_from == expected[0]


def test_ties_stay_together():
    assert timecut.cut(of([1] * 50 + [2] * 30 + [3] * 5 + [4] * 15), Split()) == Cuts(2, 3)


def test_the_sum_does_not_depend_on_the_order(monkeypatch):
    monkeypatch.setattr(timecut, "MAX_BINS", 16)
    draw = np.random.default_rng(0)
    parts = [of(draw.integers(10**12, 10**12 + 10 ** draw.integers(1, 7), 40)) for _ in range(12)]
    sums = []
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(parts))
        sums.append(timecut.total(parts[n] for n in order))
    for each in sums:
        assert each.shift == sums[0].shift > 0
        assert len(each.bins) <= 16 and each.counts.sum() == 480
        np.testing.assert_array_equal(each.bins, sums[0].bins)
        np.testing.assert_array_equal(each.counts, sums[0].counts)


def test_a_coarse_histogram_cuts_within_a_bin(monkeypatch):
    monkeypatch.setattr(timecut, "MAX_BINS", 64)
    times = list(range(10_000))
    found = timecut.cut(timecut.total([of(times[:3000]), of(times[3000:])]), Split())
    assert 8000 - 256 <= found.eval_from <= 8000 and 7200 - 512 <= found.validation_from <= 7200


def test_rows_that_are_too_old_to_train_on_do_not_move_the_cuts():
    old, new = [1] * 500 + [2] * 400, [10] * 60 + [11] * 20 + [12] * 20
    assert timecut.cut(of(old + new), Split(train_from=10)) == Cuts(11, 12, 10)
    assert timecut.cut(of(new), Split()) == Cuts(11, 12)
    stated = Split(train_from=5, validation_from=11, eval_from=12)
    assert timecut.cut(of(old + new), stated) == Cuts(11, 12, 5)


def test_a_log_without_rows_to_train_on_is_refused():
    with pytest.raises(ConfigError, match="split.train_from is 13, later than every row"):
        timecut.cut(of([1, 2, 12]), Split(train_from=13))
    with pytest.raises(ConfigError, match="split.train_from must be earlier than split.validation_from"):
        Split(train_from=11, validation_from=11, eval_from=12)
