"""The deep part of NFM, Wide&Deep, DeepFM and AutoInt+."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from hrlrec_tf.networks.checks import check_size
from hrlrec_tf.networks.dropout import Dropout


class DenseStack(tf.keras.layers.Layer):
    """Dense layers (each: product, batch norm, ReLU, dropout), then one output: [R, N] to [R].

    Weights start Xavier-normal; batch norm forgets as PyTorch's (momentum .9, epsilon 1e-5), as in BARS.

    Args:
      units: size of each hidden layer; none leaves a linear function.
      dropout: share of each hidden layer's outputs.
      batch_norm: whether the layers have it.

    Raises:
      ConfigError: a size is none, or dropout no share.
    """

    def __init__(self, units: Sequence[int], dropout: float = 0.0, batch_norm: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for size in units:
            check_size("DenseStack", "every size in units", size)
        self.units, self.dropout, self.batch_norm = tuple(units), dropout, batch_norm
        self.layers: list[tf.keras.layers.Layer] = []
        for size in units:
            self.layers.append(tf.keras.layers.Dense(size, kernel_initializer="glorot_normal"))
            if batch_norm:
                self.layers.append(tf.keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5))
            self.layers += [tf.keras.layers.ReLU(), Dropout(dropout)]
        self.last = tf.keras.layers.Dense(1, kernel_initializer="glorot_normal", name="last")

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        for layer in self.layers:
            inputs = layer(inputs, training=training)
        return self.last(inputs)[:, 0]

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "units": list(self.units),
            "dropout": self.dropout,
            "batch_norm": self.batch_norm,
        }
