"""The linear state of DQN (LR): no attention, no GRU, no order of the rows."""

from typing import Any

import tensorflow as tf

from hrlrec_tf.networks.checks import check_size
from hrlrec_tf.networks.state_encoder import Carry


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class LinearStateEncoder(tf.keras.layers.Layer):
    """s_t = W m_t + V p + b: m_t is the mean of the fields of all rows before position t, p the user's profile.

    It stands in `StateEncoder`'s place, with its interface and a fixed window. Masked rows do not count; without any
    row m_t is zero.

    Args:
      units: U, size of the state.

    Call:
      fields: [B, S, n, D] behaviours, oldest first. profile: [B, P]. mask: [B, S] bool, False for padding.
      states: T, how many of the last states to return.
      Returns [B, T, U]: the states before the last T - 1 rows and after each of them.

    Raises:
      ConfigError: units is no size.
    """

    def __init__(self, units: int = 128, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_size("LinearStateEncoder", "units", units)
        self.units = units
        self.interaction = tf.identity  # fields do not interact
        self.row_weights = tf.keras.layers.Dense(units, use_bias=False, dtype=self.dtype_policy, name="row_weights")
        self.profile_weights = tf.keras.layers.Dense(units, dtype=self.dtype_policy, name="profile_weights")

    def call(
        self, fields: tf.Tensor, profile: tf.Tensor, mask: tf.Tensor, states: int = 1, training: bool = False
    ) -> tf.Tensor:
        sums = tf.cumsum(_counted(fields) * tf.cast(mask, fields.dtype)[..., tf.newaxis], axis=1)
        sums = tf.concat([tf.zeros_like(sums[:, :1]), sums], axis=1)[:, -states:]
        return self._states(sums) + self.profile_weights(profile)[:, tf.newaxis]

    def start(self, fields: tf.Tensor, profile: tf.Tensor, mask: tf.Tensor) -> Carry:
        """Encodes a history for `read` and `advance`: fields [B, H, n, D], profile [B, P], mask [B, H]."""
        sums = tf.reduce_sum(_counted(fields) * tf.cast(mask, fields.dtype)[..., tf.newaxis], axis=1)
        memory = tf.concat([self.profile_weights(profile), sums], axis=-1)
        return Carry(memory, tf.zeros_like(sums[:, tf.newaxis][:, :0]), mask[:, :0])

    def read(self, carry: Carry) -> tf.Tensor:
        """The state that a carry stands for: [B, U]."""
        return carry.memory[:, : self.units] + self._states(carry.memory[:, self.units :])

    def advance(self, carry: Carry, fields: tf.Tensor) -> Carry:
        """One more placed row, fields [B, n, D]."""
        added = _counted(fields[:, tf.newaxis])[:, 0]
        return carry._replace(memory=carry.memory + tf.pad(added, [[0, 0], [self.units, 0]]))

    def _states(self, sums: tf.Tensor) -> tf.Tensor:
        """Of the rows' sums and count, [..., n * D + 1]: [..., U]."""
        return self.row_weights(tf.math.divide_no_nan(sums[..., :-1], sums[..., -1:]))

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units}


def _counted(fields: tf.Tensor) -> tf.Tensor:
    """Rows [B, S, n, D] as vectors that end with a 1, whose sum is their number: [B, S, n * D + 1]."""
    size = fields.shape[-2] * fields.shape[-1]
    rows = tf.reshape(fields, tf.concat([tf.shape(fields)[:2], [size]], axis=0))
    return tf.concat([rows, tf.ones_like(rows[..., :1])], axis=-1)
