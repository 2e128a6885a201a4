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


def test_cosines_with_an_action_for_each_candidate():
    actions = RNG.normal(size=CANDIDATES.shape).astype(np.float32)
    expected = [[oracles.cosine(*pair) for pair in zip(*rows)] for rows in zip(actions, CANDIDATES)]
    found = retrieval.cosine_similarities(tf.constant(actions), tf.constant(CANDIDATES))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


class TestSoftly:
    """40 requests of nine candidates in three channels; the channel's number differs between requests."""

    similarities, wishes = RNG.uniform(-1, 1, (2, 40, 9)).astype(np.float32)
    channels = RNG.integers(0, 3, (40, 9)) + 3 * np.arange(40)[:, None]
    available = RNG.uniform(size=(40, 9)) < 0.7

    def select(self, weight: float) -> list[int]:
        return retrieval.select_softly(
            *map(tf.constant, (self.similarities, self.wishes, self.channels, self.available)), weight
        ).numpy()

    @pytest.mark.parametrize("weight", [0.0, 0.3, 2.0])
    def test_every_item_counts_with_its_channels_best_cosine(self, weight):
        for b, found in enumerate(self.select(weight)):
            expected = oracles.soft_choice(
                self.similarities[b], self.wishes[b], self.channels[b], self.available[b], weight
            )
            assert found == expected

    def test_without_weight_the_channel_selector_has_no_say(self):
        masked = np.where(self.available, self.similarities, -np.inf)
        np.testing.assert_array_equal(self.select(0.0), masked.argmax(axis=1))

    def test_with_a_large_weight_it_is_the_hard_constraint(self):
        selected = retrieval.nearest(tf.constant(self.wishes), tf.constant(self.available))
        inside = self.channels == np.take_along_axis(self.channels, selected.numpy()[:, None], axis=1)
        hard = retrieval.select_item(tf.constant(self.similarities), tf.constant(inside), tf.constant(self.available))
        np.testing.assert_array_equal(self.select(1e6), hard)
        assert (self.select(0.3) != hard.numpy()).any()

    def test_what_is_not_a_number_is_similar_to_nothing(self):
        similarities, wishes = tf.constant([[[np.nan, 0.1, 0.2]], [[0.5, np.nan, 0.4]]])
        found = retrieval.select_softly(similarities, wishes, tf.constant([[0, 1, 0]]), tf.fill([1, 3], True), 1.0)
        assert found.numpy().tolist() == [2]


@pytest.mark.parametrize("level", ["channel", "item"])
def test_nearest_of_a_batch(level):
    rng = np.random.default_rng(5)
    actions, items = rng.normal(size=(2, 6, 4, 5)).astype(np.float32)
    valid, channels = rng.uniform(size=(6, 4)).round(), rng.integers(1, 4, (6, 4))
    channels[0, 0] = 4  # nobody else's
    valid[0, 0] = 0
    found_items, found = retrieval.nearest_of_batch(
        actions, items, tf.constant(valid, tf.float32), channels if level == "item" else None, channels=6
    )
    flat = [np.reshape(values, (24, -1)).astype(float) for values in (actions, items)]
    cosines = np.array([[oracles.cosine(action, item) for item in flat[1]] for action in flat[0]])
    allowed = np.tile(valid.reshape(-1) > 0, (24, 1))
    if level == "item":
        allowed &= channels.reshape(-1, 1) == channels.reshape(1, -1)
    there = allowed.any(axis=1)
    np.testing.assert_array_equal(tf.reshape(found, [-1]), there)
    assert there[0] == (level == "channel")
    best = np.argmax(np.where(allowed, cosines, -np.inf), axis=1)
    np.testing.assert_array_equal(tf.reshape(found_items, [24, 5])[there], flat[1].astype(np.float32)[best][there])


def test_a_broken_item_of_a_batch_is_not_found():
    items = np.array([[[1.0, 0.0], [np.nan, 1.0], [-1.0, 0.5]]], np.float32)
    found, _ = retrieval.nearest_of_batch(tf.constant([[[-1.0, -1.0]] * 3]), items, tf.ones([1, 3]))
    np.testing.assert_array_equal(found, [[[-1.0, 0.5]] * 3])
