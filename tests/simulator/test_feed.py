import dataclasses
import math

import numpy as np
import pytest

from hrlrec_tf.simulator import feed as feed_lib
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.feed import Feed, Requests
from hrlrec_tf.simulator.logs import simulate_day
from hrlrec_tf.simulator.policy import LoggingPolicy


def random_lists(feed, requests):
    rng = np.random.default_rng(0)
    return np.stack([rng.permutation(feed.config.items)[: feed.config.positions] for _ in requests.users]).astype(
        np.int32
    )


def scalar_click_probability(feed, user, device, items, t):
    """The formula of the module docstring, one row at a time."""
    config, users, corpus, item = feed.config, feed.users, feed.corpus, items[t]
    tags = [set(corpus.tags[i][corpus.tags[i] < corpus.tag_count].tolist()) for i in items]
    logit = config.click_intercept + users.click_bias[user] + config.quality_strength * corpus.quality[item]
    logit += config.taste_strength * float(users.tastes[user] @ corpus.topics[item])
    logit += config.channel_strength * users.channel_affinities[user, corpus.channels[item]]
    logit += config.device_strength * feed_lib._DEVICE_SHIFT[device, corpus.channels[item]]
    logit -= config.channel_fatigue * sum(corpus.channels[i] == corpus.channels[item] for i in items[:t])
    logit -= config.tag_fatigue * sum(len(tags[t] & earlier) for earlier in tags[:t])
    return (t + 1) ** -config.position_decay / (1.0 + math.exp(-logit))


def test_click_probabilities_match_the_formula(small_feed, small_requests):
    lists = random_lists(small_feed, small_requests)
    got = small_feed.click_probabilities(small_requests, lists)
    for n in range(0, 40, 7):
        want = [scalar_click_probability(small_feed, n, n % 3, lists[n], t) for t in range(10)]
        np.testing.assert_allclose(got[n], want, rtol=1e-5)


def test_expected_ctr_takes_one_list_or_one_per_request(small_feed, small_requests):
    common = np.arange(10, dtype=np.int32)
    each = np.tile(common, (40, 1))
    assert small_feed.expected_ctr(small_requests, common) == small_feed.expected_ctr(small_requests, each)
    assert 0.0 < small_feed.expected_ctr(small_requests, common) < 1.0


def test_dwell_follows_clicks_only_and_grows_with_match(small_feed, small_requests):
    lists = random_lists(small_feed, small_requests)
    clicks = np.random.default_rng(1).random(lists.shape) < 0.5
    quiet = np.zeros(lists.shape, np.float32)
    dwell = small_feed.dwell_seconds(small_requests, lists, clicks, quiet)
    assert (dwell[~clicks] == 0).all() and (dwell[clicks] > 0).all()
    share = (dwell / small_feed.corpus.length_seconds[lists])[clicks]
    match = small_feed.match(small_requests, lists)[clicks]
    assert np.corrcoef(np.log(share), match)[0, 1] > 0.5


def test_oracle_is_greedy_when_list_effects_are_off(small_requests):
    feed = Feed.create(WorldConfig(users=40, items=120, channel_fatigue=0.0, tag_fatigue=0.0))
    every_item = np.tile(np.arange(120, dtype=np.int32), (40, 1))
    best = np.argsort(-feed.attraction(small_requests, every_item), axis=1)[:, :10]
    np.testing.assert_array_equal(feed_lib.oracle_lists(feed, small_requests), best)
    # Then the bound on common lists is reached, not just respected.
    common = feed_lib.common_list(feed, small_requests)
    bound = feed_lib.common_ctr_bound(feed, small_requests)
    assert feed.expected_ctr(small_requests, common) == pytest.approx(bound, rel=1e-5)


def test_lists_hold_no_item_twice(small_feed, small_requests):
    assert all(len(set(items)) == 10 for items in feed_lib.oracle_lists(small_feed, small_requests).tolist())
    assert len(set(feed_lib.common_list(small_feed, small_requests).tolist())) == 10


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_any_common_list_loses_a_fifth_of_the_oracles_ctr(seed):
    """A proof, no estimate: the greedy oracle is at most the best one, and the bound at least any common list."""
    feed = Feed.create(WorldConfig(seed=seed))
    requests = next(simulate_day(feed, LoggingPolicy(feed), day=0)).requests
    oracle = feed.expected_ctr(requests, feed_lib.oracle_lists(feed, requests))
    bound = feed_lib.common_ctr_bound(feed, requests)
    common = feed.expected_ctr(requests, feed_lib.common_list(feed, requests))
    assert common <= bound <= 0.8 * oracle


def test_without_personal_effects_the_oracle_gains_nothing(small_requests):
    config = WorldConfig(
        users=40, items=120, taste_strength=0.0, channel_strength=0.0, device_strength=0.0, user_bias_spread=0.0
    )
    feed = Feed.create(config)
    oracle = feed.expected_ctr(small_requests, feed_lib.oracle_lists(feed, small_requests))
    common = feed.expected_ctr(small_requests, feed_lib.common_list(feed, small_requests))
    assert oracle == pytest.approx(common, rel=1e-5)


def test_users_and_corpus_do_not_disturb_each_other():
    base = Feed.create(WorldConfig(users=50, items=100))
    more_items = Feed.create(WorldConfig(users=50, items=200))
    for field in dataclasses.fields(base.users):
        np.testing.assert_array_equal(getattr(base.users, field.name), getattr(more_items.users, field.name))


def test_sigmoid_is_safe_at_both_ends():
    got = feed_lib.sigmoid(np.array([-200.0, 0.0, 200.0], np.float32))
    np.testing.assert_allclose(got, [0.0, 0.5, 1.0])


def test_requests_have_a_length(small_requests):
    assert len(small_requests) == 40
    assert isinstance(small_requests, Requests)
