import numpy as np
import oracles
import pytest
import tensorflow as tf

from hrlrec_tf import losses

# Three lists of four: full, two rows, and one without a row of this split.
VALID = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], np.float32)
RNG = np.random.default_rng(3)
REWARDS, Q = RNG.uniform(0, 2, (3, 4)).astype(np.float32), RNG.uniform(-1, 2, (3, 4)).astype(np.float32)


def gradient(function, *arrays):
    tensors = [tf.constant(array, tf.float32) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = function(*tensors)
    return tape.gradient(value, tensors)


def test_masked_mean():
    values = tf.constant([[1.0, 2.0], [3.0, 100.0]])
    assert losses.masked_mean(values, tf.constant([[1.0, 1.0], [1.0, 0.0]])) == 2.0
    assert losses.masked_mean(values, tf.zeros([2, 2])) == 0.0


def test_discount_ends_at_the_last_valid_position():
    assert losses.discounts(tf.constant(VALID)).numpy().tolist() == [[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_td_target_by_hand():
    # r = (1, 0, 2), Q' = (7, 4, 6), gamma = .5: 1 + .5 * 4, 0 + .5 * 6, 2.
    valid = tf.ones([1, 3])
    q_tp1 = tf.constant([[4.0, 6.0, 99.0]])
    target = losses.td_target(tf.constant([[1.0, 0.0, 2.0]]), losses.discounts(valid), q_tp1, 0.5)
    assert target.numpy().tolist() == [[3.0, 3.0, 2.0]]


def test_td_target_of_lists_of_any_length():
    q_tp1 = tf.pad(tf.constant(Q)[:, 1:], [[0, 0], [0, 1]], constant_values=1e6)
    target = losses.td_target(tf.constant(REWARDS), losses.discounts(tf.constant(VALID)), q_tp1, 0.3)
    for b, valid in enumerate(VALID):
        inside = valid > 0
        expected = np.array(oracles.td_targets(REWARDS[b], valid, Q[b : b + 1], 0.3))
        np.testing.assert_allclose(target[b][inside], expected[inside], rtol=1e-5)


def test_nothing_flows_through_the_target():
    discount = losses.discounts(tf.constant(VALID))
    assert gradient(lambda r, q: losses.td_target(r, discount, q, 0.3), REWARDS, Q) == [None, None]
    _, through_target = gradient(lambda q, y: losses.critic_loss(q, y, tf.constant(VALID)), Q, REWARDS)
    assert through_target is None


def test_discounted_return():
    returns = losses.discounted_return(tf.constant(REWARDS), losses.discounts(tf.constant(VALID)), 0.3)
    for b, valid in enumerate(VALID):
        expected = np.array(oracles.discounted_returns(REWARDS[b], valid, 0.3))
        np.testing.assert_allclose(returns[b][valid > 0], expected[valid > 0], rtol=1e-5)
    by_hand = losses.discounted_return(tf.constant([[1.0, 0.0, 2.0]]), tf.constant([[1.0, 1.0, 0.0]]), 0.5)
    assert by_hand.numpy().tolist() == [[1.5, 1.0, 2.0]]


def test_critic_loss_and_its_gradient():
    loss = losses.critic_loss(tf.constant(Q), tf.constant(REWARDS), tf.constant(VALID))
    np.testing.assert_allclose(loss, np.sum((Q - REWARDS) ** 2 * VALID) / VALID.sum(), rtol=1e-5)
    slope = gradient(lambda q: losses.critic_loss(q, tf.constant(REWARDS), tf.constant(VALID)), Q)[0]
    np.testing.assert_allclose(slope, 2 * (Q - REWARDS) * VALID / VALID.sum(), rtol=1e-5, atol=1e-7)


class TestActor:
    states, actions = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32)
    weights = RNG.normal(size=5).astype(np.float32)

    def loss(self, states, actions, weights):
        """Of the critic q = exp(s . w) + sum (a w)^2."""

        def critic(s, a):
            return tf.exp(tf.linalg.matvec(s, weights)) + tf.reduce_sum((a * weights) ** 2, axis=-1)

        return losses.actor_loss(critic, states, actions, tf.constant(VALID))

    def test_value(self):
        q = np.exp(self.states @ self.weights) + ((self.actions * self.weights) ** 2).sum(-1)
        found = self.loss(*map(tf.constant, (self.states, self.actions, self.weights)))
        np.testing.assert_allclose(found, -(q * VALID).sum() / 6, rtol=1e-5)

    def test_its_gradient_reaches_the_actions_alone(self):
        of_states, of_actions, of_weights = gradient(self.loss, self.states, self.actions, self.weights)
        expected = -2 * self.actions * self.weights**2 * VALID[..., None] / 6
        np.testing.assert_allclose(of_actions, expected, rtol=1e-5, atol=1e-7)
        assert of_states is None and of_weights is None


def test_clipped_double():
    one, other = tf.constant([[1.0, 5.0]]), tf.constant([[2.0, -3.0]])
    assert losses.clipped_double([one]).numpy().tolist() == [[1, 5]]
    assert losses.clipped_double([one, other]).numpy().tolist() == [[1, -3]]


def test_click_loss_and_its_gradient():
    clicks = np.array([[0, 1, 2, 0], [1, 0, 1, 1], [1, 1, 1, 1]])
    loss = losses.click_loss(tf.constant(Q), tf.constant(clicks), tf.constant(VALID))
    terms = [oracles.cross_entropy(Q[i], clicks[i] > 0) for i in zip(*np.nonzero(VALID))]
    np.testing.assert_allclose(loss, np.mean(terms), rtol=1e-5)
    slope = gradient(lambda logits: losses.click_loss(logits, tf.constant(clicks), tf.constant(VALID)), Q)[0]
    np.testing.assert_allclose(slope, (oracles.sigmoid(Q) - (clicks > 0)) * VALID / 6, rtol=1e-4, atol=1e-6)


class TestSimilarity:
    actions, nearest = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32)

    def loss(self, actions, nearest):
        return losses.similarity_loss(actions, nearest, tf.constant(VALID))[0]

    def expected(self, actions):
        """Each action has one real item, the nearest by its being the only one."""
        flat = [values.reshape(12, 5).astype(float) for values in (actions, self.nearest)]
        return oracles.similarity_loss(*flat, np.eye(12) > 0, VALID.reshape(-1))

    def test_value(self):
        loss, mean = losses.similarity_loss(tf.constant(self.actions), tf.constant(self.nearest), tf.constant(VALID))
        np.testing.assert_allclose(loss, self.expected(self.actions), rtol=1e-5)
        assert mean == -loss

    def test_gradient_reaches_the_action_but_not_the_real_item(self):
        slope, of_nearest = gradient(self.loss, self.actions, self.nearest)
        assert of_nearest is None
        for index in ((0, 0, 0), (0, 3, 4), (1, 1, 2), (1, 3, 0), (2, 0, 1)):
            step = np.zeros_like(self.actions, dtype=float)
            step[index] = 1e-5
            numeric = (self.expected(self.actions + step) - self.expected(self.actions - step)) / 2e-5
            np.testing.assert_allclose(slope[index], numeric, atol=1e-4)

    def test_equals_are_at_distance_nothing(self):
        np.testing.assert_allclose(self.loss(tf.constant(self.actions), tf.constant(self.actions)), -1.0, rtol=1e-6)


def test_cloning_loss_and_its_gradient():
    actions, displayed = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32)
    loss = losses.cloning_loss(tf.constant(actions), tf.constant(displayed), tf.constant(VALID))
    np.testing.assert_allclose(loss, np.sum(((actions - displayed) ** 2).mean(-1) * VALID) / 6, rtol=1e-5)
    slope, of_displayed = gradient(lambda a, d: losses.cloning_loss(a, d, tf.constant(VALID)), actions, displayed)
    assert of_displayed is None
    np.testing.assert_allclose(slope, 2 * (actions - displayed) / 5 * VALID[..., None] / 6, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", [losses.critic_loss, losses.cloning_loss])
def test_what_is_not_valid_changes_nothing(loss):
    shape = (3, 4, 5) if loss is losses.cloning_loss else (3, 4)
    a, b = RNG.normal(size=(2, *shape)).astype(np.float32)
    changed = np.where(VALID.reshape(VALID.shape + (1,) * (len(shape) - 2)) > 0, a, 1e3).astype(np.float32)
    before, after = (loss(tf.constant(x), tf.constant(b), tf.constant(VALID)) for x in (a, changed))
    np.testing.assert_allclose(before, after, rtol=1e-6)


def test_empty_batches_lose_nothing():
    nothing = tf.zeros([3, 4])
    assert losses.critic_loss(tf.constant(Q), tf.constant(REWARDS), nothing) == 0
    assert losses.actor_loss(lambda s, a: a[..., 0], tf.ones([3, 4, 1]), tf.ones([3, 4, 1]), nothing) == 0
    assert losses.click_loss(tf.constant(Q), tf.ones([3, 4]), nothing) == 0
