import numpy as np
import pyarrow as pa
import pytest

from hrlrec_tf.data import buckets, item_counts
from hrlrec_tf.data.rules import ItemCountsRule
from hrlrec_tf.errors import ConfigError

RULE = ItemCountsRule(refresh_seconds=10, strength=4)
RNG = np.random.default_rng(0)
IDS = np.array([f"i{number}" for number in RNG.integers(0, 9, 400)])
TIMES = RNG.integers(0, 300_000, 400)
CLICKS = RNG.integers(0, 3, 400)


def hashes(ids) -> np.ndarray:
    return buckets.hashes(pa.array(list(ids)))


@pytest.fixture(scope="module")
def counts():
    """Counted in three parts, in no order."""
    parts = [slice(0, 100), slice(250, 400), slice(100, 250)]
    return item_counts.total(item_counts.count(hashes(IDS[p]), TIMES[p], CLICKS[p], RULE) for p in parts)


def test_counts_before_a_time_are_those_of_whole_periods(counts):
    queries = RNG.integers(0, 400_000, 300)
    asked = np.array([f"i{number}" for number in RNG.integers(0, 12, 300)])  # some unknown
    impressions, clicks = counts.before(hashes(asked), queries)
    for item, time, shown, clicked in zip(asked, queries, impressions, clicks):
        known = (IDS == item) & (TIMES < time // 10_000 * 10_000)
        assert (shown, clicked) == (known.sum(), CLICKS[known].sum())
    assert (impressions == 0).any() and (impressions > 0).any()


def test_a_row_never_counts_for_its_own_time(counts):
    impressions, _ = counts.before(hashes(IDS), TIMES)
    earlier = [((IDS == item) & (TIMES < time)).sum() for item, time in zip(IDS, TIMES)]
    assert (impressions <= earlier).all()


def test_parts_add_up_to_the_whole(counts):
    whole = item_counts.count(hashes(IDS), TIMES, CLICKS, RULE)
    for name in ("item", "period", "impressions", "clicks"):
        np.testing.assert_array_equal(getattr(counts, name), getattr(whole, name))


def test_click_rate_of_the_log(counts):
    known = TIMES < 150_000
    assert counts.click_rate(151_000) == CLICKS[known].sum() / known.sum()
    assert counts.click_rate(0) == 0


def test_features_start_at_the_prior():
    made = item_counts.features(np.array([0, 6]), np.array([0, 5]), prior=0.25, strength=4)
    np.testing.assert_allclose(made["item_click_rate"], [0.25, 6 / 10])
    np.testing.assert_allclose(made["item_log_impressions"], [0, np.log(7)], rtol=1e-6)


@pytest.mark.parametrize("field", ["refresh_seconds", "strength"])
def test_a_rule_that_makes_no_sense_is_refused(field):
    with pytest.raises(ConfigError, match=f"item_counts.{field} must be above 0: got 0"):
        ItemCountsRule(**{field: 0})
