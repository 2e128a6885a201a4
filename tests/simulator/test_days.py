import dataclasses

import numpy as np
import pytest

from hrlrec_tf.simulator import days as days_lib
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.days import simulate_day
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.policy import LoggingPolicy, Oracle, Uniform
from hrlrec_tf.simulator.state import UserStates
from hrlrec_tf.simulator.traffic import Fixed, Open

WORLD = WorldConfig(users=300, items=400, days=7, requests_per_day=200)


def run(world, policy=LoggingPolicy, traffic=Open, days=range(2)):
    feed = Feed.create(world)
    flow = traffic(feed, UserStates(feed))
    return [lists for day in days for lists in simulate_day(feed, policy(feed), flow, day)]


def column(batches, name):
    return np.concatenate([np.asarray(getattr(lists, name)) for lists in batches])


def of_requests(batches, name):
    return np.concatenate([getattr(lists.requests, name) for lists in batches])


@pytest.mark.parametrize("traffic", [Open, Fixed])
def test_the_size_of_batches_changes_nothing(traffic, monkeypatch):
    def rows():
        batches = run(WORLD, traffic=traffic)
        order = np.lexsort([of_requests(batches, name) for name in ("numbers", "users")] + [_days(batches)])
        return [column(batches, name)[order] for name in ("items", "clicks", "dwell_seconds")]

    whole = rows()
    monkeypatch.setattr(days_lib, "CHUNK_REQUESTS", 7)
    for first, second in zip(whole, rows(), strict=True):
        np.testing.assert_array_equal(first, second)


def _days(batches):
    return np.concatenate([np.full(len(lists.requests), lists.requests.day) for lists in batches])


def test_a_users_lists_stand_in_order_of_time():
    batches = run(WORLD)
    keys = list(zip(_days(batches), of_requests(batches, "users"), of_requests(batches, "numbers"), strict=True))
    times = dict(zip(keys, of_requests(batches, "timestamps"), strict=True))
    assert len(times) == len(keys)
    followed = [(key, (key[0], key[1], key[2] + 1)) for key in keys if (key[0], key[1], key[2] + 1) in times]
    assert len(followed) > 50
    assert all(times[later] >= times[earlier] + 20_000 for earlier, later in followed)
    assert all(keys.index(later) > keys.index(earlier) for earlier, later in followed[:50])


def test_fixed_traffic_serves_what_was_asked_for():
    for lists_per_day in (1, 37, 200, 1_500):  # more than there are users, too
        batches = run(dataclasses.replace(WORLD, requests_per_day=lists_per_day), traffic=Fixed)
        assert np.bincount(_days(batches)).tolist() == [lists_per_day] * 2
        keys = set(zip(_days(batches), of_requests(batches, "users"), of_requests(batches, "numbers"), strict=True))
        assert len(keys) == 2 * lists_per_day


def test_weekends_are_busier_as_far_as_configured():
    batches = run(dataclasses.replace(WORLD, weekday_cycle=0.2), traffic=Fixed, days=range(7))
    assert np.bincount(_days(batches)).tolist() == [160] * 5 + [300] * 2


def test_hours_follow_the_cycle():
    batches = run(dataclasses.replace(WORLD, users=3_000, requests_per_day=6_000, another_request=0.0))
    hours = of_requests(batches, "timestamps") % 86_400_000 // 3_600_000
    by_hour = np.bincount(hours, minlength=24)
    assert by_hour[20] > 3 * by_hour[8] > 0
    flat = run(dataclasses.replace(WORLD, users=3_000, requests_per_day=6_000, hour_cycle=0.0, another_request=0.0))
    by_hour = np.bincount(of_requests(flat, "timestamps") % 86_400_000 // 3_600_000, minlength=24)
    assert by_hour.max() < 1.5 * by_hour.min()


def test_a_better_policy_earns_more_requests_and_fewer_leave():
    world = dataclasses.replace(WORLD, users=1_000, requests_per_day=700)
    by_policy = {policy: run(world, policy, days=range(6)) for policy in (Uniform, LoggingPolicy, Oracle)}
    requests = [len(_days(batches)) for batches in by_policy.values()]
    assert requests[2] > 1.3 * requests[0] and requests[1] > requests[0]
    seen = [column(batches, "seen").mean() for batches in by_policy.values()]
    assert seen[0] < seen[1] < seen[2]
    rates = [column(batches, "clicks").mean() for batches in by_policy.values()]
    assert rates[0] < rates[1] < rates[2]


def test_without_feedback_loops_the_policy_does_not_change_the_traffic():
    world = dataclasses.replace(WORLD, another_satisfaction=0.0, return_strength=0.0, max_requests=1)
    first, second = run(world, Uniform), run(world, Oracle)
    np.testing.assert_array_equal(of_requests(first, "users"), of_requests(second, "users"))
    np.testing.assert_array_equal(of_requests(first, "timestamps"), of_requests(second, "timestamps"))


def test_moods_last_a_day():
    batches = run(WORLD)
    moods = {}
    for day, user, mood in zip(
        _days(batches), of_requests(batches, "users"), of_requests(batches, "moods"), strict=True
    ):
        moods.setdefault((day, user), set()).add(mood)
    assert all(len(each) == 1 for each in moods.values())
    both = [user for day, user in moods if day == 0 and (1, user) in moods]
    assert 0.03 < np.mean([moods[0, user] == moods[1, user] for user in both]) < 0.3


def test_the_true_click_probability_separates_clicks_as_real_feeds_do():
    batches = run(WorldConfig(), traffic=Fixed, days=range(3))
    truth, clicked = (column(batches, name).ravel() for name in ("click_probability", "clicks"))
    assert truth.mean() == pytest.approx(clicked.mean(), abs=0.01)
    ranks = truth.argsort().argsort() + 1.0
    auc = (ranks[clicked].mean() - (clicked.sum() + 1) / 2) / (~clicked).sum()
    assert 0.72 < auc < 0.86
