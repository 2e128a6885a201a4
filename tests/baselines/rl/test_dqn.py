"""DQN and Double DQN on lists, against loops in NumPy; who learns from what."""

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.agents.dqn import dqn_agent
from tf_agents.utils import nest_utils

from hrlrec_tf import losses
from hrlrec_tf.baselines.rl import q_learning
from hrlrec_tf.networks.session import embed

from . import oracle
from .conftest import DQNS

GAMMA = 0.3


@pytest.fixture(params=DQNS)
def model(request) -> str:
    return request.param


def embedded(network, experience):
    return embed(network.embedding, experience.observation)


def part(network, experience):
    """States [B, T, S] and displayed items [B, T, D] of a network."""
    rows = embedded(network, experience)
    return network.item_level.states(rows, network.embedding).numpy(), network.displayed_actions(rows).numpy()


def mask_of(agent, experience):
    ids, unknown = experience.observation["item_id"].numpy(), agent.model.embedding.sizes["item_id"] - 1
    return oracle.allowed(ids, experience.valid.numpy(), unknown)


def expected_q(agent, network, experience, model):
    mask = mask_of(agent, experience)
    return oracle.q_values(network.item_level.critic, *part(network, experience), mask, "dueling" in model)


def td_target(agent, experience):
    rows = embedded(agent.model, experience)
    return agent.td_target(experience, rows, agent.available(experience)).numpy()


def disturb(network) -> None:
    """Moves a network away from what it was."""
    rng = np.random.default_rng(9)
    for variable in network.trainable_variables:
        variable.assign_add(rng.normal(0, 0.1, variable.shape))


def test_the_pool(make_agent, experience):
    """Valid rows of the batch that do not stand above; ids outside the vocabulary are never taken for equal."""
    agent = make_agent("dqn-gru")
    found, expected = agent.available(experience).numpy(), mask_of(agent, experience)
    np.testing.assert_array_equal(found, expected.reshape(found.shape))
    valid = experience.valid.numpy()
    assert found.any(axis=0).sum() == valid.sum()  # padding and rows behind a time cut are no candidates
    share = expected[valid > 0].mean(axis=(1, 2))
    assert len(set(share)) > 2  # the longer the list above, the fewer are left


def test_a_position_with_nothing_left_is_worth_nothing():
    table, nothing = tf.constant([[5.0, 3.0], [-4.0, -2.0]]), tf.constant([[False, False], [True, True]])
    np.testing.assert_array_equal(q_learning.greedy_value(table, nothing), [0, -2])
    np.testing.assert_array_equal(q_learning.greedy_value(table, nothing, -table), [0, -4])


def test_td_target(make_agent, experience, model):
    """Of online and target networks that differ, so that who chooses and who judges shows."""
    agent = make_agent(model)
    disturb(agent.model)
    judge, own = (expected_q(agent, network, experience, model) for network in (agent.target, agent.model))
    double, mask = model == "double-dueling-dqn", mask_of(agent, experience)
    rewards, valid = experience.item_reward.numpy(), experience.valid.numpy()
    y = td_target(agent, experience)
    expected = oracle.td_targets(rewards, valid, own if double else judge, judge, mask, GAMMA)
    np.testing.assert_allclose(y[valid > 0], expected[valid > 0], rtol=1e-4, atol=1e-5)
    other = oracle.td_targets(rewards, valid, judge if double else own, judge, mask, GAMMA)
    assert np.abs(expected - other)[valid > 0].max() > 1e-3  # the other rule would have shown
    terminal = (valid > 0) & (np.pad(valid[:, 1:], [[0, 0], [0, 1]]) == 0)
    assert terminal.sum() == len(valid)
    np.testing.assert_allclose(y[terminal], rewards[terminal], rtol=1e-6)


def test_loss(make_agent, experience, model):
    """Mean squared TD error of the displayed items over the valid rows."""
    agent = make_agent(model, "losses.item=2", "training.embedding_l2=0.1")
    table, valid = expected_q(agent, agent.model, experience, model), experience.valid.numpy()
    q = np.array([[table[b, t, b, t] for t in range(valid.shape[1])] for b in range(len(valid))])
    squares = (q - td_target(agent, experience)) ** 2
    found = agent.loss(experience)
    metrics = found.extra.metrics
    np.testing.assert_allclose(metrics["item_critic_loss"], squares[valid > 0].mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["item_q_mean"], q[valid > 0].mean(), rtol=1e-4)
    rows = embedded(agent.model, experience)
    length = losses.embedding_norm(rows.items, rows.profile, experience.valid)
    np.testing.assert_allclose(found.loss, 2 * metrics["item_critic_loss"] + 0.1 * length, rtol=1e-5)
    assert metrics["candidate_pool"] == valid.sum()


