"""AutoInt (Song et al. 2019, eq. 5 to 9): self-attention over the fields, layer upon layer, then one dense output.

A layer: a head h lets field m attend to field k by the softmax over k of <Q_h e_m, K_h e_k>, and sums V_h e_k; the
heads' sums are joined, the residual W e_m is added, and ReLU is taken. As in BARS the dot products may be scaled and
the sum normalised; a linear term, and with hidden units a dense stack (AutoInt+), join the logit.
"""

from typing import Any

import tensorflow as tf

from hrlrec_tf.baselines.ctr.config import AutoIntConfig
from hrlrec_tf.baselines.ctr.dense_stack import DenseStack
from hrlrec_tf.baselines.ctr.formula import Formula
from hrlrec_tf.baselines.ctr.inputs import Fields, FieldTable, LinearTerm, Rows
from hrlrec_tf.networks.dropout import Dropout


class FieldAttention(tf.keras.layers.Layer):
    """One layer of AutoInt: [R, F, N] to [R, F, units].

    Args:
      units: of all heads together; heads divides it.
      residual, scale, layer_norm: see `AutoIntConfig`.
      dropout: of the attention weights.
    """

    def __init__(
        self,
        units: int,
        heads: int,
        residual: bool = True,
        scale: bool = True,
        layer_norm: bool = False,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units, self.heads, self.residual, self.scale = units, heads, residual, scale
        self.dropout, self.layer_norm = dropout, layer_norm
        self.queries, self.keys, self.values = (self._projection(name) for name in ("queries", "keys", "values"))
        self.drop = Dropout(dropout)
        self.norm = tf.keras.layers.LayerNormalization(epsilon=1e-5) if layer_norm else None

    def build(self, shape: tf.TensorShape) -> None:
        resized = self.residual and shape[-1] != self.units
        self.residual_projection = self._projection("residual") if resized else None
        super().build(shape)

    def call(self, fields: tf.Tensor, training: bool = False) -> tf.Tensor:
        queries, keys, values = (self._split(each(fields)) for each in (self.queries, self.keys, self.values))
        scores = tf.matmul(queries, keys, transpose_b=True)
        if self.scale:
            scores *= (self.units // self.heads) ** -0.5
        attended = tf.matmul(self.drop(tf.nn.softmax(scores), training=training), values)
        total = tf.reshape(tf.transpose(attended, [0, 2, 1, 3]), [-1, fields.shape[1], self.units])
        if self.residual:
            total += fields if self.residual_projection is None else self.residual_projection(fields)
        return tf.nn.relu(total if self.norm is None else self.norm(total))

    def get_config(self) -> dict:
        names = ("units", "heads", "residual", "scale", "layer_norm", "dropout")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _projection(self, name: str) -> tf.keras.layers.Dense:
        return tf.keras.layers.Dense(self.units, use_bias=False, kernel_initializer="glorot_normal", name=name)

    def _split(self, projected: tf.Tensor) -> tf.Tensor:
        """[R, F, units] to [R, heads, F, units / heads]."""
        shape = [-1, projected.shape[1], self.heads, self.units // self.heads]
        return tf.transpose(tf.reshape(projected, shape), [0, 2, 1, 3])


class AutoInt(Formula):
    """AutoInt over all fields."""

    NETWORK = AutoIntConfig

    def make(self, fields: Fields, network: AutoIntConfig, l2: float) -> None:
        self.embedding = FieldTable(fields, network.embedding_dim, l2)
        self.linear = LinearTerm(fields, l2, bias=False) if network.wide else None
        self.attention = [
            FieldAttention(
                network.attention_units,
                network.attention_heads,
                network.residual,
                network.scale,
                network.layer_norm,
                network.dropout,
            )
            for _ in range(network.attention_layers)
        ]
        self.last = DenseStack(())
        units = network.hidden_units
        self.dense = DenseStack(units, network.dropout, network.batch_norm) if units else None

    def call(self, rows: Rows, training: bool = False) -> tf.Tensor:
        embedded = self.embedding(rows)
        attended = embedded
        for layer in self.attention:
            attended = layer(attended, training=training)
        logit = self.last(_flat(attended))
        if self.dense is not None:
            logit += self.dense(_flat(embedded), training=training)
        return logit if self.linear is None else logit + self.linear(rows)


def _flat(fields: tf.Tensor) -> tf.Tensor:
    return tf.reshape(fields, [-1, fields.shape[1] * fields.shape[2]])
