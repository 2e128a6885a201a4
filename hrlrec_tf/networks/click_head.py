"""Click head (eq. 16): click probability of a real item, given a virtual one."""

from typing import Any

import tensorflow as tf

from hrlrec_tf.errors import ConfigError
from hrlrec_tf.networks.checks import check_choice, check_same_width

FORMS = ("linear", "interaction", "state", "counts")
_HIDDEN = 64  # units through which a state meets an item


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class ClickHead(tf.keras.layers.Layer):
    """logit = w.[a; d] + b (eq. 16).

    With form `interaction` a term k * a.d joins, k learnt: the paper's form ranks items the same for every user. With
    form `state` a term v.relu(W1 s + W2 d + W3 (W4 s * d)) joins as well: an action has room for what a user wants, not
    for how much that user clicks. With form `counts` it is v.relu(... + W5 c) + u.c, c saying how often the user was
    shown, and clicked, the item's channel and tags: no product of embeddings counts that well.
    Computes in its weights' type under a mixed policy too: a logit of 8 bits would tie items.

    Args:
      form: `linear` (the paper's), `interaction`, `state` or `counts`.

    Call:
      actions: [..., D]. items: [..., D]. states: [..., S], read by the forms `state` and `counts`. counts: [..., C],
      read by form `counts`; see `cumulative.read_counts` (all broadcast against each other). Returns logits [...];
      the actions' Keras mask passes through.

    Raises:
      ConfigError: form is unknown, actions and items differ in size, or a form gets no states or counts to read.
    """

    def __init__(self, form: str = "linear", **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        check_choice("ClickHead", "form", form, FORMS)
        self.form = form
        self.action_weights = tf.keras.layers.Dense(1, dtype=self.variable_dtype, name="action_weights")
        self.item_weights = tf.keras.layers.Dense(1, use_bias=False, dtype=self.variable_dtype, name="item_weights")
        self.supports_masking = True

    def build(self, shape: tf.TensorShape) -> None:
        if self.form != "linear":
            self.scale = self.add_weight(
                name="scale",
                shape=(),
                initializer=tf.keras.initializers.Constant(5.0),
                experimental_autocast=False,
            )
        if self.reads_states:
            self.similarity_scale = self.add_weight(
                name="similarity_scale",
                shape=(),
                initializer=tf.keras.initializers.Constant(5.0),
                experimental_autocast=False,
            )
            dense, dtype = tf.keras.layers.Dense, self.variable_dtype
            self.item_filter = dense(shape[-1], dtype=dtype, name="item_filter")
            self.hidden = [
                dense(_HIDDEN, use_bias=name == "states", dtype=dtype, name=f"hidden_{name}")
                for name in ("states", "items", "filtered")
            ]
            self.hidden_weights = dense(1, use_bias=False, dtype=dtype, name="hidden_weights")
            if self.form == "counts":
                self.hidden.append(dense(_HIDDEN, use_bias=False, dtype=dtype, name="hidden_counts"))
                self.count_weights = dense(1, use_bias=False, dtype=dtype, name="count_weights")
        super().build(shape)

    @property
    def reads_states(self) -> bool:
        """Whether the form is one that reads states."""
        return self.form in ("state", "counts")

    def call(
        self,
        actions: tf.Tensor,
        items: tf.Tensor,
        states: tf.Tensor | None = None,
        counts: tf.Tensor | None = None,
    ) -> tf.Tensor:
        logits = self._action_logits(actions, items)
        if not self.reads_states:
            return logits
        if states is None:
            raise ConfigError(
                f"ClickHead: form {self.form} needs the states, got none; pass states=, or choose interaction"
            )
        states, items = tf.cast(states, self.variable_dtype), tf.cast(items, self.variable_dtype)
        inputs = [states, items, self.item_filter(states) * items]
        if self.form == "counts":
            if counts is None:
                raise ConfigError("ClickHead: form counts needs counts, got none; pass counts=, or choose state")
            inputs.append(tf.cast(counts, self.variable_dtype))
            logits += tf.squeeze(self.count_weights(inputs[-1]), axis=-1)
        hidden = sum(dense(values) for dense, values in zip(self.hidden, inputs, strict=True))
        return logits + tf.squeeze(self.hidden_weights(tf.nn.relu(hidden)), axis=-1)

    def similarity_logits(self, actions: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """w.a + b + k cos(a, d), of a form that reads states, in a layer that was called before: [...].

        For each action it orders items exactly as the search for the nearest one does (Sec. 3.2, 3.3), so a click loss
        on it teaches actions, and items, where to lie for that search to find what is clicked.
        """
        actions, items = tf.cast(actions, self.variable_dtype), tf.cast(items, self.variable_dtype)
        cosines = tf.reduce_sum(tf.math.l2_normalize(actions, -1) * tf.math.l2_normalize(items, -1), axis=-1)
        return tf.squeeze(self.action_weights(actions), axis=-1) + self.similarity_scale * cosines

    def _action_logits(self, actions: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """What actions and items say without the states: [...]."""
        actions, items = tf.cast(actions, self.variable_dtype), tf.cast(items, self.variable_dtype)
        check_same_width("ClickHead", actions=actions, items=items)
        logits = tf.squeeze(self.action_weights(actions) + self.item_weights(items), axis=-1)
        if self.form == "linear":
            return logits
        return logits + self.scale * tf.reduce_sum(actions * items, axis=-1)

    def get_config(self) -> dict:
        return {**super().get_config(), "form": self.form}
