import dataclasses

import numpy as np
import pytest

from hrlrec_tf.simulator import clicks
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.requests import Requests
from tests.simulator.conftest import make_requests

MODELS = ("examination", "cascade")


def feed_of(model, **values):
    strong = {"abandonment": 0.4, "channel_fatigue": 0.2, "tag_fatigue": 0.3, "cascade_repeat": 0.2}
    return Feed.create(
        WorldConfig(users=40, items=120, click_model=model, click_intercept=-1.0, **{**strong, **values})
    )


def scalar_probabilities(feed, requests, row, items):
    """The table of the module docstring, one row of a list at a time."""
    config, corpus = feed.config, feed.corpus
    tags = [set(corpus.tags[i][corpus.tags[i] < corpus.tag_count].tolist()) for i in items]
    there, found = 1.0, []
    for t, item in enumerate(items):
        appeal = float(feed.appeal(requests, np.tile(items, (len(requests), 1)))[row, t])
        n_c = sum(corpus.channels[i] == corpus.channels[item] for i in items[:t])
        n_g = sum(len(tags[t] & earlier) for earlier in tags[:t])
        if config.click_model == "examination":
            chance = 1 / (1 + np.exp(-(appeal - config.channel_fatigue * n_c - config.tag_fatigue * n_g)))
            look = (t + 1) ** -config.position_decay
            leave_click = leave_skip = config.abandonment * (1 - chance)
        else:
            chance = (1 - config.cascade_repeat) ** (n_c + n_g) / (1 + np.exp(-appeal))
            look = 1.0
            leave_click, leave_skip = config.cascade_stop_click, config.cascade_stop_skip
        found.append(there * look * chance)
        there *= 1 - look * chance * leave_click - (1 - look * chance) * leave_skip
    return found


@pytest.mark.parametrize("model", MODELS)
def test_probabilities_match_the_formulas(model):
    feed, requests = feed_of(model), make_requests(40)
    items = np.random.default_rng(0).permutation(120)[:10].astype(np.int32)
    got = clicks.click_probabilities(feed, requests, np.tile(items, (40, 1)))
    for row in range(0, 40, 9):
        np.testing.assert_allclose(got[row], scalar_probabilities(feed, requests, row, items), rtol=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_drawn_clicks_come_as_often_as_said(model):
    """The same users ask 1,000 times: every position's click rate is within five standard errors."""
    feed = feed_of(model)
    requests, items = make_requests(40), np.arange(10, dtype=np.int32)
    repeated = [dataclasses.replace(requests, numbers=np.full(40, n, np.int32)) for n in range(1_000)]
    every = Requests.concat(repeated)
    response = clicks.respond(feed, every, np.tile(items, (len(every), 1)))
    rate, truth = response.clicks.mean(axis=0), response.probability.mean(axis=0)
    assert (np.abs(rate - truth) < 5 * np.sqrt(truth * (1 - truth) / len(every))).all()
    assert not (response.clicks & ~response.seen).any()
    assert (np.diff(response.seen.mean(axis=0)) < 0).all()
    assert response.seen[:, 0].all()


@pytest.mark.parametrize("model", MODELS)
def test_luck_is_of_user_request_position_and_item(model):
    feed, requests = feed_of(model, abandonment=0.0, cascade_stop_click=0.0, cascade_stop_skip=0.0), make_requests(40)
    lists = np.tile(np.arange(10, dtype=np.int32), (40, 1))
    whole = clicks.respond(feed, requests, lists)
    half = clicks.respond(feed, requests[20:], lists[20:])
    np.testing.assert_array_equal(whole.clicks[20:], half.clicks)
    changed = lists.copy()
    changed[:, -1] = 50
    np.testing.assert_array_equal(clicks.respond(feed, requests, changed).clicks[:, :-1], whole.clicks[:, :-1])
    other_time = dataclasses.replace(requests, numbers=requests.numbers + 1)
    assert (clicks.respond(feed, other_time, lists).clicks != whole.clicks).any()


@pytest.mark.parametrize("model", MODELS)
def test_without_list_effects_the_rows_above_do_not_matter(model):
    off = {"channel_fatigue": 0.0, "tag_fatigue": 0.0, "abandonment": 0.0}
    off |= {"cascade_repeat": 0.0, "cascade_stop_click": 0.0, "cascade_stop_skip": 0.0}
    feed, requests = feed_of(model, **off), make_requests(40)
    lists = np.tile(np.arange(10, dtype=np.int32), (40, 1))
    swapped = lists[:, [3, 1, 2, 0, *range(4, 10)]]
    first, second = (clicks.click_probabilities(feed, requests, each)[:, 4:] for each in (lists, swapped))
    np.testing.assert_allclose(first, second, rtol=1e-6)
    with_effects = feed_of(model)
    first, second = (clicks.click_probabilities(with_effects, requests, each)[:, 4:] for each in (lists, swapped))
    assert np.abs(first - second).max() > 1e-4


def test_expected_ctr_takes_one_list_or_one_per_request(small_feed, small_requests):
    common = np.arange(10, dtype=np.int32)
    each = np.tile(common, (40, 1))
    one, many = (clicks.expected_ctr(small_feed, small_requests, lists) for lists in (common, each))
    assert one == many
    assert 0.0 < one < 1.0


def test_greedy_lists_skip_what_is_absent_and_say_so_when_nothing_is_left(small_feed, small_requests):
    items = np.full((40, 12), -1, np.int32)
    items[:, 2:9] = np.arange(7)
    places = clicks.greedy_lists(small_feed, small_requests, items)
    assert sorted(places[0][:7].tolist()) == list(range(2, 9))
    assert (places[:, 7:] == -1).all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_any_common_list_loses_a_fifth_of_the_oracles_ctr(seed):
    """Personal taste is worth something. Without fatigue no common list beats the items by mean chance."""
    off = {"channel_fatigue": 0.0, "tag_fatigue": 0.0, "abandonment": 0.0}
    feed = Feed.create(WorldConfig(users=300, items=600, seed=seed, **off))
    requests = make_requests(300)
    every = np.tile(np.arange(600, dtype=np.int32), (300, 1))
    oracle = clicks.expected_ctr(feed, requests, clicks.greedy_lists(feed, requests, every).astype(np.int32))
    mean = (1 / (1 + np.exp(-feed.appeal(requests, every)))).mean(axis=0)
    common = clicks.expected_ctr(feed, requests, np.argsort(-mean)[:10].astype(np.int32))
    assert common < 0.8 * oracle
