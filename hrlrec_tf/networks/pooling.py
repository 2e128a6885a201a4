"""Average pooling in the GRU's place (Table 4), with the GRU's interface."""

from typing import Any

import tensorflow as tf


class MeanPooling(tf.keras.layers.Layer):
    """Mean over the rows so far, each projected by a dense layer; the initial state counts as one row.

    Args:
      units: U, size of the state.

    Call:
      rows: [S, B, D], oldest first. initial: [B, U]. mask: [S, B] bool, False for padding.
      Returns [S + 1, B, U]: the initial state, then the state after each row.
    """

    def __init__(self, units: int = 128, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.units = units
        self.projection = tf.keras.layers.Dense(units, activation="tanh", name="projection", dtype="float32")

    def call(self, rows: tf.Tensor, initial: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        return self.read(self._sums(rows, initial, mask))

    def memory(self, rows: tf.Tensor, initial: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """What `step` goes on from, sum and count of the rows: [B, U + 1]."""
        return self._sums(rows, initial, mask)[-1]

    def step(self, row: tf.Tensor, memory: tf.Tensor) -> tf.Tensor:
        """Memory after one more row [B, D]."""
        return memory + self._counted(row)

    def read(self, memory: tf.Tensor) -> tf.Tensor:
        """State of a memory: [..., U + 1] to [..., U]."""
        return memory[..., :-1] / memory[..., -1:]

    def _sums(self, rows: tf.Tensor, initial: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """[S + 1, B, U + 1]."""
        first = tf.concat([initial, tf.ones_like(initial[:, :1])], axis=-1)[tf.newaxis]
        counted = self._counted(rows) * tf.cast(mask, initial.dtype)[..., tf.newaxis]
        return tf.cumsum(tf.concat([first, counted], axis=0))

    def _counted(self, rows: tf.Tensor) -> tf.Tensor:
        projected = self.projection(rows)
        return tf.concat([projected, tf.ones_like(projected[..., :1])], axis=-1)

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units}
