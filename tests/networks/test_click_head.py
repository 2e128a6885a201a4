import numpy as np
import pytest
import tensorflow as tf

from hrlrec_tf.errors import ConfigError
from hrlrec_tf.networks.click_head import ClickHead

RNG = np.random.default_rng(2)
ACTIONS, ITEMS = RNG.normal(size=(2, 3, 4)).astype(np.float32), RNG.normal(size=(2, 3, 4)).astype(np.float32)


STATES, COUNTS = (RNG.normal(size=(2, 3, size)).astype(np.float32) for size in (5, 6))


@pytest.fixture(params=["linear", "interaction", "state", "counts"])
def head(request):
    head = ClickHead(request.param)
    head(tf.constant(ACTIONS), tf.constant(ITEMS), STATES, COUNTS)
    head.action_weights.bias.assign([0.4])
    return head


def test_logit(head):
    weights = np.concatenate([head.action_weights.kernel.numpy(), head.item_weights.kernel.numpy()])
    expected = (np.concatenate([ACTIONS, ITEMS], -1) @ weights)[..., 0] + 0.4  # w.[a; d] + b of eq. 16
    if head.form != "linear":
        expected += head.scale.numpy() * np.sum(ACTIONS * ITEMS, -1)
    if head.reads_states:
        wish = STATES @ head.item_filter.kernel.numpy() + head.item_filter.bias.numpy()
        met = list(zip((STATES, ITEMS, wish * ITEMS, COUNTS), head.hidden))
        assert len(met) == (4 if head.form == "counts" else 3)
        hidden = sum(values @ dense.kernel.numpy() for values, dense in met) + head.hidden[0].bias.numpy()
        expected += (np.maximum(hidden, 0) @ head.hidden_weights.kernel.numpy())[..., 0]
    if head.form == "counts":
        expected += (COUNTS @ head.count_weights.kernel.numpy())[..., 0]
    found = head(tf.constant(ACTIONS), tf.constant(ITEMS), STATES, COUNTS)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_what_the_cosines_say():
    """w.a + b + k cos(a, d): in the order of the search for the nearest item, whatever the items' lengths."""
    head = ClickHead("state")
    head(tf.constant(ACTIONS), tf.constant(ITEMS), STATES)
    found = head.similarity_logits(tf.constant(ACTIONS), tf.constant(ITEMS)).numpy()
    a, d = (values / np.linalg.norm(values, axis=-1, keepdims=True) for values in (ACTIONS, ITEMS))
    kernel, bias = (weight.numpy() for weight in head.action_weights.weights)
    want = (ACTIONS @ kernel + bias)[..., 0] + head.similarity_scale.numpy() * (a * d).sum(axis=-1)
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)
    longer = head.similarity_logits(tf.constant(ACTIONS), 7 * tf.constant(ITEMS)).numpy()
    np.testing.assert_allclose(longer, found, rtol=1e-4, atol=1e-5)


def test_what_a_form_needs():
    for form in ("state", "counts"):
        with pytest.raises(ConfigError, match=f"form {form} needs the states, got none"):
            ClickHead(form)(ACTIONS, ITEMS)
    with pytest.raises(ConfigError, match="form counts needs counts, got none; pass counts=, or choose state"):
        ClickHead("counts")(ACTIONS, ITEMS, STATES)


def test_one_action_meets_many_items(head):
    action, state = tf.constant(ACTIONS[:, :1]), tf.constant(STATES[:, :1])
    each = [head(action, tf.constant(ITEMS[:, i : i + 1]), state, COUNTS[:, i : i + 1]) for i in range(3)]
    found = head(action, tf.constant(ITEMS), state, COUNTS)
    np.testing.assert_allclose(found, tf.concat(each, 1), rtol=1e-4, atol=1e-5)


def test_order_of_items_by_user(head):
    """The paper's form orders items the same for every action; the interaction does not."""
    items = tf.constant(RNG.normal(size=(1, 50, 4)).astype(np.float32))
    pairs = [(ACTIONS[b, :1][None], STATES[b, :1][None]) for b in range(2)]
    counts = tf.zeros([1, 50, 6])
    orders = {tuple(np.argsort(head(tf.constant(action), items, state, counts)[0])) for action, state in pairs}
    assert len(orders) == (1 if head.form == "linear" else 2)


def test_everything_has_a_gradient(head):
    actions, items = tf.constant(ACTIONS), tf.constant(ITEMS)
    with tf.GradientTape() as tape:
        tape.watch([actions, items])
        value = tf.reduce_sum(head(actions, items, STATES, COUNTS))
        if head.reads_states:
            value += tf.reduce_sum(head.similarity_logits(actions, items))
    for slope in tape.gradient(value, [actions, items, *head.trainable_variables]):
        assert np.abs(slope.numpy()).sum() > 0


def test_serialises(head):
    copy = ClickHead.from_config(head.get_config())
    copy(tf.constant(ACTIONS), tf.constant(ITEMS), STATES, COUNTS)
    copy.set_weights(head.get_weights())
    np.testing.assert_array_equal(*(each(ACTIONS, ITEMS, STATES, COUNTS) for each in (copy, head)))
