import numpy as np
import pytest
import tensorflow as tf

from hrlrec_tf.networks.actor import Actor, to_action_space

STATES = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)


@pytest.fixture(params=["tanh", "l2"])
def actor(request):
    actor = Actor(dim=4, space=request.param)
    actor(tf.constant(STATES))
    actor.dense.bias.assign([0.1, -0.2, 0.3, 0.0])
    return actor


def test_action_is_the_projected_state_in_the_actions_space(actor):
    projected = STATES @ actor.dense.kernel.numpy() + actor.dense.bias.numpy()
    length = np.linalg.norm(projected, axis=-1, keepdims=True)
    expected = np.tanh(projected) if actor.space == "tanh" else projected / length
    np.testing.assert_allclose(actor(tf.constant(STATES)), expected, rtol=1e-4, atol=1e-6)


def test_spaces_are_bounded():
    vectors = tf.constant([[30.0, -40.0], [0.0, 0.0]])
    np.testing.assert_allclose(to_action_space(vectors, "tanh"), [[1, -1], [0, 0]])
    np.testing.assert_allclose(to_action_space(vectors, "l2"), [[0.6, -0.8], [0, 0]], rtol=1e-6)


def test_action_has_a_gradient_by_state_and_weights(actor):
    states = tf.constant(STATES)
    with tf.GradientTape() as tape:
        tape.watch(states)
        # A sum of squares would be constant in the space l2.
        value = tf.reduce_sum(actor(states)[..., 0])
    for slope in tape.gradient(value, [states, *actor.trainable_variables]):
        assert np.abs(slope.numpy()).sum() > 0


def test_serialises(actor):
    copy = Actor.from_config(actor.get_config())
    copy(tf.constant(STATES))
    copy.set_weights(actor.get_weights())
    np.testing.assert_array_equal(copy(tf.constant(STATES)), actor(tf.constant(STATES)))
