"""Rewards of the two agents (Sec. 3.2 and eq. 7 of the HRL-Rec paper)."""

import tensorflow as tf


def channel_reward(clicks_t: tf.Tensor) -> tf.Tensor:
    """Reward of the channel selector: clicks on the channel shown at position t (Sec. 3.2).

    Args:
      clicks_t: [...] clicks of the displayed item, any numeric dtype.

    Returns:
      [...] float32.
    """
    return tf.cast(clicks_t, tf.float32)


def item_reward(
    factors_t: tf.Tensor, weights_t: tf.Tensor, biases: tf.Tensor | tuple[float, ...], combine: str
) -> tf.Tensor:
    """Reward of the item recommender (eq. 7): clicks, dwell time, diversity and novelty in one number.

    Args:
      factors_t: [..., 4] float; click count, dwell time, tags new to the list, tags new to the user's profile.
      weights_t: [..., 4] float; lambda of the channel shown at t, one per factor.
      biases: 4 floats >= 0, added to the factors.
      combine: `power` (the paper, as we read its exponent): sum of (r + b) ** lambda; `linear`: sum of lambda * (r +
        b).

    Returns:
      [...] float32.
    """
    base = factors_t + tf.constant(biases, tf.float32)
    if combine == "power":
        return tf.reduce_sum(tf.pow(base, weights_t), axis=-1)
    return tf.reduce_sum(weights_t * base, axis=-1)
