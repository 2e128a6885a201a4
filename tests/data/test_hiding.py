import numpy as np
import pytest
import tensorflow as tf

from hrlrec_tf.data.hiding import hide_ids

SIZES = {"user_id": 7, "item_id": 11}
RNG = np.random.default_rng(1)
BATCH = {
    "user_id": tf.constant(RNG.integers(1, 6, 2000)),
    "item_id": tf.constant(RNG.integers(0, 10, (2000, 3))),
    "history_item_id": tf.constant(RNG.integers(0, 10, (2000, 4))),
    "clicks": tf.constant(RNG.integers(0, 2, (2000, 3))),
}


def hide(rate: float, seed: int = 3) -> dict:
    return hide_ids(BATCH, SIZES, rate, tf.constant([5, seed], tf.int64))


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
