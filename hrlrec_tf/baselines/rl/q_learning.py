"""The mathematics of Q-learning on logged lists, over tables of Q.

A log holds no candidate sets. What could have been shown at a position is therefore taken to be what the batch shows:
the pool of its valid displayed items, P = B * T of them with padding. A table [P, P] holds in row b * T + t what Q
says, in the state of position t of list b, of every item of the pool; its diagonal is Q of the displayed items. Masks
are [P, P] bool of the same kind. An item that the log shows often is in the pool often: a maximum does not mind, and
means are over impressions.
"""

import tensorflow as tf

from hrlrec_tf import retrieval


def available(item_ids: tf.Tensor, valid: tf.Tensor, unknown: int) -> tf.Tensor:
    """Which items of the pool may stand at each position: the valid ones that do not stand above it.

    Args:
      item_ids: [B, T] displayed; 0 for padding.
      valid: [B, T], not 0 where a row counts.
      unknown: the id of all items that have none of their own: two of them may be different items.

    Returns:
      [P, P] bool.
    """
    size = tf.size(item_ids)
    ids = tf.where(item_ids == unknown, tf.zeros_like(item_ids), item_ids)
    same = (ids[:, :, tf.newaxis] == tf.reshape(item_ids, [-1])) & (ids > 0)[:, :, tf.newaxis]  # [B, T, P]
    above = tf.cumsum(tf.cast(same, tf.int32), axis=1, exclusive=True) > 0
    return tf.reshape(~above, [size, size]) & (tf.reshape(valid, [-1]) > 0)


def displayed(table: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Q of the displayed items, shaped as `like` [B, T]."""
    return tf.reshape(tf.linalg.diag_part(table), tf.shape(like))


def greedy_value(table: tf.Tensor, mask: tf.Tensor, chosen_by: tf.Tensor | None = None) -> tf.Tensor:
    """The value of the best item that may be chosen, of each row: [P]; 0 where none may.

    Args:
      table: values, by the target network.
      mask: which may be chosen.
      chosen_by: the table whose maximum chooses: the online network's in Double DQN (van Hasselt et al. 2016, eq. 4),
        by default `table` itself (Mnih et al. 2015).
    """
    index = retrieval.best(table if chosen_by is None else chosen_by, mask)
    return tf.where(tf.reduce_any(mask, axis=1), tf.gather(table, index, batch_dims=1), 0.0)
