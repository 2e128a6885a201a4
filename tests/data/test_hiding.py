import numpy as np
import pytest
import tensorflow as tf

from hrlrec_tf.data.hiding import hide_ids
from hrlrec_tf.features import FeatureSpec, IdRule

SIZES = {"user_id": 7, "item_id": 11}
RNG = np.random.default_rng(1)
BATCH = {
    "user_id": tf.constant(RNG.integers(1, 6, 2000)),
    "item_id": tf.constant(RNG.integers(0, 10, (2000, 3))),
    "history_item_id": tf.constant(RNG.integers(0, 10, (2000, 4))),
    "clicks": tf.constant(RNG.integers(0, 2, (2000, 3))),
}


def hide(rate: float, seed: int = 3, **rules: IdRule) -> dict:
    return hide_ids(BATCH, FeatureSpec(ids=rules), SIZES, rate, tf.constant([5, seed], tf.int64))


@pytest.mark.parametrize("name, unknown", [("user_id", 6), ("item_id", 10), ("history_item_id", 10)])
def test_a_share_becomes_unknown_and_padding_stays(name, unknown):
    before, after = BATCH[name].numpy(), hide(0.3)[name].numpy()
    hidden = after == unknown
    assert abs(hidden[before > 0].mean() - 0.3) < 0.03
    assert not hidden[before == 0].any()
    np.testing.assert_array_equal(after[~hidden], before[~hidden])


def test_nothing_else_changes():
    assert hide(0.5)["clicks"] is BATCH["clicks"]


def test_the_seed_decides():
    first, again, other = hide(0.5), hide(0.5), hide(0.5, seed=4)
    np.testing.assert_array_equal(first["item_id"], again["item_id"])
    assert (first["item_id"].numpy() != other["item_id"].numpy()).any()


def test_rates_0_and_1():
    np.testing.assert_array_equal(hide(0.0)["item_id"], BATCH["item_id"])
    assert set(np.unique(hide(1.0)["item_id"])) == {0, 10}


def test_unknown_values_of_several_ids_are_drawn_alike():
    hidden = hide(1.0, item_id=IdRule(oov_buckets=3), user_id=IdRule("hashed", buckets=6))
    items, counts = np.unique(hidden["item_id"].numpy()[BATCH["item_id"].numpy() > 0], return_counts=True)
    assert items.tolist() == [8, 9, 10] and counts.min() > 0.8 * counts.max()
    assert np.unique(hidden["user_id"]).tolist() == [1, 2, 3, 4, 5, 6]
