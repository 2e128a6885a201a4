"""Parts of the RL competitors that HRL-Rec does not have, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf
import tiny

from hrlrec_tf.baselines.rl.linear_state import LinearStateEncoder
from hrlrec_tf.baselines.rl.networks import DuelingQNetwork, FlatNetwork, LinearQNetwork, QNetwork
from hrlrec_tf.baselines.rl.q_heads import DuelingHead, QHead
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.networks.session import embed

from . import oracle
from .conftest import FLAT

RNG = np.random.default_rng(1)
FIELDS = RNG.normal(size=(3, 5, 4, 2)).astype(np.float32)
PROFILE = RNG.normal(size=(3, 2)).astype(np.float32)
MASK = np.array([[0, 1, 1, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)


@pytest.fixture(scope="module")
def encoder() -> LinearStateEncoder:
    built = LinearStateEncoder(6)
    built(FIELDS, PROFILE, MASK)
    for weight in built.weights:
        weight.assign(RNG.normal(size=weight.shape))
    return built


class TestLinearState:
    def test_is_linear_in_the_mean_row_and_the_profile(self, encoder):
        found = encoder(FIELDS, PROFILE, MASK, 3).numpy()
        rows, profile, bias = (
            w.numpy()
            for w in (encoder.row_weights.kernel, encoder.profile_weights.kernel, encoder.profile_weights.bias)
        )
        for b, t in np.ndindex(3, 3):
            seen = [FIELDS[b, s].reshape(-1) for s in range(3 + t) if MASK[b, s]]
            mean = np.mean(seen, axis=0) if seen else np.zeros(8)
            np.testing.assert_allclose(found[b, t], mean @ rows + PROFILE[b] @ profile + bias, rtol=1e-4, atol=1e-5)

    def test_carried_states_are_the_same(self, encoder):
        found = encoder(FIELDS, PROFILE, MASK | [0, 0, 0, 1, 1], 3)
        carry = encoder.start(tf.constant(FIELDS[:, :3]), PROFILE, MASK[:, :3])
        for t in range(3):
            np.testing.assert_allclose(encoder.read(carry), found[:, t], rtol=1e-4, atol=1e-5)
            carry = encoder.advance(carry, tf.constant(FIELDS[:, min(3 + t, 4)]))

    def test_config(self, encoder):
        assert LinearStateEncoder.from_config(encoder.get_config()).units == 6
        with pytest.raises(ConfigError, match="LinearStateEncoder: units must be a whole number from 1"):
            LinearStateEncoder(0)


STATES = RNG.normal(size=(1, 6, 5)).astype(np.float32)
ITEMS = RNG.normal(size=(1, 4, 3)).astype(np.float32)
AVAILABLE = RNG.uniform(size=(6, 4)) < 0.6


@pytest.fixture(params=[QHead, DuelingHead])
def head(request):
    built = request.param("linear", "interaction", 3)
    built(STATES[0][:4], ITEMS[0])
    for weight in built.trainable_weights:
        weight.assign(RNG.normal(size=weight.shape))
    return built


class TestQHeads:
    def test_table(self, head):
        mask, dueling = AVAILABLE[np.newaxis, :, np.newaxis], isinstance(head, DuelingHead)
        expected = oracle.q_values(head, STATES, ITEMS, mask, dueling)[0, :, 0]
        np.testing.assert_allclose(head.table(STATES[0], ITEMS[0], AVAILABLE), expected, rtol=1e-4, atol=1e-5)

    def test_a_candidates_place_means_nothing(self, head):
        order = np.array([2, 0, 3, 1])
        found = head.table(STATES[0], ITEMS[0][order], AVAILABLE[:, order])
        np.testing.assert_allclose(found, head.table(STATES[0], ITEMS[0], AVAILABLE).numpy()[:, order], rtol=1e-5)

    def test_single_items_stand_in_the_tables_order(self, head):
        single = head(STATES[0][:, np.newaxis], ITEMS[:1]).numpy()
        table = head.table(STATES[0], ITEMS[0], AVAILABLE).numpy()
        apart = single - table
        np.testing.assert_allclose(apart, np.tile(apart[:, :1], 4), atol=1e-5)
        assert (np.abs(apart).max() > 1e-3) == isinstance(head, DuelingHead)

    def test_linear_form(self):
        for kind in (QHead, DuelingHead):
            built = kind("softplus", "linear", 3)
            everything = np.ones((6, 4), bool)
            table = built.table(STATES[0], ITEMS[0], everything).numpy()
            a = (ITEMS[0] @ built.action_weights.kernel.numpy())[:, 0]
            v = STATES[0] @ built.state_weights.kernel.numpy()
            expected = np.log1p(np.exp(v + a - (a.mean() if kind is DuelingHead else 0)))
            np.testing.assert_allclose(table, expected, rtol=1e-4)


def test_dueling_means_are_over_what_may_be_chosen():
    built = DuelingHead("linear", "interaction", 3)
    table = built.table(STATES[0], ITEMS[0], AVAILABLE).numpy()
    value = built.value(STATES[0]).numpy()
    assert AVAILABLE.any(axis=1).sum() > 3
    for row, mask, v in zip(table, AVAILABLE, value):
        if mask.any():
            np.testing.assert_allclose(row[mask].mean(), v, atol=1e-5)


def test_remembering_the_mean_candidate():
    """With it, a single item's Q is what the table says where the candidates are those of training."""
    built = DuelingHead("linear", "interaction", 3)
    built(STATES[0][:4], ITEMS[0])
    built.remember(ITEMS[0].mean(axis=0), 1.0)
    table = built.table(STATES[0], ITEMS[0], np.ones((6, 4), bool))
    np.testing.assert_allclose(built(STATES[0][:, np.newaxis], ITEMS[:1]), table, atol=1e-5)
    built.remember(np.zeros(3, np.float32), 0.25)
    np.testing.assert_allclose(built.mean_candidate, 0.75 * ITEMS[0].mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("model", FLAT)
def test_labels_of_the_current_list_change_no_state(make_agent, reader, batch, model):
    network, rng = make_agent(model).model, np.random.default_rng(0)
    other = {
        name: tf.constant(rng.permutation(values.numpy().reshape(-1)).reshape(values.shape))
        if name in ("clicks", "dwell_seconds", "new_tags_in_list", "new_tags_to_user")
        else values
        for name, values in batch.items()
    }
    assert (other["clicks"].numpy() != batch["clicks"].numpy()).any()
    for one, same in zip(network(batch).values(), network(other).values()):
        np.testing.assert_array_equal(one, same)


@pytest.mark.parametrize("model", FLAT)
def test_one_level_without_a_channel_constraint(make_agent, batch, model):
    network = make_agent(model).model
    assert list(network.levels) == ["item"]
    outputs = network(batch)
    assert set(outputs) == {"q_item", "click_probability"}
    q, score = (outputs[name].numpy().reshape(-1) for name in ("q_item", "click_probability"))
    assert (np.argsort(q) == np.argsort(score)).all() and 0 < score.min() < score.max() < 1
    rows = embed(network.embedding, batch)
    level = network.item_level
    states = [level.states(rows._replace(channels=rows.channels * of), network.embedding) for of in (0, 1)]
    np.testing.assert_array_equal(*states)


@pytest.mark.parametrize("kind", [QNetwork, LinearQNetwork, DuelingQNetwork, FlatNetwork])
def test_config(reader, kind):
    network = kind(reader.spec, reader.sizes, tiny.config().network, "q", name="mine")
    again = kind.from_config(network.get_config())
    assert type(again) is kind and again.get_config() == network.get_config() and again.click_score == "q"
    level = type(network.item_level).from_config(network.item_level.get_config())
    assert level.get_config() == network.item_level.get_config()
