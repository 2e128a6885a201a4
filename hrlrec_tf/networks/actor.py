"""Actor (eq. 3, 6): from a state to a virtual channel or item embedding."""

from typing import Any

import tensorflow as tf

from hrlrec_tf.networks.checks import check_choice, check_size
from hrlrec_tf.precision import at_least_float32

SPACES = ("tanh", "l2")


def to_action_space(vectors: tf.Tensor, space: str) -> tf.Tensor:
    """Brings embeddings into the actions' space: `tanh` (the paper's) or `l2` (unit length).

    Same shape; half precision comes back as float32, which losses and the search for the nearest item need.
    """
    vectors = at_least_float32(vectors)
    return tf.tanh(vectors) if space == "tanh" else tf.math.l2_normalize(vectors, axis=-1)


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class Actor(tf.keras.layers.Layer):
    """a = tanh(W s + b) (eq. 3, 6), or the same normalised to unit length.

    Args:
      dim: size of the action, equal to the item embeddings'.
      space: see `to_action_space`.

    Call:
      states: [..., S]. Returns [..., dim], float32 under a mixed policy too; a Keras mask passes through.

    Raises:
      ConfigError: dim is no size or space is unknown.
    """

    def __init__(self, dim: int = 32, space: str = "tanh", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_size("Actor", "dim", dim)
        check_choice("Actor", "space", space, SPACES)
        self.dim, self.space = dim, space
        self.dense = tf.keras.layers.Dense(dim, dtype=self.dtype_policy, name="dense")
        self.supports_masking = True

    def call(self, states: tf.Tensor) -> tf.Tensor:
        return to_action_space(self.dense(states), self.space)

    def direction(self, states: tf.Tensor) -> tf.Tensor:
        """A vector that points where the action does, of any length: all that a search by cosine needs."""
        return self.dense(states) if self.space == "l2" else self(states)

    def get_config(self) -> dict:
        return {**super().get_config(), "dim": self.dim, "space": self.space}
