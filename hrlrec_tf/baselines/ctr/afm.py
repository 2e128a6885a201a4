"""Attentional FM (Xiao et al. 2017, eq. 5 and 6): logit = b + sum of w_i + p . (sum over i < j of a_ij e_i * e_j).

a is the softmax over all pairs of h . ReLU(W (e_i * e_j) + c).
"""

import tensorflow as tf

from hrlrec_tf.baselines.ctr import crosses
from hrlrec_tf.baselines.ctr.config import AfmConfig
from hrlrec_tf.baselines.ctr.formula import Formula
from hrlrec_tf.baselines.ctr.inputs import Fields, FieldTable, LinearTerm, Rows
from hrlrec_tf.networks.dropout import Dropout


class Afm(Formula):
    """AFM over all fields, of which there must be two."""

    NETWORK = AfmConfig

    def make(self, fields: Fields, network: AfmConfig, l2: float) -> None:
        self.linear = LinearTerm(fields, l2)
        self.embedding = FieldTable(fields, network.embedding_dim, l2)
        self.attention = tf.keras.layers.Dense(
            network.attention_units, activation="relu", kernel_initializer="glorot_normal", name="attention"
        )
        self.weight = self._projection("weight")
        self.projection = self._projection("projection")
        self.attention_dropout = Dropout(network.attention_dropout)
        self.pooling_dropout = Dropout(network.pooling_dropout)

    def call(self, rows: Rows, training: bool = False) -> tf.Tensor:
        pairs = crosses.pairs(self.embedding(rows))
        attention = tf.nn.softmax(self.weight(self.attention(pairs)), axis=1)
        pooled = tf.reduce_sum(self.attention_dropout(attention, training=training) * pairs, axis=1)
        return self.linear(rows) + self.projection(self.pooling_dropout(pooled, training=training))[:, 0]

    def _projection(self, name: str) -> tf.keras.layers.Dense:
        return tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="glorot_normal", name=name)
