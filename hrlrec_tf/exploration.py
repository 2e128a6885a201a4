"""Epsilon-greedy exploration over the input candidates (Sec. 3.5) with exact propensities.

At each position, with probability epsilon the displayed item is drawn uniformly from the candidates not placed yet;
otherwise the policy's own choice stands. Given the items placed above, the policy's choice is deterministic, so the
probability of a displayed item is the sum over the two paths that lead to it:

    p(d_t | prefix) = (1 - epsilon) * [d_t is the policy's choice] + epsilon / remaining
    p(c_t | prefix) = (1 - epsilon) * [c_t is the policy's channel] + epsilon * remaining in c_t / remaining

The log takes p(c_t | prefix) and p(d_t | prefix, c_t), whose product is p(d_t | prefix).
"""

from typing import NamedTuple

import tensorflow as tf


class Choice(NamedTuple):
    """What one position shows: candidate index, whether it was drawn at random, and the two factors; each [batch]."""

    index: tf.Tensor
    explored: tf.Tensor
    propensity_channel: tf.Tensor
    propensity_item: tf.Tensor


def epsilon_greedy(greedy: tf.Tensor, channels: tf.Tensor, available: tf.Tensor, epsilon: tf.Tensor) -> Choice:
    """Keeps the policy's choice or draws one at random.

    Args:
      greedy: [batch] int32, the policy's candidate.
      channels: [batch, N] the candidates' channels, any dtype that compares.
      available: [batch, N] bool, not placed yet.
      epsilon: [batch] float in [0, 1].
    """
    uniform = tf.random.uniform(tf.shape(available))
    draw = tf.argmax(tf.where(available, uniform, -1.0), axis=-1, output_type=tf.int32)
    explored = tf.random.uniform(tf.shape(epsilon)) < epsilon
    index = tf.where(explored, draw, greedy)

    shown = tf.gather(channels, index, batch_dims=1)
    in_channel = available & tf.equal(channels, shown[:, tf.newaxis])
    remaining = _count(available)
    policy_channel = tf.cast(tf.equal(tf.gather(channels, greedy, batch_dims=1), shown), tf.float32)
    policy_item = tf.cast(tf.equal(index, greedy), tf.float32)
    p_channel = (1 - epsilon) * policy_channel + epsilon * tf.math.divide_no_nan(_count(in_channel), remaining)
    p_both = (1 - epsilon) * policy_item + tf.math.divide_no_nan(epsilon, remaining)
    return Choice(index, explored, p_channel, tf.math.divide_no_nan(p_both, p_channel))


def _count(mask: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(mask, tf.float32), axis=-1)
