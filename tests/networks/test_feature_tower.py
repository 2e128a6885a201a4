import numpy as np
import pytest
import tensorflow as tf

from hrlrec_tf.networks.feature_tower import FeatureTower

DIM = 8
ROWS = {
    "author": tf.constant([[1, 0], [2, 3]]),
    "tags": tf.constant([[[1, 2], [0, 0]], [[3, 0], [1, 1]]]),
    "price": tf.constant([[0.5, -1.0], [0.0, 2.0]]),
}


@pytest.fixture
def tower():
    return FeatureTower({"author": 4, "tags": 5}, ("price",), DIM)


def test_sum_of_rows_means_and_multiples(tower):
    embedded = tower(ROWS).numpy()
    author, tags = (tower.tables[name].embeddings.numpy() for name in ("author", "tags"))
    price = tower.numeric_vectors.kernel.numpy()[0]
    np.testing.assert_allclose(embedded[0, 0], author[1] + (tags[1] + tags[2]) / 2 + 0.5 * price, atol=1e-6)
    np.testing.assert_allclose(embedded[0, 1], author[0] - price, atol=1e-6)  # no tags: nothing to add
    np.testing.assert_allclose(embedded[1, 0], author[2] + tags[3], atol=1e-6)
    np.testing.assert_allclose(embedded[1, 1], author[3] + tags[1] + 2 * price, atol=1e-6)


def test_padding_tags_get_no_gradient(tower):
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(tower(ROWS))
    slope = tf.convert_to_tensor(tape.gradient(value, tower.tables["tags"].embeddings)).numpy().sum(-1)
    np.testing.assert_allclose(slope, DIM * np.array([0, 0.5 + 1, 0.5, 1, 0]))


def test_mask_marks_padding_rows_where_asked_for(tower):
    assert getattr(tower(ROWS), "_keras_mask", None) is None
    masked = FeatureTower({"author": 4, "tags": 5}, dim=DIM, mask_zero="author")
    np.testing.assert_array_equal(masked(ROWS)._keras_mask, [[True, False], [True, True]])


def test_whole_numbers_are_numbers_too():
    tower = FeatureTower({}, ("views", "price"), DIM)
    embedded = tower({"views": tf.constant([3], tf.int64), "price": tf.constant([0.5])})
    np.testing.assert_allclose(embedded, [3, 0.5] @ tower.numeric_vectors.kernel.numpy()[None], rtol=1e-6)
