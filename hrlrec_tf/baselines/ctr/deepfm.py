"""DeepFM (Guo et al. 2017, eq. 1): logit = sum of w_i + sum over i < j of <e_i, e_j> + dense([e_1; ...; e_F])."""

import tensorflow as tf

from hrlrec_tf.baselines.ctr import crosses
from hrlrec_tf.baselines.ctr.inputs import Rows
from hrlrec_tf.baselines.ctr.wide_deep import WideDeep


class DeepFm(WideDeep):
    """Wide & Deep's layers; the embeddings that the dense stack reads are FM's too."""

    def call(self, rows: Rows, training: bool = False) -> tf.Tensor:
        embedded = self.embedding(rows)
        flat = tf.reshape(embedded, [-1, self.fields.count * self.network.embedding_dim])
        return self.linear(rows) + crosses.second_order(embedded) + self.dense(flat, training=training)
