"""Logistic regression: logit = b + sum over fields of w_i."""

import tensorflow as tf

from hrlrec_tf.baselines.ctr.config import LinearConfig
from hrlrec_tf.baselines.ctr.formula import Formula
from hrlrec_tf.baselines.ctr.inputs import Fields, LinearTerm, Rows


class Lr(Formula):
    """LR over all fields."""

    def make(self, fields: Fields, network: LinearConfig, l2: float) -> None:
        self.linear = LinearTerm(fields, l2)

    def call(self, rows: Rows, training: bool = False) -> tf.Tensor:
        return self.linear(rows)
