import numpy as np
import oracles
import pytest
import tensorflow as tf
import tiny

from hrlrec_tf import losses
from hrlrec_tf.networks.session import embed

from .conftest import parts_of, reached

LEVELS = ("channel", "item")


def total(agent, experience) -> float:
    return float(agent.loss(experience).loss)


def metrics(agent, experience) -> dict[str, float]:
    return {name: float(value) for name, value in agent.loss(experience).extra.metrics.items()}


def test_total_weighs_the_four_losses(make_agent, experience):
    """Eq. 18."""
    settings = {"channel": 2, "item": 3, "ctr": 0.5, "similarity": 0.25, "behaviour_cloning": 1.5, "beta": 4}
    agent = make_agent(*(f"losses.{name}={value}" for name, value in settings.items()))
    found = metrics(agent, experience)
    expected = 0.0
    for name in LEVELS:
        expected += settings[name] * (found[f"{name}_critic_loss"] + 4 * found[f"{name}_actor_loss"])
        expected += 0.5 * found[f"{name}_click_loss"] + 0.25 * found[f"{name}_similarity_loss"]
        expected += 1.5 * found[f"{name}_cloning_loss"]
    np.testing.assert_allclose(total(agent, experience), expected, rtol=1e-5)
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-5)
    assert found["similarity_pool"] == experience.valid.numpy().sum()


def test_who_learns_from_which_loss(make_agent, experience):
    agent = make_agent()
    with tf.GradientTape(persistent=True) as tape:
        found = agent.loss(experience).extra.metrics
    for level in LEVELS:
        state = {f"{level} encoder", f"{level} cumulative", "items", "tables"}
        expected = {
            "critic": state | {f"{level} critic"},
            "actor": {f"{level} actor"},
            "cloning": state | {f"{level} actor"},
            "click": state | {f"{level} actor", f"{level} click_head"},
            "action_click": state | {f"{level} actor", f"{level} click_head"},
            "similarity": state | {f"{level} actor"},
        }
        for loss, parts in expected.items():
            assert reached(tape, agent.model, found[f"{level}_{loss}_loss"]) == parts, (level, loss)


def test_click_loss_reaches_the_displayed_items_and_similarity_does_not(make_agent, experience):
    agent = make_agent()
    online = embed(agent.model.embedding, experience.observation)
    head = agent.model.item_level.click_head
    actions = agent.model.item_level.actor(agent.model.item_level.states(online, agent.model.embedding))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([online.items, actions])
        click = losses.click_loss(head(actions, online.items), experience.clicks, experience.valid)
        similarity, _ = agent._similarity("item", actions, online, experience.valid)
    assert np.abs(tape.gradient(click, online.items)).max() > 0
    assert tape.gradient(similarity, online.items) is None  # d* is a constant
    assert np.abs(tape.gradient(similarity, actions)).max() > 0


@pytest.mark.parametrize("level", LEVELS)
def test_pool_of_the_similarity_loss(make_agent, experience, level):
    """All valid items of the batch; at the item level those of the logged channel."""
    agent = make_agent()
    online = embed(agent.model.embedding, experience.observation)
    layers = agent.model.levels[level]
    actions = layers.actor(layers.states(online, agent.model.embedding))
    valid, channels = experience.valid.numpy().reshape(-1), online.channels.numpy().reshape(-1)
    allowed = np.tile(valid > 0, (len(valid), 1))
    if level == "item":
        allowed &= channels[:, None] == channels[None]
    flat = [np.reshape(values, (len(valid), -1)).astype(float) for values in (actions, tf.tanh(online.items))]
    loss, _ = agent._similarity(level, actions, online, experience.valid)
    np.testing.assert_allclose(loss, oracles.similarity_loss(*flat, allowed, valid), rtol=1e-5)


def test_a_step_trains_everything_and_the_actors_when_due(make_agent, experience, monkeypatch):
    agent = make_agent("training.actor_period=3", "losses.ctr=0", "losses.similarity=0")
    of = {variable.ref(): part for part, variables in parts_of(agent.model).items() for variable in variables}
    actors, learns = {"channel actor", "item actor"}, []

    def apply(pairs, **_) -> None:
        learns.append({of[v.ref()] for slope, v in pairs if np.abs(tf.convert_to_tensor(slope)).max() > 0})

    monkeypatch.setattr(agent.optimizer, "apply_gradients", apply)
    for _ in range(4):
        agent.train(experience)
    # Without click and similarity loss, actors learn from -Q alone.
    always = {f"{level} {part}" for level in LEVELS for part in ("encoder", "cumulative", "critic")}
    always |= {"items", "tables"}
    assert learns == [always | actors, always, always, always | actors]
    assert agent.train_step_counter == 4


