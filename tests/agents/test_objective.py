"""The whole objective (eq. 18) of both levels against NumPy: values, and gradients by central differences."""

import numpy as np
import oracles
import pytest
import tensorflow as tf

from hrlrec_tf.networks.session import embed

LEVELS = ("channel", "item")
WEIGHTS = {"channel": 2.0, "item": 3.0, "beta": 0.7, "ctr": 0.5, "similarity": 0.25, "behaviour_cloning": 1.5}
FORMS = {
    "paper": ["network.critic_head=relu"],
    "all switches": [
        "network.action_space=l2",
        "network.critic_head=softplus",
        "network.critic_form=interaction",
        "network.click_head=interaction",
        "network.critics=2",
    ],
}


@pytest.fixture(params=FORMS)
def agent(request, make_agent):
    agent = make_agent(*FORMS[request.param], *(f"losses.{name}={value}" for name, value in WEIGHTS.items()))
    for level in LEVELS:
        agent.model.levels[level].start_critics(4.0)  # no ReLU is dead
    return agent


def heads(level) -> dict[str, tf.Variable]:
    """Weights of one level above its state, by the oracles' names."""
    click = level.click_head
    named = {
        "actor/kernel": level.actor.dense.kernel,
        "actor/bias": level.actor.dense.bias,
        "click/action": click.action_weights.kernel,
        "click/bias": click.action_weights.bias,
        "click/item": click.item_weights.kernel,
    }
    if click.form == "interaction":
        named["click/scale"] = click.scale
    for name, critic in zip(("critic", "second_critic"), level.critics):
        named[f"{name}/state"] = critic.state_weights.kernel
        named[f"{name}/bias"] = critic.state_weights.bias
        named[f"{name}/action"] = critic.action_weights.kernel
        if critic.form == "interaction":
            named[f"{name}/interaction"] = critic.interaction.kernel
    return named


def rows_of(agent, experience, level: str) -> list[oracles.Row]:
    """What each valid position gives to one level's losses."""
    embedded, followed = (embed(m.embedding, experience.observation) for m in (agent.model, agent.target))
    states = agent.model.levels[level].states(embedded, agent.model.embedding).numpy().astype(float)
    items, channels = embedded.items.numpy().astype(float), embedded.channels.numpy()
    logged = agent.target.displayed_actions(followed).numpy().astype(float)
    real = agent.model.displayed_actions(embedded).numpy().astype(float)
    y = agent.levels[level].td_target(experience, followed).numpy().astype(float)
    valid, clicks = experience.valid.numpy() > 0, experience.clicks.numpy()
    rows = []
    for place in zip(*np.nonzero(valid)):
        near = valid & (channels == channels[place]) if level == "item" else valid
        rows.append(oracles.Row(states[place], items[place], logged[place], clicks[place] > 0, y[place], real[near]))
    return rows


def objective(agent, rows, weights, frozen) -> float:
    config = agent.model.config
    total = 0.0
    for level in LEVELS:
        parts = oracles.level_losses(
            rows[level], weights[level], frozen[level], config.action_space, config.critic_head
        )
        total += WEIGHTS[level] * (parts.pop("critic") + WEIGHTS["beta"] * parts.pop("actor"))
        total += sum(WEIGHTS[name] * value for name, value in parts.items())
    return total


def test_value_and_gradient(agent, experience):
    rows = {level: rows_of(agent, experience, level) for level in LEVELS}
    variables = {level: heads(agent.model.levels[level]) for level in LEVELS}
    weights = {level: {name: np.array(v.numpy(), float) for name, v in own.items()} for level, own in variables.items()}
    with tf.GradientTape() as tape:
        loss = agent.loss(experience).loss
    np.testing.assert_allclose(loss, objective(agent, rows, weights, weights), rtol=1e-4)
    slopes = tape.gradient(loss, variables)
    rng, step = np.random.default_rng(0), 1e-5
    for level in LEVELS:
        for name, array in weights[level].items():
            for index in {tuple(rng.integers(size) for size in array.shape) for _ in range(3)}:
                moved = []
                for sign in (1, -1):
                    bumped = {**weights[level], name: array.copy()}
                    bumped[name][index] += sign * step
                    moved.append(objective(agent, rows, {**weights, level: bumped}, weights))
                numeric = (moved[0] - moved[1]) / (2 * step)
                found = slopes[level][name].numpy()[index]
                np.testing.assert_allclose(found, numeric, rtol=2e-3, atol=1e-4, err_msg=f"{level} {name} {index}")
