import numpy as np
import oracles
import pytest
import tensorflow as tf

from hrlrec_tf import retrieval

RNG = np.random.default_rng(5)
ACTIONS = RNG.normal(size=(3, 6)).astype(np.float32)
CANDIDATES = RNG.normal(size=(3, 9, 6)).astype(np.float32)


def test_cosines_with_a_set_for_each_action():
    expected = [[oracles.cosine(action, item) for item in items] for action, items in zip(ACTIONS, CANDIDATES)]
    np.testing.assert_allclose(retrieval.cosine_similarities(ACTIONS, tf.constant(CANDIDATES)), expected, rtol=1e-4)


def test_cosines_with_one_set_for_all():
    expected = [[oracles.cosine(action, item) for item in CANDIDATES[0]] for action in ACTIONS]
    np.testing.assert_allclose(retrieval.cosine_similarities(ACTIONS, tf.constant(CANDIDATES[0])), expected, rtol=1e-4)


def test_length_is_ignored_and_zero_is_similar_to_nothing():
    similarities = retrieval.cosine_similarities(
        tf.constant([[3.0, 0.0]]), tf.constant([[0.1, 0.0], [0.0, 0.0], [-9.0, 0.0]])
    )
    assert similarities.numpy().tolist() == [[1.0, 0.0, -1.0]]


@pytest.mark.parametrize(
    ("similarities", "mask", "expected"),
    [
        ([0.1, 0.9, 0.5], [True, True, True], 1),
        ([0.1, 0.9, 0.5], [True, False, True], 2),  # placed before
        ([0.5, 0.7, 0.7], [True, True, True], 1),  # ties: who stands first
        ([-1.0, -0.9, 0.5], [True, False, False], 0),  # the opposite is better than what may not be chosen
        ([0.1, 0.9, 0.5], [False, False, False], 0),  # nobody; the caller must look
    ],
)
def test_nearest(similarities, mask, expected):
    index = retrieval.nearest(tf.constant([similarities]), tf.constant([mask]))
    assert index.dtype == tf.int32 and index.numpy().tolist() == [expected]


def test_item_stays_inside_the_channel_and_is_not_repeated():
    similarities = tf.constant([[0.9, 0.8, 0.1, 0.5]] * 2)
    in_channel = tf.constant([[False, True, True, True]] * 2)
    available = tf.constant([[True] * 4, [True, False, True, True]])
    assert retrieval.select_item(similarities, in_channel, available).numpy().tolist() == [1, 3]