def test_beta_and_the_level_weight_scale_the_actors_part(make_agent, experience):
    def slopes(*settings: str) -> list[np.ndarray]:
        agent = make_agent("losses.ctr=0", "losses.similarity=0", *settings)
        actors = [agent.model.levels[level].actor.dense.kernel for level in LEVELS]
        with tf.GradientTape() as tape:
            loss = agent.loss(experience).loss
        return [slope.numpy() for slope in tape.gradient(loss, actors)]

    for (channel, item), settings in (((2, 2), ["losses.beta=2"]), ((0.2, 1), ["losses.channel=1"])):
        for before, after, times in zip(slopes(), slopes(*settings), (channel, item)):
            np.testing.assert_allclose(after, times * before, rtol=1e-4, atol=1e-7)


def test_targets_follow_once_per_period(make_agent, experience):
    agent = make_agent("training.target_period=2", "training.target_tau=0.25", "training.learning_rate=0.01")
    for step in range(1, 5):
        before = [v.numpy().copy() for v in agent.target.variables]
        agent.train(experience)
        for was, online, now in zip(before, agent.model.variables, agent.target.variables):
            expected = was if step % 2 else oracles.soft_update(was, online.numpy(), 0.25)
            np.testing.assert_allclose(now, expected, rtol=1e-5, atol=1e-6)


def test_gradients_are_clipped_by_their_global_norm(make_agent, experience):
    agent = make_agent()
    with tf.GradientTape() as tape:
        loss = agent.loss(experience, training=True).loss
    slopes = [s for s in tape.gradient(loss, agent.model.trainable_variables) if s is not None]
    norm = agent.train(experience).extra.metrics["gradient_norm"]
    np.testing.assert_allclose(norm, tf.linalg.global_norm(slopes), rtol=1e-4)


def test_padding_and_rows_of_another_split_change_nothing(make_agent, reader):
    batch = tiny.random_batch(reader, 8, seed=4)
    # Of the first list, the second half lies behind a time cut.
    weight = batch["weight"].numpy().copy()
    weight[0, 2:] = 0
    batch = {**batch, "weight": tf.constant(weight)}
    ignored = weight == 0
    assert ignored.sum() > 4
    agent = make_agent("losses.behaviour_cloning=1")

    def loss_and_slopes(of):
        experience = tiny.experience(reader, of)
        with tf.GradientTape() as tape:
            loss = agent.loss(experience, training=True).loss
        slopes = tape.gradient(loss, agent.model.trainable_variables)
        return [loss, *(tf.convert_to_tensor(slope) for slope in slopes if slope is not None)]

    garbage = dict(batch)
    for name in (
        "clicks",
        "dwell_seconds",
        "new_tags_in_list",
        "new_tags_to_user",
        "channel",
        "item_author",
        "tag_clicks",
    ):
        values = batch[name].numpy().copy()
        values[ignored] = 3
        garbage[name] = tf.constant(values)
    for mine, other in zip(loss_and_slopes(batch), loss_and_slopes(garbage)):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-6)


def test_a_batch_without_valid_rows_teaches_nothing(make_agent, reader):
    batch = tiny.random_batch(reader, 4)
    agent = make_agent()
    nothing = tiny.experience(reader, {**batch, "weight": tf.zeros_like(batch["weight"])})
    assert total(agent, nothing) == 0
    assert all(np.isfinite(value) for value in metrics(agent, nothing).values())


def test_training_in_a_graph_lowers_the_loss(make_agent, experience):
    agent = make_agent("training.learning_rate=0.01", "training.actor_period=5")
    step = tf.function(lambda e: agent.train(e).extra.metrics, autograph=False)
    history = [{name: float(value) for name, value in step(experience).items()} for _ in range(40)]
    for name in ("loss", "channel_critic_loss", "item_critic_loss", "channel_click_loss", "item_click_loss"):
        assert history[-1][name] < 0.7 * history[0][name], name
    assert history[-1]["item_nearest_item_distance"] < history[0]["item_nearest_item_distance"]
