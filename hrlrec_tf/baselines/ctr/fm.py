"""Factorisation machine (Rendle 2010, eq. 1): logit = b + sum of w_i + sum over i < j of <e_i, e_j>."""

import tensorflow as tf

from hrlrec_tf.baselines.ctr import crosses
from hrlrec_tf.baselines.ctr.config import EmbeddingConfig
from hrlrec_tf.baselines.ctr.formula import Formula
from hrlrec_tf.baselines.ctr.inputs import Fields, FieldTable, LinearTerm, Rows


class Fm(Formula):
    """FM over all fields."""

    NETWORK = EmbeddingConfig

    def make(self, fields: Fields, network: EmbeddingConfig, l2: float) -> None:
        self.linear = LinearTerm(fields, l2)
        self.embedding = FieldTable(fields, network.embedding_dim, l2)

    def call(self, rows: Rows, training: bool = False) -> tf.Tensor:
        return self.linear(rows) + crosses.second_order(self.embedding(rows))
