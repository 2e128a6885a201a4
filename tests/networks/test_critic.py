import itertools

import numpy as np
import pytest
import tensorflow as tf

from hrlrec_tf.networks.critic import Critic

RNG = np.random.default_rng(1)
STATES, ACTIONS = RNG.normal(size=(2, 3, 5)).astype(np.float32), RNG.normal(size=(2, 3, 4)).astype(np.float32)
HEADS = {"relu": lambda x: np.maximum(x, 0), "linear": lambda x: x, "softplus": lambda x: np.log1p(np.exp(x))}


def make(head: str = "linear", form: str = "linear", **settings) -> Critic:
    critic = Critic(head, form, action_dim=4, **settings)
    critic(tf.constant(STATES), tf.constant(ACTIONS))
    critic.start_at(0.7)
    return critic


@pytest.mark.parametrize(("head", "form"), itertools.product(HEADS, ["linear", "interaction"]))
def test_value(head, form):
    critic = make(head, form)
    value = STATES @ critic.state_weights.kernel.numpy() + ACTIONS @ critic.action_weights.kernel.numpy()
    value = value[..., 0] + critic.state_weights.bias.numpy()
    if form == "interaction":
        value += np.sum(ACTIONS * (STATES @ critic.interaction.kernel.numpy()), -1)
    np.testing.assert_allclose(critic(STATES, ACTIONS), HEADS[head](value), rtol=1e-4, atol=1e-6)


def action_slopes(critic: Critic) -> np.ndarray:
    actions = tf.constant(ACTIONS)
    with tf.GradientTape() as tape:
        tape.watch(actions)
        value = tf.reduce_sum(critic(tf.constant(STATES), actions))
    return tape.gradient(value, actions).numpy()


def test_the_papers_form_points_every_user_the_same_way():
    critic = make()
    np.testing.assert_allclose(action_slopes(critic), np.broadcast_to(critic.action_weights.kernel[:, 0], (2, 3, 4)))


def test_the_interaction_points_users_different_ways():
    critic = make(form="interaction")
    expected = critic.action_weights.kernel.numpy()[:, 0] + STATES @ critic.interaction.kernel.numpy()
    np.testing.assert_allclose(action_slopes(critic), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("head", HEADS)
def test_starts_at_the_mean_return(head):
    value = make(head)(tf.zeros([1, 5]), tf.zeros([1, 4]))
    np.testing.assert_allclose(value, [0.7], rtol=1e-5)


def test_a_dead_relu_has_no_gradient_and_a_linear_head_cannot_die():
    for head, dead in (("relu", True), ("linear", False), ("softplus", False)):
        critic = make(head)
        critic.state_weights.bias.assign([-50.0])
        assert (np.abs(action_slopes(critic)).sum() == 0) == dead


@pytest.mark.parametrize("form", ["linear", "interaction"])
def test_serialises(form):
    critic = make("softplus", form)
    copy = Critic.from_config(critic.get_config())
    copy(tf.constant(STATES), tf.constant(ACTIONS))
    copy.set_weights(critic.get_weights())
    np.testing.assert_array_equal(copy(STATES, ACTIONS), critic(STATES, ACTIONS))
