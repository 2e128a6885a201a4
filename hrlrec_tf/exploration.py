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


class Draws(NamedTuple):
    """Chance for one position."""

    explored: tf.Tensor  # [batch] bool, whether its item is drawn at random
    by_channel: tf.Tensor  # [batch] bool, whether it is a channel that is drawn then
    keys: tf.Tensor  # [batch, N] uniform: whoever has the largest of a set is drawn of it


class Choice(NamedTuple):
    """What a position shows, and what its propensity depends on; each [batch]."""

    index: tf.Tensor  # int32 candidate
    explored: tf.Tensor  # bool, whether it was drawn at random
    greedy: tf.Tensor  # g, int32 candidate
    best: tf.Tensor  # b(c_t), int32 candidate; g without a channel share
    channels: tf.Tensor  # m, float32; 0 without a channel share


def draw(epsilon: tf.Tensor, candidates: tf.Tensor, positions: int, channel_share: float) -> list[Draws]:
    """Chance for each position of a list.

    Args:
      epsilon: [batch] float in [0, 1]. candidates: how many there are, N. channel_share: k in [0, 1].
    """
    size = tf.size(epsilon)
    explored = tf.random.uniform([positions, size]) < epsilon
    by_channel = explored & (tf.random.uniform([positions, size]) < channel_share)
    keys = tf.random.uniform([positions, size, candidates])
    return [Draws(*each) for each in zip(*(tf.unstack(values) for values in (explored, by_channel, keys)), strict=True)]


def choose(policy: Policy, channels: tf.Tensor, available: tf.Tensor, draws: Draws, channel_share: float) -> Choice:
    """Keeps the policy's choice or draws an item, or a channel, at random.

    Args:
      policy: is asked for `best` only with a channel share, and only if something was drawn.
      channels: [batch, N] int in [0, batch * N), equal for candidates of one channel of one request alone.
      available: [batch, N] bool, which may be shown: not placed yet, and allowed.
      draws: for this position.
      channel_share: k in [0, 1].
    """
    index = tf.where(draws.explored, _drawn(draws.keys, available), policy.choice)
    if not channel_share:
        return Choice(index, draws.explored, policy.choice, policy.choice, tf.zeros_like(index, tf.float32))
    one_of_each = first_of_each(channels, available)
    index = tf.where(draws.by_channel, _drawn(draws.keys, one_of_each), index)
    best = _best(policy, channels, index, draws.explored)
    index = tf.where(draws.by_channel, best, index)
    return Choice(index, draws.explored, policy.choice, best, _count(one_of_each))


def propensities(
    choice: Choice, channels: tf.Tensor, available: tf.Tensor, epsilon: tf.Tensor, channel_share: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """p(c_t | prefix) and p(d_t | prefix, c_t) of the choices for all positions of a list, as one computation.

    Args:
      choice: [batch, T] each. channels: [batch, N]. available: [batch, T, N]. epsilon: [batch]. channel_share: k.

    Returns:
      [batch, T] each.
    """
    epsilon = epsilon[:, tf.newaxis]
    shown, remaining, of_items = _channel(channels, choice.index), _count(available), epsilon * (1 - channel_share)
    of_each_channel = tf.math.divide_no_nan(epsilon * channel_share, choice.channels)
    in_channel = _count(available & (channels[:, tf.newaxis] == shown[..., tf.newaxis]))
    kept_channel = (1 - epsilon) * _number(_channel(channels, choice.greedy) == shown)
    kept_item = (1 - epsilon) * _number(choice.index == choice.greedy)
    p_channel = kept_channel + of_items * tf.math.divide_no_nan(in_channel, remaining) + of_each_channel
    by_channel = of_each_channel * _number(choice.index == choice.best)
    p_both = kept_item + tf.math.divide_no_nan(of_items, remaining) + by_channel
    # Rounding may lift a sum of 1 above it, and such a row would be rejected when it comes back in a log.
    p_channel = tf.minimum(p_channel, 1.0)
    return p_channel, tf.minimum(tf.math.divide_no_nan(p_both, p_channel), 1.0)


def _best(policy: Policy, channels: tf.Tensor, index: tf.Tensor, explored: tf.Tensor) -> tf.Tensor:
    """The policy's items b in the channels of candidates [batch]; asks it only if something was drawn: [batch]."""
    asked = tf.cond(tf.reduce_any(explored), lambda: policy.best(index), lambda: policy.choice)
    return tf.where(_channel(channels, index) == _channel(channels, policy.choice), policy.choice, asked)


def _drawn(keys: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """One of the candidates in a mask [batch, N], each as likely as any other: [batch] int32."""
    return tf.argmax(tf.where(mask, keys, -1.0), axis=-1, output_type=tf.int32)


def _channel(channels: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    return tf.gather(channels, index, batch_dims=1)


def _count(mask: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(_number(mask), axis=-1)


def _number(mask: tf.Tensor) -> tf.Tensor:
    return tf.cast(mask, tf.float32)
