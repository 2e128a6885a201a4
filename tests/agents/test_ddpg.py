import numpy as np
import oracles
import pytest
import tensorflow as tf

from hrlrec_tf import losses
from hrlrec_tf.networks.session import embed

from .conftest import parts_of, trained_by

GAMMA = 0.3


@pytest.fixture(params=["channel", "item"])
def level(request):
    return request.param


@pytest.fixture
def agent(make_agent, level):
    return make_agent().levels[level]


def embedded(agent, experience):
    return embed(agent._model.embedding, experience.observation), embed(agent._target.embedding, experience.observation)


def critic_losses(agent, experience, training=False):
    return agent.critic_losses(experience, *embedded(agent, experience), training)


def target(agent, experience):
    return agent.td_target(experience, embedded(agent, experience)[1]).numpy()


def snapshot(variables) -> list[np.ndarray]:
    return [variable.numpy().copy() for variable in variables]


def moved(before, variables) -> float:
    return max(np.abs(variable.numpy() - array).max() for array, variable in zip(before, variables))


@pytest.mark.parametrize("bootstrap", ["actor", "logged"])
def test_td_target(make_agent, experience, level, bootstrap):
    agent = make_agent(f"losses.bootstrap={bootstrap}").levels[level]
    network, rows = agent._target, embedded(agent, experience)[1]
    at = network.levels[level].states(rows, network.embedding)
    actions = network.levels[level].actor(at) if bootstrap == "actor" else network.displayed_actions(rows)
    q = network.levels[level].critic(at, actions).numpy()
    reward = agent.reward(experience).numpy()
    y = target(agent, experience)
    for b, valid in enumerate(experience.valid.numpy()):
        expected = np.array(oracles.td_targets(reward[b], valid, q[b], GAMMA))
        np.testing.assert_allclose(y[b][valid > 0], expected[valid > 0], rtol=1e-4)


def test_levels_have_rewards_of_their_own(make_agent, experience):
    agents = make_agent().levels
    np.testing.assert_array_equal(agents["channel"].reward(experience), experience.channel_reward)
    np.testing.assert_array_equal(agents["item"].reward(experience), experience.item_reward)


def test_the_target_comes_from_target_networks_only(agent, experience):
    before = target(agent, experience)
    for variable in agent._model.variables:
        variable.assign(tf.random.normal(variable.shape))
    np.testing.assert_array_equal(target(agent, experience), before)
    for variable in agent._target.trainable_variables:
        variable.assign_add(tf.random.normal(variable.shape))
    assert np.abs(target(agent, experience) - before).max() > 1e-3


def test_the_target_has_no_dropout(make_agent, experience, level):
    agent = make_agent("network.dropout=0.5").levels[level]
    np.testing.assert_array_equal(target(agent, experience), target(agent, experience))


def test_the_logged_action_is_the_displayed_item_in_the_targets_tables(agent, experience):
    online, follower = embedded(agent, experience)
    layers = agent._model.levels[agent.level]
    at = layers.states(online, agent._model.embedding)
    for variable in agent._target.embedding.items.trainable_variables:
        variable.assign_add(tf.random.normal(variable.shape))
    follower = embed(agent._target.embedding, experience.observation)
    q = layers.critic(at, tf.tanh(follower.items))
    expected = losses.critic_loss(q, target(agent, experience), experience.valid)
    np.testing.assert_allclose(critic_losses(agent, experience).critic, expected, rtol=1e-5)


def test_critic_loss_trains_critic_encoder_and_tables(agent, experience):
    name = agent.level
    found = trained_by(agent._model, lambda: critic_losses(agent, experience).critic)
    assert found == {f"{name} encoder", f"{name} cumulative", f"{name} critic", "items", "tables"}


def test_critic_loss_reaches_no_target_weight(agent, experience):
    with tf.GradientTape() as tape:
        loss = critic_losses(agent, experience).critic
    assert all(slope is None for slope in tape.gradient(loss, agent._target.trainable_variables))


def test_actor_loss_stops_at_the_state(agent, experience):
    parts = critic_losses(agent, experience)
    np.testing.assert_allclose(
        agent.policy_loss(parts.states, experience.valid),
        -losses.masked_mean(agent.online.critic(parts.states, agent.online.actor(parts.states)), experience.valid),
    )
    found = trained_by(
        agent._model, lambda: agent.policy_loss(critic_losses(agent, experience).states, experience.valid)
    )
    # The critic's own gradient is never asked for: `update_actor` differentiates by the actor alone.
    assert found == {f"{agent.level} actor", f"{agent.level} critic"}


def test_update_actor_moves_the_actor_alone(agent, experience):
    states = critic_losses(agent, experience).states
    parts = parts_of(agent._model)
    before = {part: snapshot(variables) for part, variables in parts.items()}
    agent.update_actor(states, experience.valid, 1.0)
    assert {part for part, variables in parts.items() if moved(before[part], variables) > 0} == {f"{agent.level} actor"}


def test_update_actor_raises_q(agent, experience):
    states = critic_losses(agent, experience).states
    losses_seen = [float(agent.update_actor(states, experience.valid, 1.0)) for _ in range(5)]
    assert losses_seen == sorted(losses_seen, reverse=True) and losses_seen[-1] < losses_seen[0]


