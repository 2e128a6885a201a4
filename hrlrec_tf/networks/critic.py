"""Critic (eq. 5, 8): value of an action in a state."""

import math
from typing import Any

import tensorflow as tf

from hrlrec_tf.errors import ConfigError
from hrlrec_tf.networks.checks import check_choice, check_size

_HEADS = {"relu": tf.nn.relu, "linear": tf.identity, "softplus": tf.nn.softplus}
FORMS = ("linear", "interaction")
_SMALLEST_START = 1e-3  # softplus is above 0


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class Critic(tf.keras.layers.Layer):
    """q = head(w1.s + w2.a + b) (eq. 5, 8).

    With form `interaction` a term a.(W s) joins: then dQ/da differs from state to state, which eq. 5 cannot give.
    Computes in its weights' type under a mixed policy too: a value of 8 bits is too coarse for a TD target.

    Args:
      head: `relu` (the paper's; it can die), `linear` or `softplus`.
      form: `linear` (the paper's) or `interaction`.
      action_dim: D, size of the actions.

    Call:
      states: [..., S]. actions: [..., D]. Returns [...]; the states' Keras mask passes through.

    Raises:
      ConfigError: head or form is unknown, or the actions are not of size `action_dim`.
    """

    def __init__(self, head: str = "relu", form: str = "linear", action_dim: int = 32, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        check_choice("Critic", "head", head, _HEADS)
        check_choice("Critic", "form", form, FORMS)
        check_size("Critic", "action_dim", action_dim)
        self.head, self.form, self.action_dim = head, form, action_dim
        dtype = self.variable_dtype
        self.state_weights = tf.keras.layers.Dense(1, dtype=dtype, name="state_weights")
        self.action_weights = tf.keras.layers.Dense(1, use_bias=False, dtype=dtype, name="action_weights")
        if form == "interaction":
            self.interaction = tf.keras.layers.Dense(action_dim, use_bias=False, dtype=dtype, name="interaction")
        self.supports_masking = True

    def call(self, states: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
        if actions.shape[-1] not in (None, self.action_dim):
            raise ConfigError(
                f"Critic: the last dimension of actions must be action_dim {self.action_dim}, got "
                f"{actions.shape[-1]}; build the critic with action_dim={actions.shape[-1]}"
            )
        return self.end(self.value(states) + self.advantage(states, actions))

    def value(self, states: tf.Tensor) -> tf.Tensor:
        """w1.s + b, what a state is worth whatever is done in it: [...]."""
        return tf.squeeze(self.state_weights(tf.cast(states, self.variable_dtype)), axis=-1)

    def advantage(self, states: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
        """What an action adds: w2.a, and a.(W s) with form `interaction`: [...]."""
        states, actions = tf.cast(states, self.variable_dtype), tf.cast(actions, self.variable_dtype)
        advantage = tf.squeeze(self.action_weights(actions), axis=-1)
        if self.form == "linear":
            return advantage
        return advantage + tf.reduce_sum(self.interaction(states) * actions, axis=-1)

    def end(self, values: tf.Tensor) -> tf.Tensor:
        """The head: Q of the sum of value and advantage."""
        return _HEADS[self.head](values)

    def start_at(self, mean_return: float) -> None:
        """Sets the bias so that Q starts at the mean logged return; a ReLU that starts below 0 never learns."""
        if self.head == "softplus":
            mean_return = max(mean_return, _SMALLEST_START)
            mean_return += math.log(-math.expm1(-mean_return))  # softplus' inverse
        self.state_weights.bias.assign([mean_return])

    def get_config(self) -> dict:
        return {**super().get_config(), "head": self.head, "form": self.form, "action_dim": self.action_dim}
