import numpy as np
import pytest

from hrlrec_tf.simulator import policy as policy_lib
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.feed import Feed, Requests
from hrlrec_tf.simulator.policy import LoggingPolicy


def lists_of(config, requests=500, seed=0):
    feed = Feed.create(config)
    users = np.random.default_rng(seed).integers(0, config.users, requests).astype(np.int32)
    batch = Requests(users, np.zeros(requests, np.int8), np.zeros(requests, np.int64))
    items, explored = LoggingPolicy(feed).lists(batch, np.random.default_rng(seed), np.random.default_rng(seed + 1))
    return feed, batch, items, explored


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"items": 20},
        {"items": 40, "popularity_spread": 3.0, "policy_pool": 20},
        {"items": 60, "explore_share": 1.0},
    ],
)
def test_no_item_twice_in_a_list(values):
    _, _, items, _ = lists_of(WorldConfig(users=30, **values))
    assert all(len(set(row)) == 10 for row in items.tolist())


def test_explored_share_and_uniformity():
    config = WorldConfig(users=30, items=40, policy_pool=20, explore_share=0.3, popularity_spread=2.0)
    _, _, items, explored = lists_of(config, requests=40_000)
    assert explored.mean() == pytest.approx(0.3, abs=0.005)
    first = np.bincount(items[explored[:, 0], 0], minlength=40)  # about 12,000 draws over 40 items
    assert np.abs(first / first.mean() - 1.0).max() < 0.25
    chosen = np.bincount(items[~explored[:, 0], 0], minlength=40)
    assert chosen.max() > 5 * max(chosen.min(), 1)


def test_uniform_unplaced_reaches_every_free_item_equally_and_no_other():
    placed = np.array([[4, 0, 2]] * 3_000, np.int32)
    draws = (np.arange(3_000) + 0.5) / 3_000
    counts = np.bincount(policy_lib._uniform_unplaced(draws, placed, 6), minlength=6)
    assert counts.tolist() == [0, 1_000, 0, 1_000, 0, 1_000]


def test_popularity_and_taste_both_count():
    feed, batch, items, _ = lists_of(WorldConfig(users=30, items=400, explore_share=0.0, policy_personal=1.0), 20_000)
    shown = np.bincount(items.ravel(), minlength=400)
    assert np.corrcoef(np.log1p(shown), np.log(feed.corpus.popularity))[0, 1] > 0.5
    # A user is shown what suits this user better than it suits the next one.
    other = Requests((batch.users + 1) % 30, batch.devices, batch.timestamps)
    assert feed.match(batch, items).mean() > feed.match(other, items).mean() + 0.2


def test_capped_shares_keep_their_sum_and_order():
    shares = np.array([0.6, 0.2, 0.1, 0.05, 0.05])
    capped = policy_lib._capped(shares, 0.25)
    np.testing.assert_allclose(capped, [0.25, 0.25, 0.25, 0.125, 0.125])
    np.testing.assert_allclose(policy_lib._capped(shares, 0.2), np.full(5, 0.2))