def test_clicks_and_dwell_time_are_the_reward(make_agent, experience, batch):
    agent = make_agent("dqn-gru")
    expected = batch["clicks"].numpy() + 0.1 * batch["dwell_seconds"].numpy() / 60
    valid = experience.valid.numpy() > 0
    np.testing.assert_allclose(agent.reward(experience).numpy()[valid], expected[valid], rtol=1e-5)


def test_the_loss_trains_encoder_q_and_items_and_no_target(make_agent, experience, model):
    agent = make_agent(model)
    with tf.GradientTape(persistent=True) as tape:
        loss = agent.loss(experience, training=True).loss
    parts = {**agent.model.item_level.parts, "items": agent.model.embedding.items.trainable_variables}
    assert set(parts) == {"encoder", "critic", "items"}
    for name, variables in parts.items():
        assert all(np.abs(tf.convert_to_tensor(slope)).max() > 0 for slope in tape.gradient(loss, variables)), name
    assert all(slope is None for slope in tape.gradient(loss, agent.target.trainable_variables))


def test_an_item_is_trained_as_a_candidate_too(make_agent, experience):
    """Not only where it stands above others: the last item of a full list is in no state."""
    agent = make_agent("dqn-gru")
    rows = embedded(agent.model, experience)
    with tf.GradientTape() as tape:
        tape.watch(rows.items)
        q = agent.model.item_level.critic(part(agent.model, experience)[0], agent.model.displayed_actions(rows))
        loss = losses.critic_loss(q, td_target(agent, experience), experience.valid)
    assert np.abs(tape.gradient(loss, rows.items))[experience.valid.numpy() > 0].max(axis=-1).min() > 0


def test_the_target_has_no_dropout_and_neither_has_the_choice(make_agent, experience):
    agent = make_agent("double-dueling-dqn", "network.dropout=0.5")
    np.testing.assert_array_equal(td_target(agent, experience), td_target(agent, experience))


def test_steps(make_agent, experience, model):
    """The loss falls; the target follows once per period."""
    agent = make_agent(model, "training.learning_rate=0.01", "training.target_period=2", "training.target_tau=0.25")
    first = agent.loss(experience).loss
    for step in range(1, 5):
        before = [v.numpy().copy() for v in agent.target.trainable_variables]
        info = agent.train(experience)
        for was, online, now in zip(before, agent.model.trainable_variables, agent.target.trainable_variables):
            expected = was if step % 2 else was + 0.25 * (online.numpy() - was)
            np.testing.assert_allclose(now, expected, rtol=1e-4, atol=1e-6)
    assert agent.train_step_counter == 4 and info.loss < first
    norms = {name for name in info.extra.metrics if name.endswith("gradient_norm")}
    expected = {"item_encoder", "item_critic", "items", "tables"}
    assert norms == {"gradient_norm", *(f"{name}_gradient_norm" for name in expected)}


def test_the_mean_candidate_is_that_of_the_batches_seen(make_agent, experience):
    agent = make_agent("double-dueling-dqn", "training.learning_rate=0.01")
    means, valid = [], experience.valid.numpy() > 0
    for _ in range(3):
        means.append(part(agent.model, experience)[1][valid].mean(axis=0))
        agent.train(experience)
    np.testing.assert_allclose(agent.model.item_level.critic.mean_candidate, np.mean(means, axis=0), atol=1e-5)
    assert np.abs(means[0] - means[2]).max() > 1e-3


def test_under_tf_agents(make_agent, experience, model):
    """They are its agents, take what their specs say, and its Q network is the table of the shown items."""
    agent = make_agent(model)
    assert isinstance(agent, dqn_agent.DdqnAgent if "double" in model else dqn_agent.DqnAgent)
    nest_utils.assert_matching_dtypes_and_inner_shapes(
        experience, agent.training_data_spec, caller=agent, tensors_name="experience", specs_name="training_data_spec"
    )
    assert agent.collect_policy.time_step_spec == agent.policy.time_step_spec == agent.time_step_spec
    everything = experience._replace(valid=tf.cast(experience.observation["item_id"] > 0, tf.float32))
    table, _ = agent._q_network(experience.observation)
    expected = expected_q(agent, agent.model, everything, model)
    inside = np.outer(*[everything.valid.numpy().reshape(-1) > 0] * 2)
    np.testing.assert_allclose(table.numpy()[inside], expected.reshape(table.shape)[inside], rtol=1e-3, atol=1e-4)
