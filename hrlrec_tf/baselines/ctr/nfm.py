"""Neural FM (He and Chua 2017, eq. 3 to 8): logit = sum of w_i + dense(sum over i < j of e_i * e_j)."""

import tensorflow as tf

from hrlrec_tf.baselines.ctr import crosses
from hrlrec_tf.baselines.ctr.config import DenseConfig
from hrlrec_tf.baselines.ctr.dense_stack import DenseStack
from hrlrec_tf.baselines.ctr.formula import Formula
from hrlrec_tf.baselines.ctr.inputs import Fields, FieldTable, LinearTerm, Rows


class Nfm(Formula):
    """NFM over all fields; the bias is the dense stack's."""

    NETWORK = DenseConfig

    def make(self, fields: Fields, network: DenseConfig, l2: float) -> None:
        self.linear = LinearTerm(fields, l2, bias=False)
        self.embedding = FieldTable(fields, network.embedding_dim, l2)
        self.dense = DenseStack(network.hidden_units, network.dropout, network.batch_norm)

    def call(self, rows: Rows, training: bool = False) -> tf.Tensor:
        crossed = crosses.bi_interaction(self.embedding(rows))
        return self.linear(rows) + self.dense(crossed, training=training)
