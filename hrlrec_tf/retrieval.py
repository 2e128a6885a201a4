"""From virtual actions to real channels and items (Sec. 3.2, 3.3): cosine search over the candidates.

Shapes: actions [batch, D], candidates [batch, N, D], masks [batch, N] (True: may be chosen). Ties go to the candidate
that stands first. Where no candidate may be chosen the index is 0 and the caller must not use it.
"""

import tensorflow as tf

from hrlrec_tf.precision import at_least_float32

_NEVER = -2.0  # below every cosine


def cosine_similarities(actions: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
    """Cosine of each action with each candidate.

    Args:
      actions: [A, D].
      candidates: [N, D], or [A, N, D] with a set of its own for each action.

    Returns:
      [A, N], float32 or better: half precision would tie candidates. 0 where either vector is zero.
    """
    actions = tf.math.l2_normalize(at_least_float32(actions), axis=-1)
    candidates = tf.math.l2_normalize(at_least_float32(candidates), axis=-1)
    if candidates.shape.rank == 2:
        return tf.matmul(actions, candidates, transpose_b=True)
    return tf.linalg.matvec(candidates, actions)


def nearest(similarities: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Index of the most similar candidate that may be chosen: [batch] int32; NaN is similar to nothing."""
    similarities = tf.where(tf.math.is_nan(similarities), -1.0, similarities)
    return tf.argmax(tf.where(mask, similarities, _NEVER), axis=-1, output_type=tf.int32)


def select_item(similarities: tf.Tensor, in_channel: tf.Tensor, available: tf.Tensor) -> tf.Tensor:
    """Candidate most similar to the item recommender's action inside the selected channel, not placed before:
    [batch].
    """
    return nearest(similarities, in_channel & available)
