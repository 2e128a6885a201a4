"""Hides ids in training, so that a model learns what to do with users and items it has never seen.

Under a split by time most users and many items of tomorrow are out of vocabulary today; without this their shared
embedding would stay as it was initialised, and known ids would be trusted more than what is known about them.
"""

from collections.abc import Mapping

import tensorflow as tf

from hrlrec_tf.data.input import Batch
from hrlrec_tf.features import FeatureSpec

_SEEDS = 8  # per batch, of which `hide_ids` takes one for each feature

_VOCABULARIES = {"user_id": "user_id", "item_id": "item_id", "history_item_id": "item_id"}  # feature -> vocabulary


def hide_in_batches(
    sessions: tf.data.Dataset, spec: FeatureSpec, sizes: Mapping[str, int], rate: float, seed: int, first: int
) -> tf.data.Dataset:
    """`hide_ids` for a run of batches that begins with the `first`-th of its epoch, from 0; `seed` is the epoch's."""

    def hide(number: tf.Tensor, batch: Batch) -> Batch:
        return hide_ids(batch, spec, sizes, rate, tf.stack([tf.constant(seed, tf.int64), number * _SEEDS]))

    return sessions.enumerate(start=first).map(hide)


def hide_ids(batch: Batch, spec: FeatureSpec, sizes: Mapping[str, int], rate: float, seed: tf.Tensor) -> Batch:
    """Replaces a share of the user and item ids by what a value never seen reads as; padding stays padding.

    Of several ids that unknown values share, or of all ids where they are hashed, each is drawn alike.

    Args:
      batch: sessions. spec: their features. sizes: vocabulary name -> number of ids.
      rate: share of users, and of items of each row, to hide.
      seed: [2] int64; the same seed hides the same ids.
    """
    hidden = dict(batch)
    for place, (name, vocabulary) in enumerate(_VOCABULARIES.items()):
        ids, shared = batch[name], spec.id_rule(vocabulary).unknown
        draws = tf.random.stateless_uniform(tf.shape(ids), seed + tf.constant([0, place], seed.dtype))
        unknown = tf.cast(sizes[vocabulary] - 1, ids.dtype)
        if shared > 1:
            other = seed + tf.constant([0, len(_VOCABULARIES) + place], seed.dtype)
            unknown -= tf.random.stateless_uniform(tf.shape(ids), other, 0, shared, ids.dtype)
        hidden[name] = tf.where((ids > 0) & (draws < rate), unknown, ids)
    return hidden
