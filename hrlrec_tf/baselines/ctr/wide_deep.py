"""Wide & Deep (Cheng et al. 2016, eq. 3): logit = sum of w_i + dense([e_1; ...; e_F])."""

import tensorflow as tf

from hrlrec_tf.baselines.ctr.config import DenseConfig
from hrlrec_tf.baselines.ctr.dense_stack import DenseStack
from hrlrec_tf.baselines.ctr.formula import Formula
from hrlrec_tf.baselines.ctr.inputs import Fields, FieldTable, LinearTerm, Rows


class WideDeep(Formula):
    """Wide & Deep over all fields, without crosses made by hand; the bias is the dense stack's."""

    NETWORK = DenseConfig

    def make(self, fields: Fields, network: DenseConfig, l2: float) -> None:
        self.linear = LinearTerm(fields, l2, bias=False)
        self.embedding = FieldTable(fields, network.embedding_dim, l2)
        self.dense = DenseStack(network.hidden_units, network.dropout, network.batch_norm)

    def call(self, rows: Rows, training: bool = False) -> tf.Tensor:
        flat = tf.reshape(self.embedding(rows), [-1, self.fields.count * self.network.embedding_dim])
        return self.linear(rows) + self.dense(flat, training=training)
