import numpy as np
import pytest
import tensorflow as tf

from hrlrec_tf.errors import ConfigError
from hrlrec_tf.networks.dropout import Dropout

ONES = tf.ones([301, 333])


def test_drops_a_share_and_keeps_the_mean():
    dropped = Dropout(0.3, seed=1)(ONES, training=True).numpy()
    assert abs((dropped == 0).mean() - 0.3) < 0.005
    np.testing.assert_allclose(np.unique(dropped), [0, 256 / 179], rtol=1e-6)
    assert abs(dropped.mean() - 1) < 0.01


def test_elements_are_dropped_independently():
    dropped = Dropout(0.5, seed=1)(ONES, training=True).numpy() == 0
    for shift in range(1, 9):  # four elements share a random word
        assert abs((dropped[:, shift:] == dropped[:, :-shift]).mean() - 0.5) < 0.01


def test_nothing_happens_outside_training_or_at_rate_0():
    assert Dropout(0.5)(ONES) is ONES and Dropout(0.0)(ONES, training=True) is ONES


def test_a_checkpoint_keeps_where_the_masks_stand(tmp_path):
    layer = Dropout(0.5, seed=1)
    layer(ONES, training=True)
    path = tf.train.Checkpoint(layer=layer).save(str(tmp_path / "checkpoint"))
    expected = layer(ONES, training=True)
    other = Dropout(0.5, seed=2)
    tf.train.Checkpoint(layer=other).restore(path).assert_existing_objects_matched()
    np.testing.assert_array_equal(other(ONES, training=True), expected)


def test_the_global_seed_decides():
    masks = []
    for seed in (3, 3, 4):
        tf.keras.utils.set_random_seed(seed)
        masks.append(Dropout(0.5)(ONES, training=True).numpy())
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0] != masks[2]).any()


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_bad_rates_are_refused(rate):
    with pytest.raises(ConfigError, match="rate must lie in"):
        Dropout(rate)


def test_serialises():
    assert Dropout.from_config(Dropout(0.25, seed=4).get_config()).get_config()["seed"] == 4
