import numpy as np
import pytest
import tensorflow as tf
import tiny

from hrlrec_tf.agents.builder import build_network
from hrlrec_tf.agents.experience import FEEDBACK
from hrlrec_tf.config import preset
from hrlrec_tf.networks.actor import to_action_space
from hrlrec_tf.networks.session import embed

LEVELS = ("channel", "item")


@pytest.fixture(scope="module", params=["paper", "best"])
def network(request, reader):
    tf.keras.utils.set_random_seed(0)
    network = build_network(tiny.config(base=preset(request.param)), reader)
    for variable in network.trainable_variables:  # or every state is nearly the same
        variable.assign_add(tf.random.normal(variable.shape, stddev=0.3))
    return network


@pytest.fixture(scope="module")
def batch(reader):
    return tiny.random_batch(reader, 6, rows=4)


def states(network, batch) -> dict[str, np.ndarray]:
    embedded = embed(network.embedding, batch)
    return {name: level.states(embedded, network.embedding).numpy() for name, level in network.levels.items()}


@pytest.fixture(scope="module")
def before(network, batch) -> dict[str, np.ndarray]:
    """States of the batch as it is."""
    return states(network, batch)


def changed(batch, name: str, where, value) -> dict[str, tf.Tensor]:
    array = batch[name].numpy().copy()
    array[where] = value
    return {**batch, name: tf.constant(array)}


def other(values: np.ndarray) -> np.ndarray:
    """Another known id for each."""
    return values % 3 + 1


def test_outputs_put_the_parts_together(network, batch):
    outputs = network(batch)
    embedded = embed(network.embedding, batch)
    logits = {}
    for name, level in network.levels.items():
        at = level.states(embedded, network.embedding)
        logits[name] = level.click_head(level.actor(at), embedded.items, at, embedded.counts).numpy()
        displayed = to_action_space(embedded.items, network.config.action_space)
        np.testing.assert_allclose(outputs[f"q_{name}"], level.critic(at, displayed), rtol=1e-5, atol=1e-6)
    expected = 1 / (1 + np.exp(-(logits["channel"] + logits["item"]) / 2))
    np.testing.assert_allclose(outputs["click_probability"], expected, rtol=1e-4)
    assert network.click_probability(tf.constant(2.0), tf.constant(-2.0)) == 0.5


def test_without_a_ctr_loss_the_mean_q_orders_the_items(network, batch, monkeypatch):
    monkeypatch.setattr(network, "click_score", "q")
    outputs = network(batch)
    mean = ((outputs["q_channel"] + outputs["q_item"]) / 2).numpy().reshape(-1)
    predicted = outputs["click_probability"].numpy().reshape(-1)
    np.testing.assert_allclose(predicted, (1 + mean / (1 + np.abs(mean))) / 2, rtol=1e-5)
    assert np.array_equal(np.argsort(predicted, kind="stable"), np.argsort(mean, kind="stable"))
    assert ((predicted > 0) & (predicted < 1)).all()


def test_labels_of_the_list_change_nothing(network, batch):
    permuted, before = dict(batch), network(batch)
    for name in FEEDBACK:
        permuted[name] = tf.reverse(batch[name], axis=[0, 1])
        assert not np.array_equal(permuted[name], batch[name]) or name == "weight"
    for name, values in network(permuted).items():
        np.testing.assert_array_equal(values, before[name])


@pytest.mark.parametrize(
    "name", ["item_id", "item_author", "item_length_seconds", "tags", "tag_impressions", "tag_clicks"]
)
@pytest.mark.parametrize("t", [0, 2])
def test_an_item_changes_later_states_only(network, batch, before, name, t):
    """Its channel is kept, which the item level's own state may know."""
    value = other(batch[name].numpy()[:, t]) if name != "item_length_seconds" else 3.0
    if name in ("tag_impressions", "tag_clicks"):
        value = 500
    after = states(network, changed(batch, name, np.s_[:, t], value))
    for level in LEVELS:
        np.testing.assert_array_equal(after[level][:, : t + 1], before[level][:, : t + 1])
    assert np.abs(after["item"][:, t + 1 :] - before["item"][:, t + 1 :]).max() > 1e-4


def test_the_channel_constrains_the_item_levels_own_state(network, batch, before):
    t = 2
    after = states(network, changed(batch, "channel", np.s_[:, t], other(batch["channel"].numpy()[:, t])))
    np.testing.assert_array_equal(after["channel"][:, : t + 1], before["channel"][:, : t + 1])
    np.testing.assert_array_equal(after["item"][:, :t], before["item"][:, :t])
    assert np.abs(after["item"][:, t] - before["item"][:, t]).max() > 1e-4


def test_history_feedback_is_known(network, batch, before):
    seen = batch["history_item_id"].numpy()[:, -1] > 0
    clicks = batch["history_clicks"].numpy()
    after = states(network, changed(batch, "history_clicks", np.s_[:, -1], 1 - np.minimum(clicks[:, -1], 1)))
    for level in LEVELS:
        moved = np.abs(after[level] - before[level]).max((1, 2)) > 1e-5
        np.testing.assert_array_equal(moved, seen)


def test_channel_level_does_not_see_items(network, batch, before):
    """Its current-behaviour field is the channel; the tags of what was placed are part of the short path."""
    after = states(network, changed(batch, "item_id", np.s_[:, 0], other(batch["item_id"].numpy()[:, 0])))
    np.testing.assert_array_equal(after["channel"], before["channel"])


def test_padding_rows_change_nothing_above(network, reader):
    short = tiny.random_batch(reader, 6, seed=2, rows=2, seen=3)
    filled = dict(short)
    for name in ("channel", "tags", "item_author", "channel_impressions", "tag_clicks"):
        filled[name] = changed(short, name, np.s_[:, 2:], 2)[name]
    for name in ("history_channel", "history_clicks", "history_timestamp", "history_tag_impressions"):
        filled[name] = changed(short, name, np.s_[:, :3], 1)[name]
    after, before = states(network, filled), states(network, short)
    for level in LEVELS:
        np.testing.assert_allclose(after[level][:, :2], before[level][:, :2], atol=1e-6)


def test_levels_share_the_tables_and_nothing_else(network):
    own = {name: {id(v) for v in level.trainable_variables} for name, level in network.levels.items()}
    shared = {id(v) for v in network.embedding.trainable_variables}
    assert not own["channel"] & own["item"] and not (own["channel"] | own["item"]) & shared
    assert len(network.trainable_variables) == len(own["channel"] | own["item"] | shared)


def test_weights_survive_a_checkpoint(network, batch, reader, tmp_path):
    path = tf.train.Checkpoint(network=network).write(str(tmp_path / "weights"))
    config = tiny.config(base=preset("best" if network.config.action_space == "l2" else "paper"))
    copy = build_network(config, reader)
    tf.train.Checkpoint(network=copy).read(path).assert_consumed()
    for name, values in copy(batch).items():
        np.testing.assert_array_equal(values, network(batch)[name])
