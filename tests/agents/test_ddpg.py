import numpy as np
import oracles
import pytest
import scipy.stats
import tensorflow as tf

from hrlrec_tf import losses
from hrlrec_tf.networks.session import embed

from .conftest import trained_by

GAMMA = 0.3


@pytest.fixture(params=["channel", "item"])
def level(request):
    return request.param


@pytest.fixture
def agent(make_agent, level):
    return make_agent().levels[level]


def embedded(agent, experience):
    return embed(agent._model.embedding, experience.observation), embed(agent._target.embedding, experience.observation)


def level_losses(agent, experience, training=False):
    return agent.level_losses(experience, *embedded(agent, experience), training)


def states(agent, experience):
    return agent.online.states(embedded(agent, experience)[0], agent._model.embedding)


def target(agent, experience):
    return agent.td_target(experience, embedded(agent, experience)[1]).numpy()


def snapshot(variables) -> list[np.ndarray]:
    return [variable.numpy().copy() for variable in variables]


@pytest.mark.parametrize("critics", [1, 2])
@pytest.mark.parametrize("bootstrap", ["actor", "logged", "retrieved"])
def test_td_target(make_agent, experience, level, bootstrap, critics):
    agent = make_agent(f"losses.bootstrap={bootstrap}", f"network.critics={critics}").levels[level]
    network, rows = agent._target, embedded(agent, experience)[1]
    at = network.levels[level].states(rows, network.embedding)
    displayed, valid = network.displayed_actions(rows), experience.valid.numpy()
    actions = displayed if bootstrap == "logged" else network.levels[level].actor(at)
    if bootstrap == "retrieved":
        pool, channels = displayed.numpy().astype(float).reshape(-1, displayed.shape[-1]), rows.channels.numpy()
        found = np.zeros(displayed.shape, np.float32)
        for b, t in np.ndindex(*valid.shape):
            same = channels.reshape(-1) == channels[b, t]
            allowed = (valid.reshape(-1) > 0) & (same if level == "item" else True)
            if valid[b, t]:
                found[b, t] = pool[oracles.nearest(actions[b, t].numpy().astype(float), pool, allowed)]
        assert len(np.unique(found.reshape(-1, pool.shape[-1]), axis=0)) > 2  # not one item for all
        actions = found
    heads = network.levels[level].critics
    assert len(heads) == critics
    q = np.array([critic(at, actions) for critic in heads])
    if critics == 2:
        assert len(set(q.argmin(axis=0)[valid > 0])) == 2  # each is the smaller one somewhere
    reward, y = agent.reward(experience).numpy(), target(agent, experience)
    for b, inside in enumerate(valid):
        expected = np.array(oracles.td_targets(reward[b], inside, q[:, b], GAMMA))
        np.testing.assert_allclose(y[b][inside > 0], expected[inside > 0], rtol=1e-4)


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
    np.testing.assert_allclose(level_losses(agent, experience).critic, expected, rtol=1e-5)


def test_critic_loss_trains_critic_encoder_and_tables(agent, experience):
    name = agent.level
    found = trained_by(agent._model, lambda: level_losses(agent, experience).critic)
    assert found == {f"{name} encoder", f"{name} cumulative", f"{name} critic", "items", "tables"}


def test_critic_loss_reaches_no_target_weight(agent, experience):
    with tf.GradientTape() as tape:
        loss = level_losses(agent, experience).critic
    assert all(slope is None for slope in tape.gradient(loss, agent._target.trainable_variables))


def test_actor_loss_trains_the_actor_alone(agent, experience):
    at = states(agent, experience)
    q = agent.online.critic(at, agent.online.actor(at))
    np.testing.assert_allclose(
        level_losses(agent, experience).actor, -losses.masked_mean(q, experience.valid), rtol=1e-5
    )
    assert trained_by(agent._model, lambda: level_losses(agent, experience).actor) == {f"{agent.level} actor"}


def test_against_its_gradient_q_rises(agent, experience):
    variables, seen = agent.online.actor.trainable_variables, []
    for _ in range(4):
        with tf.GradientTape() as tape:
            loss = level_losses(agent, experience).actor
        for variable, slope in zip(variables, tape.gradient(loss, variables)):
            variable.assign_sub(0.1 * slope)
        seen.append(float(loss))
    assert seen == sorted(seen, reverse=True) and seen[-1] < seen[0]


