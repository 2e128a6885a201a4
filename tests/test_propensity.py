import numpy as np
import pytest
import tensorflow as tf

from hrlrec_tf import losses
from hrlrec_tf.propensity import capped_weights, effective_sample_size

PROPENSITY = np.array([[1.0, 0.5, 0.02], [0.1, 0.25, 0.0]], np.float32)


def test_weights_by_hand():
    found = capped_weights(tf.constant(PROPENSITY), 10.0)
    np.testing.assert_allclose(found, [[1, 2, 10], [10, 4, 10]], rtol=1e-6)


def test_weights_against_numpy():
    propensity = np.random.default_rng(0).uniform(1e-4, 1, (20, 10)).astype(np.float32)
    for cap in (1.5, 20.0, 1e6):
        expected = np.minimum(cap, 1 / propensity.astype(float))
        np.testing.assert_allclose(capped_weights(tf.constant(propensity), cap), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [([1, 1, 1, 1], 4), ([3, 3], 2), ([1, 0, 0], 1), ([1, 3], 16 / 10), ([[1, 2], [3, 4]], 100 / 30), ([0, 0], 0)],
)
def test_effective_sample_size_by_hand(weights, expected):
    np.testing.assert_allclose(effective_sample_size(tf.constant(weights, tf.float32)), expected, rtol=1e-6)


def test_the_scale_of_weights_is_nothing_to_a_loss():
    """Self-normalised: the mean weight is 1, whatever the propensities' level."""
    q, target = tf.constant([[1.0, 5.0, -2.0]]), tf.constant([[0.0, 1.0, 1.0]])
    weights = capped_weights(tf.constant([[0.5, 0.1, 0.2]]), 100.0)
    by_hand = (2 * 1 + 10 * 16 + 5 * 9) / 17
    for scale in (1.0, 0.01):
        np.testing.assert_allclose(losses.critic_loss(q, target, scale * weights), by_hand, rtol=1e-6)


def test_weighted_rows_stand_for_the_uniform_policy():
    """A logging policy that shows good items more often: the weighted mean of a loss is that over all items alike."""
    rng = np.random.default_rng(1)
    policy, loss = np.array([0.7, 0.2, 0.06, 0.04]), np.array([0.1, 0.5, 2.0, 3.0], np.float32)
    shown = rng.choice(4, 50_000, p=policy)
    weights = capped_weights(tf.constant(policy[shown], tf.float32), 1e3)
    np.testing.assert_allclose(losses.masked_mean(tf.constant(loss[shown]), weights), loss.mean(), rtol=0.05)
    assert loss[shown].mean() < loss.mean() / 2
