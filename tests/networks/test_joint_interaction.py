import numpy as np
import pytest
import tensorflow as tf

from hrlrec_tf.networks.joint_interaction import JointInteraction
from hrlrec_tf.networks.state_encoder import FieldInteraction

RNG = np.random.default_rng(2)


def layer(form: str = "attention", dtype: str = "float32") -> FieldInteraction:
    """With random weights everywhere, those of the norms included."""
    made = FieldInteraction(4, form=form, dtype=dtype)
    made(tf.zeros([1, 4, 16]))
    made.set_weights([RNG.normal(size=weight.shape) for weight in made.get_weights()])
    return made


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("rows", [1, 7])
def test_it_is_the_layers_themselves(levels, rows):
    layers = [layer() for _ in range(levels)]
    fields = [tf.constant(RNG.normal(size=[rows, 4, 16]), tf.float32) for _ in range(levels)]
    for mine, other, one in zip(JointInteraction(layers)(fields), layers, fields, strict=True):
        np.testing.assert_allclose(mine, other(one), rtol=1e-4, atol=1e-4)


def test_which_layers_it_stands_in_for():
    assert JointInteraction.fits(layer())
    assert not JointInteraction.fits(layer("dense"))
    assert not JointInteraction.fits(layer(dtype="mixed_bfloat16"))
    assert not JointInteraction.fits(tf.keras.layers.Dense(3))
