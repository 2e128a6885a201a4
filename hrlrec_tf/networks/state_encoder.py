"""State encoder of one level (Sec. 3.2, eq. 1 and 2): field interaction, then a GRU over impressed behaviours."""

from typing import Any

import tensorflow as tf


class FieldInteraction(tf.keras.layers.Layer):
    """Transformer over the fields of one behaviour (eq. 1).

    Multi-head self-attention over the n fields, residual, layer normalisation and feed-forward, then concatenation.

    Args:
      heads: attention heads; must divide the field size.
      dropout: rate after attention and feed-forward.

    Call:
      fields: [..., n, D]. Returns [..., n * D].
    """

    def __init__(self, heads: int = 4, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads, self.dropout_rate = heads, dropout

    def build(self, shape: tf.TensorShape) -> None:
        dim = shape[-1]
        self.queries_keys_values = tf.keras.layers.Dense(3 * dim, name="queries_keys_values")
        self.output_projection = tf.keras.layers.Dense(dim, name="output_projection")
        self.feed_forward = tf.keras.Sequential(
            [tf.keras.layers.Dense(2 * dim, activation="relu"), tf.keras.layers.Dense(dim)], name="feed_forward"
        )
        self.attention_norm = tf.keras.layers.LayerNormalization(name="attention_norm")
        self.output_norm = tf.keras.layers.LayerNormalization(name="output_norm")
        self.dropout = tf.keras.layers.Dropout(self.dropout_rate)
        super().build(shape)

    def call(self, fields: tf.Tensor, training: bool = False) -> tf.Tensor:
        shape = tf.shape(fields)
        count, dim = fields.shape[-2], fields.shape[-1]
        rows = tf.reshape(fields, [-1, count, dim])
        attended = self.dropout(self.output_projection(self._attention(rows)), training=training)
        rows = self.attention_norm(rows + attended)
        rows = self.output_norm(rows + self.dropout(self.feed_forward(rows), training=training))
        return tf.reshape(rows, tf.concat([shape[:-2], [count * dim]], axis=0))

    def _attention(self, rows: tf.Tensor) -> tf.Tensor:
        """Scaled dot-product attention among the fields of each row: [R, n, D] -> [R, n, D]."""
        count, dim = rows.shape[-2], rows.shape[-1]
        size = dim // self.heads
        split = tf.reshape(self.queries_keys_values(rows), [-1, count, 3, self.heads, size])
        queries, keys, values = tf.unstack(tf.transpose(split, [2, 0, 3, 1, 4]))
        weights = tf.nn.softmax(tf.matmul(queries, keys, transpose_b=True) / size**0.5)
        return tf.reshape(tf.transpose(tf.matmul(weights, values), [0, 2, 1, 3]), [-1, count, dim])

    def get_config(self) -> dict:
        return {**super().get_config(), "heads": self.heads, "dropout": self.dropout_rate}


class StateEncoder(tf.keras.layers.Layer):
    """GRU over behaviours whose initial state is the projected user profile (eq. 2).

    One pass over history and placed rows yields the states of all positions: s_t is the hidden state after the history
    and the t - 1 rows placed before t. Masked rows leave the state as it is, so an empty history gives s_1 = the
    projected profile.

    Args:
      units: size of the state.
      heads: attention heads of the field interaction.
      dropout: rate inside the field interaction.

    Call:
      fields: [B, S, n, D] behaviours, oldest first. profile: [B, P]. mask: [B, S] bool, False for padding.
      states: how many of the last states to return, T <= S + 1.
      Returns [B, T, units]: the states before the last T - 1 rows and after each of them.
    """

    def __init__(self, units: int = 128, heads: int = 4, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.heads, self.dropout_rate = units, heads, dropout
        self.interaction = FieldInteraction(heads, dropout, name="interaction")
        self.initial = tf.keras.layers.Dense(units, activation="tanh", name="initial")
        # As fast on CPUs as the GRU layer, which also builds a fused variant and so traces three times as long.
        self.gru = tf.keras.layers.RNN(tf.keras.layers.GRUCell(units), return_sequences=True, name="gru")

    def call(
        self, fields: tf.Tensor, profile: tf.Tensor, mask: tf.Tensor, states: int, training: bool = False
    ) -> tf.Tensor:
        initial = self.initial(profile)
        rows = self.interaction(fields, training=training)
        hidden = self.gru(rows, mask=mask, initial_state=initial, training=training)
        # Keras returns zeros, not the state, until the first row that is not masked.
        started = tf.cumsum(tf.cast(mask, tf.int32), axis=1) > 0
        hidden = tf.where(started[..., tf.newaxis], hidden, initial[:, tf.newaxis])
        return tf.concat([initial[:, tf.newaxis], hidden], axis=1)[:, -states:]

    def advance(self, state: tf.Tensor, fields: tf.Tensor) -> tf.Tensor:
        """One GRU step for one placed row: state [B, units] and fields [B, n, D] to the next state."""
        return self.gru.cell(self.interaction(fields), [state])[0]

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units, "heads": self.heads, "dropout": self.dropout_rate}
