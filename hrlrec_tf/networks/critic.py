"""Critic (eq. 5, 8): value of an action in a state."""

import math
from typing import Any

import tensorflow as tf

_HEADS = {"relu": tf.nn.relu, "linear": tf.identity, "softplus": tf.nn.softplus}
_SMALLEST_START = 1e-3  # softplus is above 0


class Critic(tf.keras.layers.Layer):
    """q = head(w1.s + w2.a + b) (eq. 5, 8).

    With form `interaction` a term a.(W s) joins: then dQ/da differs from state to state, which eq. 5 cannot give.

    Args:
      head: `relu` (the paper's; it can die), `linear` or `softplus`.
      form: `linear` (the paper's) or `interaction`.
      action_dim: D, size of the actions.

    Call:
      states: [..., S]. actions: [..., D]. Returns [...].
    """

    def __init__(self, head: str = "relu", form: str = "linear", action_dim: int = 32, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.head, self.form, self.action_dim = head, form, action_dim
        self.state_weights = tf.keras.layers.Dense(1, name="state_weights")
        self.action_weights = tf.keras.layers.Dense(1, use_bias=False, name="action_weights")
        if form == "interaction":
            self.interaction = tf.keras.layers.Dense(action_dim, use_bias=False, name="interaction")

    def call(self, states: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
        value = tf.squeeze(self.state_weights(states) + self.action_weights(actions), axis=-1)
        if self.form == "interaction":
            value += tf.reduce_sum(self.interaction(states) * actions, axis=-1)
        return _HEADS[self.head](value)

    def start_at(self, mean_return: float) -> None:
        """Sets the bias so that Q starts at the mean logged return; a ReLU that starts below 0 never learns."""
        if self.head == "softplus":
            mean_return = max(mean_return, _SMALLEST_START)
            mean_return += math.log(-math.expm1(-mean_return))  # softplus' inverse
        self.state_weights.bias.assign([mean_return])

    def get_config(self) -> dict:
        return {**super().get_config(), "head": self.head, "form": self.form, "action_dim": self.action_dim}
