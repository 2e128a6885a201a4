"""Lists of one-level networks: chosen by preference among all candidates, whatever their order."""

import dataclasses
import types

import numpy as np
import oracles
import pytest
import tensorflow as tf
import tiny
from test_ranking import ITEMS, LISTS, T, check_frequencies, session, split

from hrlrec_tf import models
from hrlrec_tf.baselines.rl.networks import FlatLevel
from hrlrec_tf.baselines.rl.ranking import FlatRanker
from hrlrec_tf.candidates import Candidates
from hrlrec_tf.networks.session import embed
from hrlrec_tf.ranking import OUTPUTS, Ranker

from .conftest import FLAT

BUILT = [session(number, names) for number, names in enumerate(LISTS)]


@pytest.fixture(scope="module", params=FLAT)
def network(request, make_agent):
    network = make_agent(request.param).model
    if "dueling" in request.param:
        network.item_level.critic.remember(tf.range(8.0) / 8, 1.0)
    return network


@pytest.fixture(scope="module")
def greedy(network, reader) -> dict[str, np.ndarray]:
    """The lists that a network ranks greedily."""
    return rank(network, *split(reader, BUILT))


def rank(network, request, candidates, epsilon: float = 0.0) -> dict[str, np.ndarray]:
    ranked = models.ranker(network).rank(request, candidates, tf.fill(tf.shape(candidates.item_id)[:1], epsilon))
    assert {name: values.dtype for name, values in ranked.items()} == OUTPUTS
    return {name: values.numpy() for name, values in ranked.items()}


def names_of(ranked: dict[str, np.ndarray]) -> list[tuple[str, ...]]:
    return [tuple(name.decode() for name in names) for names in ranked["item_id"]]


def permuted(candidates: Candidates, order: list[int]) -> Candidates:
    return tf.nest.map_structure(lambda values: tf.gather(values, order, axis=1), candidates)


def test_who_ranks():
    for levels, kind in ((("item",), FlatRanker), (("channel", "item"), Ranker)):
        assert type(models.ranker(types.SimpleNamespace(levels=dict.fromkeys(levels)))) is kind


def test_carried_states_are_those_of_training(network, reader):
    embedded = embed(network.embedding, tiny.read(reader, *BUILT))
    request, candidates = split(reader, BUILT)
    ranker, level = models.ranker(network), network.item_level
    encoded = ranker.encode(ranker.read(request), candidates)
    prefix = ranker.start(encoded)
    logged = level.states(embedded, network.embedding)
    for t in range(T):
        carried = ranker.state(level, t, encoded, prefix)
        np.testing.assert_allclose(carried, logged[:, t], atol=2e-5, err_msg=str(t))
        index = tf.fill([len(LISTS)], t)
        prefix = ranker.advance(t, encoded, prefix, index, encoded.counts(prefix, index))


@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_what_rank_reports_is_what_evaluation_would_score(network, reader, epsilon, greedy):
    ranked = rank(network, *split(reader, BUILT), epsilon) if epsilon else greedy
    shown = names_of(ranked)
    assert [sorted(names) for names in shown] == [sorted(names) for names in LISTS]  # nothing twice, nothing lost
    scored = network(tiny.read(reader, *(session(number, names) for number, names in enumerate(shown))))
    for name, values in scored.items():
        np.testing.assert_allclose(ranked[name], values, atol=2e-5, err_msg=name)
    assert (ranked["q_channel"] == 0).all() and ranked["explored"].min() == ranked["explored"].max() == epsilon