def test_the_last_positions_reward_moves_the_critic(agent, experience):
    """The stock two-step agent loses it."""
    last = experience.valid.shape[1] - 1
    full = experience.valid[:, last].numpy() > 0
    assert full.any()
    bump = tf.one_hot([last] * len(full), last + 1)
    richer = experience._replace(
        channel_reward=experience.channel_reward + bump, item_reward=experience.item_reward + bump
    )
    difference = target(agent, richer) - target(agent, experience)
    np.testing.assert_allclose(difference[full][:, :last], 0)
    np.testing.assert_allclose(difference[full][:, last], 1, rtol=1e-5)

    def slope(of) -> np.ndarray:
        with tf.GradientTape() as tape:
            loss = critic_losses(agent, of).critic
        return tape.gradient(loss, agent.online.critic.action_weights.kernel).numpy()

    assert np.abs(slope(richer) - slope(experience)).max() > 1e-4


def test_health(agent, experience):
    parts = critic_losses(agent, experience)
    valid = experience.valid.numpy()
    returns = [
        np.array(oracles.discounted_returns(row, inside, GAMMA))[inside > 0].sum()
        for row, inside in zip(agent.reward(experience).numpy(), valid)
    ]
    np.testing.assert_allclose(parts.return_mean, sum(returns) / valid.sum(), rtol=1e-4)
    online, follower = embedded(agent, experience)
    q = agent.online.critic(parts.states, agent._target.displayed_actions(follower)).numpy()
    np.testing.assert_allclose(parts.q_mean, (q * valid).sum() / valid.sum(), rtol=1e-4)
    every = np.concatenate(
        [oracles.discounted_returns(row, inside, GAMMA) for row, inside in zip(agent.reward(experience).numpy(), valid)]
    )
    pairs = q.reshape(-1)[valid.reshape(-1) > 0], every[valid.reshape(-1) > 0]
    np.testing.assert_allclose(parts.correlation, np.corrcoef(*pairs)[0, 1], rtol=1e-3)
    assert parts.dead_share == 0


def test_dead_share_of_a_dead_critic(make_agent, experience, level):
    agent = make_agent("network.critic_head=relu").levels[level]
    agent.online.critic.start_at(-100.0)
    assert critic_losses(agent, experience).dead_share == 1


def test_noise_joins_actions_in_training_only(make_agent, experience, level):
    agent = make_agent("losses.action_noise=0.1").levels[level]
    quiet, noisy = (critic_losses(agent, experience, training).actions.numpy() for training in (False, True))
    np.testing.assert_array_equal(quiet, agent.online.actor(critic_losses(agent, experience).states))
    assert 0.08 < np.std(noisy - quiet) < 0.12


def test_noise_follows_from_the_checkpointed_generator(make_agent, experience, level, tmp_path):
    """Whatever else draws, and not the same for both levels."""
    agents = make_agent("losses.action_noise=0.1").levels
    agent = agents[level]

    def noisy() -> np.ndarray:
        return critic_losses(agent, experience, training=True).actions.numpy()

    path = tf.train.Checkpoint(noise=agent.noise).save(str(tmp_path / "ckpt"))
    first, second = noisy(), noisy()
    tf.random.set_seed(1)
    tf.train.Checkpoint(noise=agent.noise).restore(path).assert_consumed()
    np.testing.assert_array_equal(noisy(), first)
    np.testing.assert_array_equal(noisy(), second)
    assert np.abs(first - second).max() > 0.01
    draws = [each.noise.normal([4]).numpy() for each in agents.values()]
    assert np.abs(draws[0] - draws[1]).max() > 0.01


class TestAlone:
    """One level's agent trained without the other, as any TF-Agents agent."""

    def follow(self, agent, experience, steps: int):
        """Trains; yields (target before, online after, target after) of each step for all of the level's weights."""
        online = agent._critic_network.variables + agent._actor_network._head.variables
        target = agent._target_critic_network.variables + agent._target_actor_network._head.variables
        for _ in range(steps):
            before = snapshot(target)
            agent.train(experience)
            yield before, snapshot(online), snapshot(target)

    def test_targets_follow_once_per_period(self, make_agent, experience, level):
        agent = make_agent("training.target_period=2", "training.target_tau=0.25", "training.learning_rate=0.01")
        for step, (before, online, after) in enumerate(self.follow(agent.levels[level], experience, 4), start=1):
            for was, leader, now in zip(before, online, after):
                # Also the encoder, which actor and critic share, moves by tau once.
                expected = was if step % 2 else 0.75 * was + 0.25 * leader
                np.testing.assert_allclose(now, expected, rtol=1e-5, atol=1e-6)

    def test_loss_is_what_train_reports_and_falls(self, make_agent, experience):
        agent = make_agent("training.learning_rate=0.01", "training.actor_period=2").levels["item"]
        expected = agent.loss(experience)
        np.testing.assert_allclose(expected.loss, expected.extra.critic_loss + expected.extra.actor_loss, rtol=1e-5)
        first = agent.train(experience)
        np.testing.assert_allclose(first.extra.critic_loss, expected.extra.critic_loss, rtol=1e-4)
        for _ in range(3):
            last = agent.train(experience)
        assert last.extra.critic_loss < first.extra.critic_loss
        assert agent.train_step_counter == 4

    def test_the_actor_moves_every_period(self, make_agent, experience):
        agent = make_agent("training.learning_rate=0.01", "training.actor_period=2").levels["channel"]
        moves = []
        for _ in range(4):
            before = snapshot(agent.actor_variables)
            agent.train(experience)
            moves.append(moved(before, agent.actor_variables) > 0)
        assert moves == [True, False, True, False]
