import dataclasses

import numpy as np
import pytest

from hrlrec_tf.errors import PolicyError
from hrlrec_tf.simulator import policy as policy_lib
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.days import show
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.matcher import Candidates
from hrlrec_tf.simulator.policy import Choice, LoggingPolicy, Oracle, Uniform
from hrlrec_tf.simulator.requests import Requests
from tests.simulator.conftest import make_requests


@pytest.mark.parametrize("kind", [LoggingPolicy, Oracle, Uniform])
@pytest.mark.parametrize("values", [{}, {"items": 20, "positions": 10}, {"items": 60, "explore_share": 1.0}])
def test_lists_hold_different_candidates(kind, values):
    feed = Feed.create(WorldConfig(**{"users": 30, "items": 300, **values}))
    requests = make_requests(30)
    candidates = feed.matcher.candidates(requests)
    choice = kind(feed).lists(requests, candidates)
    items = policy_lib.shown_items(candidates, choice, 10, "it")
    assert all(len(set(row)) == 10 for row in items.tolist())
    assert (items >= 0).all()


def explored_lists(repeats, epsilon):
    """Many lists of one request over 7 candidates of channels 0 0 0 1 1 2 and none, in the fixed order 2 4 5 ..."""
    items = np.tile(np.array([[10, 11, 12, 13, -1, 14, 15]], np.int32), (repeats, 1))
    channels = np.zeros(20, np.int8)
    channels[[13, 14, 15]] = [1, 1, 2]
    candidates = Candidates(items, np.zeros(repeats, np.int32), np.zeros_like(items))
    each = np.arange(repeats, dtype=np.int32)
    requests = Requests(0, each, each * 0, each.astype(np.int8) * 0, each * 0, each.astype(np.int64))
    ranked = np.tile(np.array([[2, 5, 6]]), (repeats, 1))
    return policy_lib.explore(ranked, candidates, channels, epsilon, 0, requests), channels, items


def test_propensities_are_the_frequencies_given_what_stands_above():
    """Of 200,000 lists; every prefix that occurred often enough is checked at the position after it."""
    choice, channels, items = explored_lists(200_000, 0.4)
    shown = np.take_along_axis(items, choice.places, axis=1)
    checked = 0
    for t in range(3):
        for prefix in np.unique(shown[:, :t], axis=0) if t else np.zeros((1, 0), int):
            at = (shown[:, :t] == prefix).all(axis=1)
            total = 0.0
            for item in np.unique(shown[at, t]):
                here = at & (shown[:, t] == item)
                channel = channels[item]
                p_channel, p_item = choice.propensity_channel[here, t], choice.propensity_item[here, t]
                assert np.ptp(p_channel) == np.ptp(p_item) == 0.0
                total += p_channel[0] * p_item[0]
                for stated, counted, of in (
                    (p_channel[0] * p_item[0], here.sum(), at.sum()),
                    (p_channel[0], (at & (channels[shown[:, t]] == channel)).sum(), at.sum()),
                ):
                    assert abs(counted / of - stated) < 5 * np.sqrt(stated * (1 - stated) / of) + 1e-9
                    checked += of > 1_000
            if at.sum() > 5_000:
                assert total == pytest.approx(1.0, abs=1e-5)
    assert checked > 30
    assert (shown >= 0).all()


@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_exploration_at_both_ends(epsilon):
    choice, _, items = explored_lists(2_000, epsilon)
    if epsilon:
        assert choice.explored.all()
        first = np.bincount(choice.places[:, 0], minlength=7)
        assert first[4] == 0
        assert (np.abs(first[[0, 1, 2, 3, 5, 6]] / 2_000 - 1 / 6) < 0.05).all()
    else:
        np.testing.assert_array_equal(choice.places, np.tile([[2, 5, 6]], (2_000, 1)))
        assert (choice.propensity_channel == 1).all() and (choice.propensity_item == 1).all()


def test_the_logging_policy_prefers_quality_and_a_little_taste():
    feed = Feed.create(WorldConfig(users=300, items=3_000, policy_personal=1.0, explore_share=0.0, policy_noise=0.3))
    requests = make_requests(300)
    candidates = feed.matcher.candidates(requests)
    choice = LoggingPolicy(feed).lists(requests, candidates)
    items = np.take_along_axis(candidates.items, choice.places, axis=1)
    assert feed.corpus.quality[items].mean() > feed.corpus.quality[candidates.items].mean() + 0.3
    assert feed.match(requests, items).mean() > feed.match(requests, candidates.items).mean() + 0.1
    assert not choice.explored.any()


class Stubborn:
    name = "stubborn"

    def __init__(self, places):
        self.places = np.asarray(places)

    def lists(self, requests, candidates):
        return Choice.certain(np.broadcast_to(self.places, (len(requests), self.places.shape[-1])))


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (np.arange(9), r"policy stubborn returned lists of shape \(40, 9\) for 40 requests of 10 positions"),
        ([*range(9), 800], "returned place 800 or 0; candidates stand at 0 to"),
        ([*range(9), -2], "returned place 8 or -2; candidates stand at"),
        ([*range(9), 3], "returned one item twice"),
        ([*range(9), -1], "outside the candidates: place -1 at position 10"),
        ([*range(9), 199], "outside the candidates: place 199 at position 10"),
    ],
)
def test_what_cannot_be_shown_is_refused_by_name(small_feed, small_requests, places, message):
    with pytest.raises(PolicyError, match=message):
        show(small_feed, Stubborn(places), small_requests)


def test_fewer_candidates_than_positions_leave_the_rest_empty(small_feed):
    requests = make_requests(2)
    candidates = Candidates(np.array([[5, 6, -1], [7, -1, -1]], np.int32), np.zeros(2, np.int32), np.zeros((2, 3)))
    choice = Oracle(small_feed).lists(requests, candidates)
    items = policy_lib.shown_items(candidates, choice, 10, "oracle")
    assert [sorted(row[row >= 0].tolist()) for row in items] == [[5, 6], [7]]
    assert dataclasses.asdict(choice)["explored"].sum() == 0
