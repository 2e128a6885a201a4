"""From virtual actions to real channels and items (Sec. 3.2, 3.3): cosine search over the candidates.

Shapes: actions [batch, D], candidates [batch, N, D], masks [batch, N] (True: may be chosen). Ties go to the candidate
that stands first. Where no candidate may be chosen the index is 0 and the caller must not use it.
"""

import tensorflow as tf

from hrlrec_tf.precision import at_least_float32

_NEVER = float("-inf")
_APART = 4.0  # more than two cosines can differ


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


def directions(candidates: tf.Tensor) -> tf.Tensor:
    """Candidates [A, N, D] at unit length, for `products`; those with a NaN point nowhere."""
    unit = tf.math.l2_normalize(at_least_float32(candidates), axis=-1)
    return tf.where(tf.math.is_nan(unit), 0.0, unit)


def products(actions: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
    """Numbers that order the candidates of each action as their cosines do, never NaN: [A, N].

    Args:
      actions: [A, D] of any length. candidates: [A, N, D], their `directions`, which a list needs but once.
    """
    actions = at_least_float32(actions)
    return tf.linalg.matvec(candidates, tf.where(tf.math.is_nan(actions), 0.0, actions))


def nearest(similarities: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Index of the most similar candidate that may be chosen: [batch] int32."""
    return best(_numbers(similarities), mask)


def best(values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Index of the largest value that may be chosen, values [..., N] and mask [..., N] bool: [...] int32."""
    return tf.argmax(tf.where(mask, values, _NEVER), axis=-1, output_type=tf.int32)


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


def nearest_of_batch(
    actions: tf.Tensor, items: tf.Tensor, valid_t: tf.Tensor, channels_t: tf.Tensor | None = None, channels: int = 0
) -> tuple[tf.Tensor, tf.Tensor]:
    """The displayed item of a whole batch that is most similar to each action.

    Args:
      actions: [batch, T, D]. items: [batch, T, D] displayed, in the actions' space.
      valid_t: [batch, T]; items where it is 0 are never found.
      channels_t: [batch, T] logged channels, where only items of an action's own channel may be found (item level).
      channels: number of channel ids.

    Returns:
      The items found [batch, T, D] and whether there was any [batch, T] bool. No gradient passes.
    """
    # A product of all pairs is dear, and so is every pass over its result. Instead of a mask, more components join the
    # vectors: their products add exactly 0 to the cosine of an allowed pair and at least _APART less to any other.
    wanted = [_unit_rows(actions), tf.ones([tf.size(valid_t), 1])]
    offered = [_unit_rows(items), -_APART * tf.cast(tf.reshape(valid_t, [-1, 1]) <= 0, tf.float32)]
    if channels_t is not None:
        own = tf.one_hot(tf.reshape(channels_t, [-1]), channels)
        wanted.append(own)
        offered.append(_APART * (own - 1))
    left, right = tf.concat(wanted, axis=-1), tf.concat(offered, axis=-1)
    index = tf.argmax(tf.matmul(left, right, transpose_b=True), axis=-1, output_type=tf.int32)
    found = tf.reduce_sum(left * tf.gather(right, index), axis=-1) > -_APART / 2
    chosen = tf.gather(tf.reshape(items, [-1, items.shape[-1]]), index)
    return tf.stop_gradient(tf.reshape(chosen, tf.shape(actions))), tf.reshape(found, tf.shape(valid_t))


def _unit_rows(vectors: tf.Tensor) -> tf.Tensor:
    """[..., D] to [rows, D] of unit length, float32 or better."""
    rows = tf.reshape(at_least_float32(tf.stop_gradient(vectors)), [-1, vectors.shape[-1]])
    return tf.math.l2_normalize(rows, axis=-1)


def _numbers(similarities: tf.Tensor) -> tf.Tensor:
    """NaN is similar to nothing."""
    return tf.where(tf.math.is_nan(similarities), -1.0, similarities)
