"""Click head (eq. 16): click probability of a real item, given a virtual one."""

from typing import Any

import tensorflow as tf


class ClickHead(tf.keras.layers.Layer):
    """logit = w.[a; d] + b (eq. 16).

    With form `interaction` a term k * a.d joins, k learnt: the paper's form ranks items the same for every user.

    Args:
      form: `linear` (the paper's) or `interaction`.

    Call:
      actions: [..., D]. items: [..., D] (broadcast against each other). Returns logits [...].
    """

    def __init__(self, form: str = "linear", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.form = form
        self.action_weights = tf.keras.layers.Dense(1, name="action_weights")
        self.item_weights = tf.keras.layers.Dense(1, use_bias=False, name="item_weights")

    def build(self, shape: tf.TensorShape) -> None:
        if self.form == "interaction":
            self.scale = self.add_weight(name="scale", shape=(), initializer=tf.keras.initializers.Constant(5.0))
        super().build(shape)

    def call(self, actions: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        logits = tf.squeeze(self.action_weights(actions) + self.item_weights(items), axis=-1)
        if self.form == "interaction":
            logits += self.scale * tf.reduce_sum(actions * items, axis=-1)
        return logits

    def get_config(self) -> dict:
        return {**super().get_config(), "form": self.form}
