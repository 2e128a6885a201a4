"""The oracle against all lists of a tiny world: where list effects are off nothing beats it, else something can."""

import itertools

import numpy as np
import pytest

from hrlrec_tf.simulator import clicks
from hrlrec_tf.simulator.config import CLICK_MODELS, LIST_EFFECTS_OFF, WorldConfig
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.matcher import Candidates
from hrlrec_tf.simulator.policy import Oracle
from hrlrec_tf.simulator.requests import Requests

USERS, CANDIDATES, POSITIONS = 40, 5, 3
LISTS = np.array(list(itertools.permutations(range(CANDIDATES), POSITIONS)))


def make_requests(users):
    """At midnight of day 0: users 0, 1, 2, ... on devices 0, 1, 2, 0, ... in moods 0, 1, 2, ..."""
    each = np.arange(users, dtype=np.int32)
    times = np.full(users, WorldConfig().start_timestamp)
    return Requests(0, each, np.zeros_like(each), (each % 3).astype(np.int8), each % 10, times)


def expected_clicks(seed=0, **values):
    """([users, lists] expected clicks of every list, [users] those of the oracle's list)."""
    feed = Feed.create(WorldConfig(users=USERS, items=40, positions=POSITIONS, seed=seed, **values))
    requests = make_requests(USERS)
    items = np.random.default_rng(seed).permuted(np.tile(np.arange(40, dtype=np.int32), (USERS, 1)), axis=1)
    items = items[:, :CANDIDATES]

    def of(lists):
        return clicks.click_probabilities(feed, requests, lists).sum(axis=1, dtype=np.float64)

    every = np.stack([of(items[:, places]) for places in LISTS], axis=1)
    candidates = Candidates(items, np.zeros(USERS, np.int32), np.zeros_like(items))
    places = Oracle(feed).lists(requests, candidates).places
    return every, of(np.take_along_axis(items, places, axis=1))


@pytest.mark.parametrize("model", CLICK_MODELS)
@pytest.mark.parametrize("seed", [0, 1])
def test_without_list_effects_the_oracle_is_best(model, seed):
    every, oracle = expected_clicks(seed, click_model=model, **LIST_EFFECTS_OFF)
    assert every.shape == (USERS, 60)
    np.testing.assert_allclose(oracle, every.max(axis=1), rtol=1e-5)
    if model == "examination":  # the order matters there
        assert (np.median(every, axis=1) < 0.99 * oracle).all()


@pytest.mark.parametrize(
    "values",
    [
        {"channel_fatigue": 2.0, "tag_fatigue": 2.0},
        {"abandonment": 0.5, "channel_fatigue": 2.0},  # abandonment alone asks for the most appealing first, as it does
        {"click_model": "cascade", "cascade_stop_click": 0.9, "cascade_repeat": 0.5},
    ],
)
def test_with_list_effects_it_is_short_sighted(values):
    every, oracle = expected_clicks(**{**LIST_EFFECTS_OFF, "click_intercept": 0.0, **values})
    behind = oracle < 0.99 * every.max(axis=1)
    assert behind.any()


def test_expected_clicks_are_the_mean_of_drawn_ones():
    """The sum that brute force compares is what users do, list effects and all."""
    feed = Feed.create(WorldConfig(users=20_000, items=40, positions=POSITIONS, abandonment=0.5))
    requests = make_requests(20_000)
    lists = np.tile(np.arange(POSITIONS, dtype=np.int32), (20_000, 1))
    drawn = clicks.respond(feed, requests, lists).clicks.sum(axis=1)
    expected = clicks.click_probabilities(feed, requests, lists).sum(axis=1)
    assert abs((drawn - expected).mean()) < 4 * drawn.std() / np.sqrt(20_000)
