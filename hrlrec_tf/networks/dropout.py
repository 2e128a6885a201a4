"""Dropout whose masks are a function of saved state, and cheap on CPUs."""

import random
from typing import Any

import tensorflow as tf

from hrlrec_tf.networks.checks import check_share

_LEVELS = 256  # of the eight random bits that decide about one element


class Dropout(tf.keras.layers.Layer):
    """Sets a share of the elements to 0 in training and scales the others up.

    The generator's state is tracked: a checkpoint of the layer keeps it, so that a resumed training run draws the masks
    that the unbroken one would have. Elements take eight random bits each, a quarter of what Keras' layer draws; the
    rate is therefore rounded to a multiple of 1/256, and the scale fits the rounded one.

    Args:
      rate: share of elements to drop, in [0, 1).
      seed: of the masks; by default drawn from Python's `random`, as Keras does.

    Call:
      inputs: any shape. Returns the same shape.

    Raises:
      ConfigError: rate is no share.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_share("Dropout", "rate", rate)
        self.rate, self.seed = rate, seed
        self.supports_masking = True
        self._kept = round(_LEVELS * (1 - rate)) or 1
        if self._kept < _LEVELS:
            self._generator = tf.random.Generator.from_seed(random.randint(1, 10**9) if seed is None else seed)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or self._kept == _LEVELS:
            return inputs
        words = self._generator.uniform_full_int([(tf.size(inputs) + 3) // 4], tf.uint32)
        draws = tf.reshape(tf.reshape(tf.bitcast(words, tf.uint8), [-1])[: tf.size(inputs)], tf.shape(inputs))
        return inputs * (tf.cast(draws < self._kept, inputs.dtype) * (_LEVELS / self._kept))

    def get_config(self) -> dict:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
