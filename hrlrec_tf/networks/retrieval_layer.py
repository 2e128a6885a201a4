"""Channel-constrained retrieval (Sec. 3.2, 3.3) as a Keras layer: from two virtual items to one real one."""

from typing import Any

import tensorflow as tf

from hrlrec_tf import retrieval
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.networks.checks import check_same_width


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class ChannelConstrainedRetrieval(tf.keras.layers.Layer):
    """Picks a channel, then an item inside it, among any number of candidates.

    The channel is that of the candidate most cosine-similar to the channel selector's action; the item is the candidate
    of that channel most similar to the item recommender's action. Ties go to the candidate that stands first. There are
    no weights, and no gradient: train the actions by their losses.

    Call:
      channel_actions, item_actions: [B, D], of the channel selector and of the item recommender.
      candidates: [B, N, D] embeddings, or [N, D] for all requests alike.
      channels: [B, N] or [N], each candidate's channel, string or int.
      available: [B, N] or [N] bool, False for padding and for what stands in the list; None: all are.
      Returns `channel` [B] and `index` [B] int32 into the candidates; where nothing is available "" (or 0) and -1.

    Raises:
      ConfigError: actions and candidates differ in size, candidates have another rank, or `available` is no bool.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def call(
        self,
        channel_actions: tf.Tensor,
        item_actions: tf.Tensor,
        candidates: tf.Tensor,
        channels: tf.Tensor,
        available: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        candidates, channels = tf.convert_to_tensor(candidates), tf.convert_to_tensor(channels)
        _check(channel_actions, tf.convert_to_tensor(item_actions), candidates, available)
        similarities = retrieval.cosine_similarities(channel_actions, candidates)
        channels = tf.broadcast_to(channels, tf.shape(similarities))
        available = tf.broadcast_to(True if available is None else available, tf.shape(similarities))
        channel = tf.gather(channels, retrieval.nearest(similarities, available), batch_dims=1)
        index = retrieval.select_item(
            retrieval.cosine_similarities(item_actions, candidates), channels == channel[:, tf.newaxis], available
        )
        found = tf.reduce_any(available, axis=-1)
        return {"channel": tf.where(found, channel, tf.zeros_like(channel)), "index": tf.where(found, index, -1)}


def _check(
    channel_actions: tf.Tensor, item_actions: tf.Tensor, candidates: tf.Tensor, available: tf.Tensor | None
) -> None:
    layer = "ChannelConstrainedRetrieval"
    check_same_width(layer, channel_actions=channel_actions, item_actions=item_actions, candidates=candidates)
    if candidates.shape.rank not in (2, 3):
        raise ConfigError(
            f"{layer}: candidates must be [N, D] or [B, N, D], got shape {candidates.shape}; drop or add a dimension"
        )
    if available is not None and available.dtype != tf.bool:
        raise ConfigError(
            f"{layer}: available must be bool, got {available.dtype.name}; compare it, for instance ids != 0"
        )
