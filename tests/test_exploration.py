"""Exploration against counted draws and an oracle that walks every path."""

import collections

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from hrlrec_tf.candidates import kinds
from hrlrec_tf.exploration import Choice, Policy, choose, draw, propensities

DRAWS = 20_000
CHANNELS = np.array(["news", "news", "video", "article", "video", "radio"])
AVAILABLE = np.array([True, True, True, False, True, True])  # nothing is left of article
BEST = {"news": 1, "video": 2, "article": 3, "radio": 5}  # the policy's item of each channel
GREEDY = 2


Explored = collections.namedtuple("Explored", "index explored propensity_channel propensity_item")


def explore(epsilon, share: float, available=AVAILABLE, channels=CHANNELS, greedy: int = GREEDY, best=BEST):
    """One position of many requests; `epsilon` one number or one for each."""
    epsilon = np.broadcast_to(np.float32(epsilon), [DRAWS] if np.ndim(epsilon) == 0 else np.shape(epsilon))
    count = len(epsilon)
    names = tf.constant(np.tile(channels, (count, 1)))
    best_of = tf.constant([best[name] for name in channels], tf.int32)
    policy = Policy(tf.fill([count], greedy), lambda index: tf.gather(best_of, index))
    mask = tf.constant(np.tile(available, (count, 1)))
    epsilon, kind = tf.constant(epsilon), kinds(names)
    (draws,) = draw(epsilon, tf.shape(mask)[1], 1, share)
    choice = choose(policy, kind, mask, draws, share)
    one = Choice(*(values[:, tf.newaxis] for values in choice))
    return Explored(*choice[:2], *(p[:, 0] for p in propensities(one, kind, mask[:, tf.newaxis], epsilon, share)))


def probabilities(epsilon: float, share: float, available, channels, greedy: int, best) -> np.ndarray:
    """Of each candidate, path by path."""
    found = np.zeros(len(channels))
    found[greedy] += 1 - epsilon
    left = np.flatnonzero(available)
    for item in left:
        found[item] += epsilon * (1 - share) / len(left)
    for channel in (names := sorted(set(channels[left]))):
        found[best[channel]] += epsilon * share / len(names)
    return found


WORLDS = {
    "one channel is used up": (AVAILABLE, CHANNELS, GREEDY, BEST),
    "one channel": (np.array([True, False, True]), np.array(["a"] * 3), 2, {"a": 2}),
    "the last item": (np.array([False, True, False]), np.array(["a", "b", "a"]), 1, {"a": 0, "b": 1}),
    "a channel for each item": (np.ones(4, bool), np.array(list("abcd")), 3, dict(zip("abcd", range(4)))),
}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(("epsilon", "share"), [(0.0, 0.5), (0.3, 0.0), (0.6, 0.4), (1.0, 0.0), (1.0, 0.7), (1.0, 1.0)])
def test_propensities_are_the_frequencies(world, epsilon, share):
    available, channels, greedy, best = WORLDS[world]
    tf.random.set_seed(11)
    choice = explore(epsilon, share, available, channels, greedy, best)
    index = choice.index.numpy()
    item = probabilities(epsilon, share, available, channels, greedy, best)
    of_channel = {name: item[channels == name].sum() for name in channels}
    np.testing.assert_allclose(choice.propensity_channel, [of_channel[name] for name in channels[index]], rtol=1e-5)
    np.testing.assert_allclose(choice.propensity_channel * choice.propensity_item, item[index], rtol=1e-5)
    np.testing.assert_allclose(item.sum(), 1.0)
    counts = np.bincount(index, minlength=len(item))
    possible = item > 0
    assert counts[~possible].sum() == 0
    if possible.sum() > 1:
        assert stats.chisquare(counts[possible], DRAWS * item[possible]).pvalue > 1e-3
    np.testing.assert_allclose(choice.explored.numpy().mean(), epsilon, atol=0.02)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_what_is_not_explored_is_the_policys_choice(share):
    tf.random.set_seed(12)
    choice = explore(0.5, share)
    index, explored = choice.index.numpy(), choice.explored.numpy()
    assert set(index[~explored]) == {GREEDY}
    assert set(index[explored]) == set(np.flatnonzero(AVAILABLE))


def test_a_drawn_channel_shows_the_policys_item():
    tf.random.set_seed(14)
    choice = explore(1.0, 1.0)
    assert set(choice.index.numpy()) == {BEST[name] for name in ("news", "video", "radio")}
    np.testing.assert_allclose(choice.propensity_channel, 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(choice.propensity_item, 1.0, rtol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_each_request_has_its_own_epsilon(share):
    tf.random.set_seed(13)
    choice = explore([0.0, 1.0], share, np.array([True, True]), np.array(["a", "b"]), 0, {"a": 0, "b": 1})
    assert choice.explored.numpy().tolist() == [False, True]
    np.testing.assert_allclose(choice.propensity_channel, [1.0, 0.5])
    np.testing.assert_allclose(choice.propensity_item, [1.0, 1.0])


def test_the_policy_is_not_asked_where_nothing_is_drawn():
    def refuse(index):
        raise AssertionError("asked")

    channels, available = tf.constant([[0, 1]]), tf.constant([[True, True]])
    for epsilon, share in ((0.0, 0.5), (1.0, 0.0)):
        (draws,) = draw(tf.constant([epsilon]), 2, 1, share)
        choose(Policy(tf.constant([0]), refuse), channels, available, draws, share)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_no_propensity_is_above_one(share):
    """Not even by rounding: `hrlrec prepare` would reject the row."""
    tf.random.set_seed(15)
    epsilon = np.linspace(0, 1, 2000)
    for items in (1, 3, 7):
        names, best = np.array(["a"] * items), {"a": items - 1}
        choice = explore(epsilon, share, np.ones(items, bool), names, items - 1, best)
        for factor in (choice.propensity_channel, choice.propensity_item):
            assert (factor.numpy() <= 1).all() and (factor.numpy() > 0).all()


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_nothing_left_is_never_chosen_with_any_probability(share):
    choice = explore([1.0], share, np.array([False, False]), np.array(["a", "b"]), 0, {"a": 0, "b": 1})
    assert choice.propensity_channel.numpy().tolist() == [0.0] and choice.propensity_item.numpy().tolist() == [0.0]
