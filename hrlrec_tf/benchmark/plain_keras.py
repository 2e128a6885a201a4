"""The state encoder from stock Keras layers: what `hrlrec benchmark train` compares with."""

from typing import Any

import tensorflow as tf


class PlainStateEncoder(tf.keras.layers.Layer):
    """What `StateEncoder` with a fixed window computes, with its interface, made of Keras' own layers.

    One detail differs, to be fair to Keras: its GRU applies the reset gate after the recurrent product, which it runs
    faster than the form of the paper's code; the number of operations is the same.
    """

    def __init__(self, units: int, heads: int, dropout: float, *_: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads = heads
        self.dropout = tf.keras.layers.Dropout(dropout)
        self.initial = tf.keras.layers.Dense(units, activation="tanh")
        self.gru = tf.keras.layers.GRU(units, return_sequences=True)

    def build(self, shape: tf.TensorShape) -> None:
        dim = shape[-1]
        self.attention = tf.keras.layers.MultiHeadAttention(self.heads, dim // self.heads)
        self.feed_forward = tf.keras.Sequential(
            [tf.keras.layers.Dense(2 * dim, activation="relu"), tf.keras.layers.Dense(dim)]
        )
        self.attention_norm = tf.keras.layers.LayerNormalization()
        self.output_norm = tf.keras.layers.LayerNormalization()
        super().build(shape)

    def call(
        self, fields: tf.Tensor, profile: tf.Tensor, mask: tf.Tensor, states: int, training: bool = False
    ) -> tf.Tensor:
        steps, count, dim = fields.shape[1:]
        initial = self.initial(profile)
        rows = tf.reshape(fields, [-1, count, dim])
        rows = self.attention_norm(rows + self.dropout(self.attention(rows, rows), training=training))
        rows = self.output_norm(rows + self.dropout(self.feed_forward(rows), training=training))
        rows = tf.reshape(rows, [-1, steps, count * dim])
        hidden = self.gru(rows, mask=mask, initial_state=initial, training=training)
        # Keras returns zeros, not the state, until the first row that is not masked.
        started = tf.cumsum(tf.cast(mask, tf.int32), axis=1) > 0
        hidden = tf.where(started[..., tf.newaxis], hidden, initial[:, tf.newaxis])
        return tf.concat([initial[:, tf.newaxis], hidden], axis=1)[:, -states:]
