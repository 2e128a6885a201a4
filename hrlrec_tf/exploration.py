"""Epsilon-greedy exploration over the input candidates (Sec. 3.5) with exact propensities, around any policy.

At each position, given the items placed above,

* with probability 1 - epsilon the policy's own choice g is shown;
* with probability epsilon (1 - k) an item is drawn uniformly from the n candidates not placed yet;
* with probability epsilon k a channel is drawn uniformly from the m channels that still have candidates, and the
  policy's own best item in it, b(c), is shown.

All else being deterministic, the probability of what is shown is the sum over the paths that lead to it, where n(c) is
how many of the n candidates channel c has and b(c(g)) = g:

    p(c_t | prefix) = (1 - epsilon) [c_t = c(g)] + epsilon (1 - k) n(c_t) / n + epsilon k / m
    p(d_t | prefix) = (1 - epsilon) [d_t = g] + epsilon (1 - k) / n + epsilon k [d_t = b(c_t)] / m

The log takes p(c_t | prefix) and p(d_t | prefix, c_t), whose product is p(d_t | prefix). Both are exact for any rule
that makes g and b: a hard channel constraint or a soft one.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from hrlrec_tf.candidates import first_of_each


class Policy(NamedTuple):
    """What is wrapped: a policy's choices for one position, given the items placed above."""

    choice: tf.Tensor  # g, [batch] int32 candidates
    best: Callable[[tf.Tensor], tf.Tensor]  # b: candidates [batch] -> its choice inside the channel of each, [batch]


class Choice(NamedTuple):
    """What one position shows: candidate index, whether it was drawn at random, and the two factors; each [batch]."""

    index: tf.Tensor
    explored: tf.Tensor
    propensity_channel: tf.Tensor
    propensity_item: tf.Tensor


def epsilon_greedy(
    policy: Policy, channels: tf.Tensor, available: tf.Tensor, epsilon: tf.Tensor, channel_share: float
) -> Choice:
    """Keeps the policy's choice or draws an item, or a channel, at random.

    Args:
      policy: is asked for `best` only with a channel share, and only if something was drawn.
      channels: [batch, N] int in [0, batch * N), equal for candidates of one channel of one request alone.
      available: [batch, N] bool, not placed yet.
      epsilon: [batch] float in [0, 1].
      channel_share: k in [0, 1].
    """
    drawn = _draw(available)
    explored = tf.random.uniform(tf.shape(epsilon)) < epsilon
    index = tf.where(explored, drawn, policy.choice)
    best, of_each_channel = policy.choice, tf.zeros_like(epsilon)
    if channel_share:
        one_of_each = first_of_each(channels, available)
        of_each_channel = tf.math.divide_no_nan(epsilon * channel_share, _count(one_of_each))
        by_channel = explored & (tf.random.uniform(tf.shape(epsilon)) < channel_share)
        index = tf.where(by_channel, _draw(one_of_each), index)
        best = _best(policy, channels, index, explored)
        index = tf.where(by_channel, best, index)

    shown, remaining, of_items = _channel(channels, index), _count(available), epsilon * (1 - channel_share)
    in_channel = _count(available & (channels == shown[:, tf.newaxis]))
    kept_channel = (1 - epsilon) * _number(_channel(channels, policy.choice) == shown)
    kept_item = (1 - epsilon) * _number(index == policy.choice)
    p_channel = kept_channel + of_items * tf.math.divide_no_nan(in_channel, remaining) + of_each_channel
    p_both = kept_item + tf.math.divide_no_nan(of_items, remaining) + of_each_channel * _number(index == best)
    # Rounding may lift a sum of 1 above it, and such a row would be rejected when it comes back in a log.
    p_channel = tf.minimum(p_channel, 1.0)
    return Choice(index, explored, p_channel, tf.minimum(tf.math.divide_no_nan(p_both, p_channel), 1.0))


def _best(policy: Policy, channels: tf.Tensor, index: tf.Tensor, explored: tf.Tensor) -> tf.Tensor:
    """The policy's items b in the channels of candidates [batch]; asks it only if something was drawn: [batch]."""
    asked = tf.cond(tf.reduce_any(explored), lambda: policy.best(index), lambda: policy.choice)
    return tf.where(_channel(channels, index) == _channel(channels, policy.choice), policy.choice, asked)


def _draw(mask: tf.Tensor) -> tf.Tensor:
    """One of the candidates in a mask [batch, N], each as likely as any other: [batch] int32."""
    return tf.argmax(tf.where(mask, tf.random.uniform(tf.shape(mask)), -1.0), axis=-1, output_type=tf.int32)


def _channel(channels: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    return tf.gather(channels, index, batch_dims=1)


def _count(mask: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(_number(mask), axis=-1)


def _number(mask: tf.Tensor) -> tf.Tensor:
    return tf.cast(mask, tf.float32)
