"""From virtual actions to real channels and items (Sec. 3.2, 3.3): cosine search over the candidates.

Shapes: actions [batch, D], candidates [batch, N, D], masks [batch, N] (True: may be chosen). Ties go to the candidate
that stands first. Where no candidate may be chosen the index is 0 and the caller must not use it.
"""

import tensorflow as tf

from hrlrec_tf.precision import at_least_float32

_NEVER = float("-inf")


def cosine_similarities(actions: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
    """Cosine of each action with each candidate.

    Args:
      actions: [A, D], or [A, N, D] with one of its own for each candidate.
      candidates: [N, D], or [A, N, D] with a set of its own for each action.

    Returns:
      [A, N], float32 or better: half precision would tie candidates. 0 where either vector is zero.
    """
    actions = tf.math.l2_normalize(at_least_float32(actions), axis=-1)
    candidates = tf.math.l2_normalize(at_least_float32(candidates), axis=-1)
    if actions.shape.rank == 3:
        return tf.reduce_sum(actions * candidates, axis=-1)
    if candidates.shape.rank == 2:
        return tf.matmul(actions, candidates, transpose_b=True)
    return tf.linalg.matvec(candidates, actions)


def nearest(similarities: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Index of the most similar candidate that may be chosen: [batch] int32."""
    return tf.argmax(tf.where(mask, _numbers(similarities), _NEVER), axis=-1, output_type=tf.int32)


def select_item(similarities: tf.Tensor, in_channel: tf.Tensor, available: tf.Tensor) -> tf.Tensor:
    """Candidate most similar to the item recommender's action inside the selected channel, not placed before:
    [batch].
    """
    return nearest(similarities, in_channel & available)


def select_softly(
    similarities: tf.Tensor,
    channel_similarities: tf.Tensor,
    channels: tf.Tensor,
    available: tf.Tensor,
    weight: float,
) -> tf.Tensor:
    """Candidate of any channel under a soft channel constraint: [batch].

    The candidate i with the largest cos(a_item, d_i) + weight * max over j in i's channel of cos(a_channel, d_j), both
    over the candidates not placed before. The larger the weight, the nearer to the hard constraint; 0 ignores the
    channel selector.

    Args:
      similarities: [batch, N] cosines with the item recommender's action, given each candidate's own channel.
      channel_similarities: [batch, N] cosines with the channel selector's action.
      channels: [batch, N] int in [0, batch * N), equal for candidates of one channel of one request alone.
      available: [batch, N] bool.
      weight: at least 0.
    """
    wished = tf.where(available, _numbers(channel_similarities), _NEVER)
    best = tf.gather(tf.math.unsorted_segment_max(wished, channels, tf.size(channels)), channels)
    # Relative to the request's best channel, whose items then keep every digit of their own cosine.
    behind = best - tf.reduce_max(wished, axis=-1, keepdims=True)
    return nearest(_numbers(similarities) + weight * behind, available)


def pool_mask(valid_t: tf.Tensor, channels_t: tf.Tensor | None = None) -> tf.Tensor:
    """Which displayed items of a batch may be the real item nearest to which action: [batch * T, batch * T] bool.

    Args:
      valid_t: [batch, T]; not 0 for rows that count.
      channels_t: [batch, T] logged channels, where only items of an action's own channel may (item level).
    """
    valid = tf.reshape(valid_t, [1, -1]) > 0
    if channels_t is None:
        return tf.repeat(valid, tf.size(valid), axis=0)
    channels = tf.reshape(channels_t, [-1])
    return valid & (channels[:, tf.newaxis] == channels[tf.newaxis])


def _numbers(similarities: tf.Tensor) -> tf.Tensor:
    """NaN is similar to nothing."""
    return tf.where(tf.math.is_nan(similarities), -1.0, similarities)
