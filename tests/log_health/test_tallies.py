"""Running figures against plain ones."""

import math

import numpy as np
import pytest
from feeds import lists_of, random_feed

from hrlrec_tf.log_health.examine import popularity
from hrlrec_tf.log_health.sample import UserSample
from hrlrec_tf.log_health.tallies import ClickRates, Histogram, Keyed, Periods, Rows


def test_click_rates_over_buckets_are_those_of_all_rows():
    rng = np.random.default_rng(0)
    user, cell = rng.integers(0, 40, 3000), rng.integers(0, 3, 3000)
    clicked = (rng.random(3000) < 0.1 + 0.02 * (user % 10)).astype(int)
    rates = ClickRates()
    for bucket in (user < 13, user >= 13):
        rates.add(user[bucket], cell[bucket], clicked[bucket])
    for name, found in rates.rates().items():
        inside = cell == name
        rows = np.bincount(user[inside], minlength=40)
        clicks = np.bincount(user[inside], clicked[inside], minlength=40)
        rate = clicks.sum() / rows.sum()
        error = math.sqrt(((clicks - rate * rows) ** 2).sum() * 40 / 39) / rows.sum()
        assert (found["rows"], found["users"]) == (inside.sum(), 40)
        assert found["click_rate"] == pytest.approx(rate)
        assert found["high"] - found["low"] == pytest.approx(2 * 1.959964 * error, rel=1e-6)


def test_few_users_have_no_interval():
    rates = ClickRates()
    rates.add(np.arange(9), np.zeros(9, int), np.ones(9))
    assert rates.rates()[0]["click_rate"] == 1 and math.isnan(rates.rates()[0]["low"])
    assert ClickRates().rates() == {}


def test_histogram_quantiles_are_right_to_the_width_of_a_bin():
    values = np.random.default_rng(1).lognormal(2, 1.5, 5000)
    histogram = Histogram()
    for part in np.split(values, 5):
        histogram.add(part)
    for share in (0.1, 0.5, 0.99):
        assert histogram.quantile(share) == pytest.approx(np.quantile(values, share), rel=0.05)
    assert sum(histogram.between((0.001, 1, 10, 1e9))) == 5000
    assert histogram.between((0.001, 10))[0] == pytest.approx((values < 10).sum(), rel=0.02)
    assert math.isnan(Histogram().quantile(0.5))


def test_keyed_sums_survive_merging(monkeypatch):
    monkeypatch.setattr("hrlrec_tf.log_health.tallies._MERGE", 3)
    keyed = Keyed(2)
    for keys in ([5, 1, 5], [1, 9], [5]):
        keyed.add(np.array(keys), np.column_stack([np.ones(len(keys), int), keys]))
    keys, counts = keyed.totals()
    assert keys.tolist() == [1, 5, 9] and counts.tolist() == [[2, 2], [3, 15], [1, 9]]


def test_periods_count_distinct_users_and_join_days_when_there_are_many():
    day = 86_400_000
    lists = [
        lists_of([u, 7], [[1, 2], [2, 3]], [[0, 1], [1, 1]], np.full((2, 2, 1), -1), [[1, 0], [0, 0]])
        for u in (3, 7, 3)
    ]
    periods = Periods()
    for number, each in enumerate(lists):
        each.time[:] = [100 * day + 5, (100 + number) * day]
        periods.add(Rows.of([each]), [each])
    table = periods.table(channels=2, most=60)
    assert (table["days"], table["first_day"]) == (1, [100, 101, 102])
    assert table["rows"] == [8, 2, 2] == table["train"] and table["lists"] == [4, 1, 1]
    assert table["users"] == [2, 1, 1] and table["items"] == [3, 2, 2]
    assert table["channels"] == [[3, 0, 0], [5, 2, 2]] and table["click_rate"] == [3 / 8, 0, 0]
    joined = periods.table(channels=2, most=1)
    assert (joined["days"], joined["rows"], joined["users"], joined["items"]) == (7, [12], [2], [3])
    assert Periods().table(0, 60) == {"days": 1, "first_day": []}


def test_popularity_by_hand():
    found = popularity(np.array([1, 1, 2, 16]))
    # 2 * (1*1 + 2*1 + 3*2 + 4*16) / (4 * 20) - 5/4
    assert found["gini"] == pytest.approx(0.575)
    assert (found["top_1_percent"], found["items_of_half"], found["items_shown_once"]) == (0.8, 1, 2)
    assert popularity(np.full(7, 3))["gini"] == pytest.approx(0)
    assert popularity(np.zeros(0)) == {"items": 0}


def test_the_sample_keeps_whole_users_and_stays_below_its_bound():
    lists = random_feed(0, users=50, lists=10)
    whole, small = UserSample(10**6), UserSample(900)
    for bucket in (lists.user % 2 == 0, lists.user % 2 == 1):
        whole.add([lists.take(bucket)])
        small.add([lists.take(bucket)])
    assert whole.share == 1 and sum(len(each.user) for each in whole.lists) == 500
    users, counts = np.unique(np.concatenate([each.user for each in small.lists]), return_counts=True)
    assert 5 <= len(users) <= 15 and (counts == 10).all() and 0 < small.share < 0.5
    one = UserSample(1)
    one.add([lists])
    assert len(np.unique(np.concatenate([each.user for each in one.lists]))) == 1


def test_a_list_across_a_cut_is_sampled_where_it_begins():
    lists = random_feed(0, users=5, lists=2)
    lists.rows["weight"][0, 0] = 0
    sample = UserSample(10**6)
    sample.add([lists])
    assert sum(len(each.user) for each in sample.lists) == 9
