import dataclasses

import numpy as np
import pytest

from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.state import UserStates
from tests.simulator.conftest import make_requests

LISTS = np.tile(np.arange(10, dtype=np.int32), (200, 1))
SEEN = np.ones((200, 10), bool)


def states_of(**values):
    return UserStates(Feed.create(WorldConfig(users=200, items=120, **values)))


def test_novelty_fades_with_what_is_seen_and_comes_back_with_time():
    states, requests = states_of(familiarity_decay=0.5), make_requests(200)
    assert (states.novelty(requests, LISTS) == 1).all()
    states.observe(requests, LISTS[:, :1], np.zeros((200, 1), bool), SEEN[:, :1])
    after = states.novelty(requests, LISTS)
    np.testing.assert_allclose(after[:, 0], np.exp(-1.0), rtol=1e-5)
    assert (after <= 1).all()
    states.next_day()
    np.testing.assert_allclose(states.novelty(requests, LISTS)[:, 0], np.exp(-0.5), rtol=1e-5)


def test_what_nobody_saw_is_still_new():
    states, requests = states_of(), make_requests(200)
    states.observe(requests, LISTS, np.zeros((200, 10), bool), np.zeros((200, 10), bool))
    assert (states.novelty(requests, LISTS) == 1).all()


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_clicks_bring_another_request_as_far_as_configured(strength):
    states = states_of(another_satisfaction=strength, another_request=0.4)
    more = []
    for clicked in (False, True):
        asked = []
        for number in range(50):
            requests = make_requests(200)
            requests = dataclasses.replace(requests, numbers=np.full(200, number % 7, np.int32), day=number)
            asked.append(states.observe(requests, LISTS, np.full((200, 10), clicked), SEEN).mean())
        more.append(np.mean(asked))
    if strength:
        assert more[1] > more[0] + 0.3
    else:
        assert more[0] == pytest.approx(0.4, abs=0.02) == more[1]


def test_novel_clicks_satisfy_more():
    fresh, tired = states_of(novelty_satisfaction=1.0), states_of(novelty_satisfaction=1.0)
    requests = make_requests(200)
    for _ in range(5):
        tired.observe(requests, LISTS, np.zeros((200, 10), bool), SEEN)
    tired.satisfaction[:] = 0
    for states in (fresh, tired):
        states.observe(requests, LISTS, np.ones((200, 10), bool), SEEN)
    assert (fresh.satisfaction > tired.satisfaction).all()


def test_a_visit_ends_after_the_most_requests():
    states = states_of(max_requests=3, another_satisfaction=5.0)
    requests = dataclasses.replace(make_requests(200), numbers=np.full(200, 2, np.int32))
    assert not states.observe(requests, LISTS, np.ones((200, 10), bool), SEEN).any()


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_satisfied_users_come_more_often_as_far_as_configured(strength):
    states = states_of(return_strength=strength, activity_spread=0.0)
    states.satisfaction[:100] = 2.0
    rates = states.visit_rates()
    assert rates[0] / rates[150] == pytest.approx(np.exp(2 * strength))


def test_a_copy_goes_on_on_its_own():
    states, requests = states_of(), make_requests(200)
    states.observe(requests, LISTS, np.ones((200, 10), bool), SEEN)
    copy = states.copy(states._feed)
    np.testing.assert_array_equal(copy.novelty(requests, LISTS), states.novelty(requests, LISTS))
    copy.next_day()
    copy.satisfaction[:] = 7
    assert (copy.novelty(requests, LISTS) != states.novelty(requests, LISTS)).any()
    assert states.satisfaction.max() < 7