def test_both_critics_learn_and_the_actor_follows_the_first(make_agent, experience, level):
    agent = make_agent("network.critics=2").levels[level]
    first, second = agent.online.critics
    with tf.GradientTape(persistent=True) as tape:
        parts = level_losses(agent, experience)
    for critic in (first, second):
        assert all(np.abs(slope).max() > 0 for slope in tape.gradient(parts.critic, critic.trainable_variables))
    y, displayed = target(agent, experience), agent._target.displayed_actions(embedded(agent, experience)[1])
    at = states(agent, experience)
    each = [losses.critic_loss(critic(at, displayed), y, experience.valid) for critic in (first, second)]
    np.testing.assert_allclose(parts.critic, sum(each), rtol=1e-5)
    second.start_at(100.0)
    np.testing.assert_array_equal(level_losses(agent, experience).actor, parts.actor)
    first.start_at(100.0)
    assert level_losses(agent, experience).actor < parts.actor - 50


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
            loss = level_losses(agent, of).critic
        return tape.gradient(loss, agent.online.critic.action_weights.kernel).numpy()

    assert np.abs(slope(richer) - slope(experience)).max() > 1e-4


def test_health(agent, experience):
    parts = level_losses(agent, experience)
    valid = experience.valid.numpy()
    returns = [
        np.array(oracles.discounted_returns(row, inside, GAMMA))[inside > 0].sum()
        for row, inside in zip(agent.reward(experience).numpy(), valid)
    ]
    np.testing.assert_allclose(parts.health["return_mean"], sum(returns) / valid.sum(), rtol=1e-4)
    follower = embedded(agent, experience)[1]
    q = agent.online.critic(states(agent, experience), agent._target.displayed_actions(follower)).numpy()
    np.testing.assert_allclose(parts.health["q_mean"], (q * valid).sum() / valid.sum(), rtol=1e-4)
    every = np.concatenate(
        [oracles.discounted_returns(row, inside, GAMMA) for row, inside in zip(agent.reward(experience).numpy(), valid)]
    )
    pairs = q.reshape(-1)[valid.reshape(-1) > 0], every[valid.reshape(-1) > 0]
    np.testing.assert_allclose(parts.health["q_return_correlation"], np.corrcoef(*pairs)[0, 1], rtol=1e-3)
    assert parts.health["dead_share"] == 0


def test_dead_share_of_a_dead_critic(make_agent, experience, level):
    agent = make_agent("network.critic_head=relu").levels[level]
    agent.online.critic.start_at(-100.0)
    assert level_losses(agent, experience).health["dead_share"] == 1


def test_noise_joins_actions_in_training_only(make_agent, experience, level):
    agent = make_agent("losses.action_noise=0.1").levels[level]
    quiet, noisy = (level_losses(agent, experience, training).actions.numpy() for training in (False, True))
    np.testing.assert_array_equal(quiet, agent.online.actor(states(agent, experience)))
    assert 0.08 < np.std(noisy - quiet) < 0.12


def test_noise_is_gaussian(make_agent, level):
    noise = make_agent("losses.action_noise=0.1").levels[level]._noise(tf.zeros([50, 100]))
    assert scipy.stats.kstest(noise.numpy().reshape(-1), "norm", args=(0.0, 0.1)).pvalue > 1e-3


def test_noise_follows_from_the_checkpointed_generator(make_agent, experience, level, tmp_path):
    """Whatever else draws, and not the same for both levels."""
    agents = make_agent("losses.action_noise=0.1").levels
    agent = agents[level]

    def noisy() -> np.ndarray:
        return level_losses(agent, experience, training=True).actions.numpy()

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
                expected = was if step % 2 else oracles.soft_update(was, leader, 0.25)
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

    def test_the_actor_learns_every_period(self, make_agent, experience, monkeypatch):
        agent, learns = make_agent("training.actor_period=2").levels["channel"], []
        own = {variable.ref() for variable in agent.online.actor.trainable_variables}

        def apply(pairs, **_) -> None:
            learns.append(any(np.abs(slope).max() > 0 for slope, variable in pairs if variable.ref() in own))

        monkeypatch.setattr(agent.optimizer, "apply_gradients", apply)
        for _ in range(4):
            agent.train(experience)
        assert learns == [True, False, True, False]
