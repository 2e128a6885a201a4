"""The short path (Sec. 3.2): cumulative channel and item features that join the state directly.

Recomputed for every position from what was placed above it, never from the current list's clicks.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hrlrec_tf import features
from hrlrec_tf.networks.checks import check_size
from hrlrec_tf.networks.embeddings import SessionEmbedding
from hrlrec_tf.precision import at_least_float32

_PER_CHANNEL, _OVERALL = 4, 3  # numbers that are said of each channel, and of all together
_PRIOR_IMPRESSIONS, _PRIOR_CLICKS = 5.0, 0.5  # smooths a rate over few impressions


class Profile(NamedTuple):
    """What a user was shown and clicked before the list."""

    impressions: tf.Tensor  # [B, C] per channel id
    clicks: tf.Tensor  # [B, C]
    shown_tags: tf.Tensor  # [B, D] mean embedding of the tags shown, weighted by impressions
    clicked_tags: tf.Tensor  # [B, D] the same, weighted by clicks


class Placed(NamedTuple):
    """What stands above a position of the current list; [...] is [B] or [B, T]."""

    channels: tf.Tensor  # [..., C] rows per channel id
    tags: tf.Tensor  # [..., D] sum of the rows' mean tag embeddings


def read_profile(embedding: SessionEmbedding, batch: Mapping[str, tf.Tensor]) -> Profile:
    """Long-term profile of a batch, from its `profile_*` features ([B, P], padded with id 0)."""
    channel = tf.one_hot(batch["profile_channel"], embedding.channels)
    known = tf.cast(batch["profile_tag"] > 0, tf.float32)
    tags = at_least_float32(embedding.items.tables["tags"](batch["profile_tag"]))

    def per_channel(name: str) -> tf.Tensor:
        return tf.linalg.matvec(channel, tf.cast(batch[name], tf.float32), transpose_a=True)

    def mean_tag(name: str) -> tf.Tensor:
        weights = tf.cast(batch[name], tf.float32) * known
        total = tf.reduce_sum(weights, axis=-1, keepdims=True)
        return tf.math.divide_no_nan(tf.linalg.matvec(tags, weights, transpose_a=True), total)

    return Profile(
        per_channel("profile_channel_impressions"),
        per_channel("profile_channel_clicks"),
        mean_tag("profile_tag_impressions"),
        mean_tag("profile_tag_clicks"),
    )


def read_placed(embedding: SessionEmbedding, channel: tf.Tensor, tags: tf.Tensor) -> Placed:
    """What each row adds to `Placed`: channel [...] ids, tags [..., K] ids."""
    return Placed(tf.one_hot(channel, embedding.channels), at_least_float32(embedding.items.look_up("tags", tags)))


def read_counts(rows: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """What `features.COUNTS` [...] of rows say: both counts on a log scale and the click rate, of the channel and over
    the tags: [..., 6] float32.
    """
    counts = {name: tf.cast(rows[name], tf.float32) for name in features.COUNTS}
    kinds = [_counts(counts[f"{kind}_impressions"], counts[f"{kind}_clicks"]) for kind in ("channel", "tag")]
    return tf.stack([number for numbers in kinds for number in numbers], axis=-1)


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class CumulativePath(tf.keras.layers.Layer):
    """Cumulative features of a position as one embedding.

    Counts and their rates are float32 under a mixed policy too.

    Args:
      dim: size of the result.
      activation: Keras' name of the function that ends it.

    Call:
      profile: of the user. placed: [B, T, ...]. context: [B, T, D], field (b) of the position.
      constraint: [B, T, C] one-hot of the selected channel at the item level, None at the channel level.
      Returns [B, T, dim]. For one position, T is left out of all of them.

    Raises:
      ConfigError: dim is no size.
    """

    def __init__(self, dim: int = 32, activation: str = "tanh", **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        check_size("CumulativePath", "dim", dim)
        self.dim, self.activation = dim, activation
        self.dense = tf.keras.layers.Dense(dim, activation=activation, dtype=self.dtype_policy, name="dense")

    def call(
        self, profile: Profile, placed: Placed, context: tf.Tensor, constraint: tf.Tensor | None = None
    ) -> tf.Tensor:
        if context.shape.rank == 3:
            positions = tf.shape(context)[1]
            profile = Profile(*(tf.repeat(values[:, tf.newaxis], positions, axis=1) for values in profile))
        impressions, clicks = profile.impressions + placed.channels, profile.clicks
        per_channel = [*_counts(impressions, clicks), placed.channels]
        overall = _counts(*(tf.reduce_sum(values, axis=-1, keepdims=True) for values in (impressions, clicks)))
        parts = [*per_channel, *overall, placed.tags, context]
        if constraint is not None:
            selected = tf.reduce_sum(tf.stack(per_channel, axis=-2) * tf.expand_dims(constraint, -2), axis=-1)
            parts += [selected, constraint]
        parts += [profile.shown_tags, profile.clicked_tags]
        return self.dense(tf.concat([tf.cast(part, self.compute_dtype) for part in parts], axis=-1))

    def channel_rows(self, channels: int, constrained: bool) -> npt.NDArray[np.int64]:
        """Rows of the kernel that see a channel's own number: [blocks, channels]; see `call` for the order of parts.

        Args:
          channels: number of channel ids. constrained: whether `call` is given a constraint.
        """
        starts = [block * channels for block in range(_PER_CHANNEL)]
        if constrained:
            starts.append(_PER_CHANNEL * channels + _OVERALL + 2 * self.dim + _PER_CHANNEL)
        return np.add.outer(starts, np.arange(channels))

    def get_config(self) -> dict:
        return {**super().get_config(), "dim": self.dim, "activation": self.activation}


def _counts(impressions: tf.Tensor, clicks: tf.Tensor) -> list[tf.Tensor]:
    """Both counts on a log scale and the click rate, shape unchanged."""
    rate = (clicks + _PRIOR_CLICKS) / (impressions + _PRIOR_IMPRESSIONS)
    return [tf.math.log1p(impressions), tf.math.log1p(clicks), rate]
