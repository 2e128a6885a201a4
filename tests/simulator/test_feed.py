import dataclasses
import math

import numpy as np
import pytest

from hrlrec_tf.simulator import feed as feed_lib
from hrlrec_tf.simulator.config import CHANNELS, Shock, WorldConfig
from hrlrec_tf.simulator.feed import Feed
from tests.simulator.conftest import make_requests

PEAK_HOURS = (8.0, 13.0, 21.0, 18.0)


def scalar_appeal(feed, user, device, mood, day, hour, item):
    """The formula of the module docstring, one item at a time."""
    config, users, corpus = feed.config, feed.users, feed.corpus
    channel = corpus.channels[item]
    angle = config.taste_drift * day
    taste = math.cos(angle) * users.tastes[user] + math.sin(angle) * users.later_tastes[user]
    shock = sum(s.size for s in config.shocks if (s.kind, s.day, s.channel) == ("quality", day, CHANNELS[channel]))
    age = max(day - corpus.birth_days[item], 0)
    return (
        config.click_intercept
        + config.channel_intercepts[channel]
        + users.click_bias[user]
        + config.quality_strength * (corpus.quality[item] + shock)
        + config.taste_strength * float(taste @ corpus.topics[item])
        + config.channel_strength * users.channel_affinities[user, channel]
        + config.device_strength * feed_lib._DEVICE_SHIFT[device, channel]
        + config.hour_strength * math.cos(2 * math.pi * (hour - PEAK_HOURS[channel]) / 24)
        + config.freshness_strength * 0.5 ** (age / corpus.half_life_days[item])
        + config.mood_strength * corpus.topics[item, mood]
    )


def test_appeal_matches_the_formula():
    shocks = (Shock(day=3, channel="news", kind="quality", size=-1.0),)
    feed = Feed.create(
        WorldConfig(users=40, items=120, taste_drift=0.1, channel_intercepts=(0.1, -0.2, 0.0, 0.3), shocks=shocks)
    )
    requests = make_requests(40, day=3, hour=7.5)
    items = np.tile(np.arange(120, dtype=np.int32), (40, 1))
    got = feed.appeal(requests, items)
    for user in range(0, 40, 7):
        want = [scalar_appeal(feed, user, user % 3, user % 10, 3, 7.5, item) for item in range(120)]
        np.testing.assert_allclose(got[user], want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "field",
    [
        *("taste_strength", "channel_strength", "device_strength", "hour_strength", "mood_strength"),
        *("quality_strength", "freshness_strength"),
    ],
)
def test_every_strength_counts_and_0_switches_it_off(small_requests, field):
    """Doubling a strength moves appeal by as much as dropping it does, the other way: appeal is linear in each."""
    items = np.tile(np.arange(120, dtype=np.int32), (40, 1))
    usual = getattr(WorldConfig(), field)
    values = [
        Feed.create(WorldConfig(users=40, items=120, **{field: value})).appeal(small_requests, items)
        for value in (0.0, usual, 2 * usual)
    ]
    assert np.ptp(values[1] - values[0]) > 0.05
    np.testing.assert_allclose(values[2] - values[1], values[1] - values[0], atol=1e-4)


def test_dwell_follows_clicks_only_grows_with_match_and_scales_by_channel(small_feed, small_requests):
    lists = np.tile(np.arange(10, dtype=np.int32), (40, 1))
    clicks = np.random.default_rng(1).random(lists.shape) < 0.5
    quiet = np.zeros(lists.shape, np.float32)
    dwell = small_feed.dwell_seconds(small_requests, lists, clicks, quiet)
    assert (dwell[~clicks] == 0).all() and (dwell[clicks] > 0).all()
    share = (dwell / small_feed.corpus.length_seconds[lists])[clicks]
    assert np.corrcoef(np.log(share), small_feed.match(small_requests, lists)[clicks])[0, 1] > 0.5
    doubled = dataclasses.replace(small_feed.config, dwell_scales=(2.0, 1.0, 1.0, 1.0))
    twice = dataclasses.replace(small_feed, config=doubled).dwell_seconds(small_requests, lists, clicks, quiet)
    news = small_feed.corpus.channels[lists] == 0
    np.testing.assert_allclose(twice[news], 2 * dwell[news])
    np.testing.assert_allclose(twice[~news], dwell[~news])


def test_users_and_corpus_do_not_disturb_each_other():
    base = Feed.create(WorldConfig(users=50, items=100))
    more_items = Feed.create(WorldConfig(users=50, items=200))
    for field in dataclasses.fields(base.users):
        np.testing.assert_array_equal(getattr(base.users, field.name), getattr(more_items.users, field.name))


def test_sigmoid_is_safe_at_both_ends():
    got = feed_lib.sigmoid(np.array([-200.0, 0.0, 200.0], np.float32))
    np.testing.assert_allclose(got, [0.0, 0.5, 1.0])
