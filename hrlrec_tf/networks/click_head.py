"""Click head (eq. 16): click probability of a real item, given a virtual one."""

from typing import Any

import tensorflow as tf

from hrlrec_tf.networks.checks import check_choice, check_same_width

FORMS = ("linear", "interaction")


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class ClickHead(tf.keras.layers.Layer):
    """logit = w.[a; d] + b (eq. 16).

    With form `interaction` a term k * a.d joins, k learnt: the paper's form ranks items the same for every user.
    Computes in its weights' type under a mixed policy too: a logit of 8 bits would tie items.

    Args:
      form: `linear` (the paper's) or `interaction`.

    Call:
      actions: [..., D]. items: [..., D] (broadcast against each other). Returns logits [...]; the actions' Keras mask
      passes through.

    Raises:
      ConfigError: form is unknown, or actions and items differ in size.
    """

    def __init__(self, form: str = "linear", **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        check_choice("ClickHead", "form", form, FORMS)
        self.form = form
        self.action_weights = tf.keras.layers.Dense(1, dtype=self.variable_dtype, name="action_weights")
        self.item_weights = tf.keras.layers.Dense(1, use_bias=False, dtype=self.variable_dtype, name="item_weights")
        self.supports_masking = True

    def build(self, shape: tf.TensorShape) -> None:
        if self.form == "interaction":
            self.scale = self.add_weight(
                name="scale",
                shape=(),
                initializer=tf.keras.initializers.Constant(5.0),
                experimental_autocast=False,
            )
        super().build(shape)

    def call(self, actions: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        actions, items = tf.cast(actions, self.variable_dtype), tf.cast(items, self.variable_dtype)
        check_same_width("ClickHead", actions=actions, items=items)
        logits = tf.squeeze(self.action_weights(actions) + self.item_weights(items), axis=-1)
        if self.form == "interaction":
            logits += self.scale * tf.reduce_sum(actions * items, axis=-1)
        return logits

    def get_config(self) -> dict:
        return {**super().get_config(), "form": self.form}
