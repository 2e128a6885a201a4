"""Flat and hierarchical DDPG: HRL-Rec's agent with one level, or without the click losses."""

import numpy as np
import pytest
import tensorflow as tf

from hrlrec_tf.agents.ddpg import ListDdpgAgent
from hrlrec_tf.networks.session import embed

from .oracle import td_targets

GAMMA = 0.3


@pytest.fixture
def agent(make_agent):
    return make_agent("ddpg")


def test_one_level_of_all_channels(agent, experience):
    """The nearest item to an action may be of any channel: HRL-Rec's item level looks in the logged one alone."""
    assert list(agent.levels) == ["item"] and isinstance(agent.levels["item"], ListDdpgAgent)
    rows = embed(agent.model.embedding, experience.observation)
    displayed, level = agent.model.displayed_actions(rows), agent.model.item_level
    actions = level.actor(level.states(rows, agent.model.embedding))
    found, _ = agent.levels["item"].nearest_items(actions, displayed, rows, experience.valid)
    valid = experience.valid.numpy() > 0
    pool, channels = displayed.numpy()[valid], rows.channels.numpy()[valid]
    nearest = (actions.numpy()[valid] @ pool.T).argmax(axis=1)
    np.testing.assert_allclose(found.numpy()[valid], pool[nearest], atol=1e-6)
    assert (channels[nearest] != channels).any()


def test_td_target(agent, experience):
    """The target actor's action at t + 1 by the target critic, as a table with one candidate."""
    level, valid = agent.target.item_level, experience.valid.numpy()
    rows = embed(agent.target.embedding, experience.observation)
    states = level.states(rows, agent.target.embedding)
    q = level.critic(states, level.actor(states)).numpy()[..., np.newaxis, np.newaxis]
    expected = td_targets(experience.item_reward.numpy(), valid, q, q, np.ones_like(q, bool), GAMMA)
    found = agent.levels["item"].td_target(experience, rows).numpy()
    np.testing.assert_allclose(found[valid > 0], expected[valid > 0], rtol=1e-4)


def test_no_loss_is_of_clicks(agent, make_agent, experience):
    """Labels reach training by the rewards only."""
    for each in (agent, make_agent("ddpg-hierarchical")):
        flipped = experience._replace(clicks=1 - tf.cast(experience.clicks > 0, tf.int64))
        np.testing.assert_array_equal(each.loss(experience).loss, each.loss(flipped).loss)
        heads = [variable for level in each.model.levels.values() for variable in level.parts["click_head"]]
        with tf.GradientTape() as tape:
            loss = each.loss(experience).loss
        assert heads and all(slope is None or not np.any(slope) for slope in tape.gradient(loss, heads))


def test_steps(agent, experience):
    first = agent.loss(experience).extra.metrics["item_critic_loss"]
    for _ in range(3):
        metrics = agent.train(experience).extra.metrics
    assert agent.train_step_counter == 3 and metrics["item_critic_loss"] < first
    assert not any(name.startswith("channel") for name in metrics)