def preferred(network, reader, asked: list[tuple[int, tuple[str, ...], list[str]]]) -> list[str]:
    """Of (user, items above, items left), by a loop: the largest Q, or for DDPG the nearest to the action."""
    level, lists = network.item_level, [(user, (*above, name)) for user, above, left in asked for name in left]
    batch = tiny.read(reader, *(session(user, names) for user, names in lists))
    rows, q_item = embed(network.embedding, batch), network(batch)["q_item"].numpy()
    actions = items = None
    if isinstance(level, FlatLevel):
        actions = level.actor(level.states(rows, network.embedding)).numpy().astype(float)
        items = network.displayed_actions(rows).numpy().astype(float)
    found, first = [], 0
    for _, above, left in asked:
        of, t = range(first, first + len(left)), len(above)
        values = [q_item[i, t] if actions is None else oracles.cosine(actions[i, t], items[i, t]) for i in of]
        found.append(left[int(np.argmax(values))])
        first += len(left)
    return found


def test_the_greedy_choice(network, reader, greedy):
    """Of all channels' candidates."""
    shown = names_of(greedy)[:2]
    asked = [
        (b, names[:t], [each for each in LISTS[b] if each not in names[:t]])
        for b, names in enumerate(shown)
        for t in range(T)
    ]
    assert preferred(network, reader, asked) == [name for names in shown for name in names]
    assert len({ITEMS[name][0] for name in shown[0]}) > 1


@pytest.fixture
def explore_channels(network, monkeypatch):
    """Sets `network.channel_exploration` for one test."""
    return lambda share: monkeypatch.setattr(
        network, "config", dataclasses.replace(network.config, channel_exploration=share)
    )


def test_propensities_of_whole_lists_are_their_frequencies(network, reader, explore_channels):
    tf.random.set_seed(8)
    explore_channels(0.5)
    check_frequencies(models.ranker(network), reader)


def test_a_channel_drawn_at_random_shows_the_preferred_item(network, reader, explore_channels):
    tf.random.set_seed(10)
    explore_channels(1.0)
    lists = LISTS * 3
    ranked = rank(network, *split(reader, [session(0, names) for names in lists]), epsilon=1.0)
    asked, channels = [], []
    for names, offered in zip(names_of(ranked), lists):
        for t, name in enumerate(names):
            left = [each for each in offered if each not in names[:t]]
            asked.append((0, names[:t], [each for each in left if ITEMS[each][0] == ITEMS[name][0]]))
            channels.append(len({ITEMS[each][0] for each in left}))
    assert max(len(left) for *_, left in asked) > 1
    assert preferred(network, reader, asked) == [name for names in names_of(ranked) for name in names]
    np.testing.assert_allclose(ranked["propensity_channel"].reshape(-1), 1 / np.array(channels), rtol=1e-5)
    np.testing.assert_allclose(ranked["propensity_item"], 1.0, rtol=1e-5)


def test_the_order_of_the_candidates_changes_nothing(network, reader, greedy):
    request, candidates = split(reader, BUILT)
    order = [2, 0, 3, 1]
    after = rank(network, request, permuted(candidates, order))
    assert names_of(after) == names_of(greedy)
    np.testing.assert_array_equal(np.array(order)[after["index"]], greedy["index"])
    for name in ("q_item", "click_probability"):
        np.testing.assert_allclose(after[name], greedy[name], atol=1e-5)


def test_padding_and_copies_are_never_shown(network, reader):
    built = session(0, ("item_id1", "item_id3", "item_id1", "d"))
    built["item_id"][1] = ""
    ranked = rank(network, *split(reader, [built]))
    assert sorted(names_of(ranked)[0]) == ["", "", "d", "item_id1"]
    assert names_of(ranked)[0][2:] == ("", "") and (ranked["index"][0, 2:] == -1).all()
    assert all(ranked[name][0, 2:].max() == 0 for name in ("click_probability", "q_item", "propensity_item"))


def test_score_is_the_first_positions(network, reader):
    scores = models.ranker(network).score(*split(reader, BUILT))
    alone = [session(number, (name,)) for number, names in enumerate(LISTS) for name in names]
    first = network(tiny.read(reader, *alone))["click_probability"][:, 0]
    np.testing.assert_allclose(tf.reshape(scores, [-1]), first, atol=2e-5)
    padded = session(0, LISTS[0])
    padded["item_id"][1] = ""
    assert models.ranker(network).score(*split(reader, [padded])).numpy()[0, 1] == 0
