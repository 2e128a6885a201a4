"""Actor (eq. 3, 6): from a state to a virtual channel or item embedding."""

from typing import Any

import tensorflow as tf


def to_action_space(vectors: tf.Tensor, space: str) -> tf.Tensor:
    """Brings embeddings into the actions' space: `tanh` (the paper's) or `l2` (unit length); shape unchanged."""
    return tf.tanh(vectors) if space == "tanh" else tf.math.l2_normalize(vectors, axis=-1)


class Actor(tf.keras.layers.Layer):
    """a = tanh(W s + b) (eq. 3, 6), or the same normalised to unit length.

    Args:
      dim: size of the action, equal to the item embeddings'.
      space: see `to_action_space`.

    Call:
      states: [..., S]. Returns [..., dim].
    """

    def __init__(self, dim: int = 32, space: str = "tanh", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim, self.space = dim, space
        self.dense = tf.keras.layers.Dense(dim, name="dense")

    def call(self, states: tf.Tensor) -> tf.Tensor:
        return to_action_space(self.dense(states), self.space)

    def get_config(self) -> dict:
        return {**super().get_config(), "dim": self.dim, "space": self.space}
