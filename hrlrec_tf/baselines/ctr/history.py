"""Pooled as-of history of a row: what its user saw and clicked before its list was shown.

Nothing of the current list counts, neither feedback nor impressions, so that all rows of a list know the same. Values
outside the vocabulary share one id, and so their counts.
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

RECENT = 10  # history rows of the shorter window; the longer one is all that a session carries

# What is counted: all rows, those of the row's channel, those of each of its tags (summed), the newest.
GROUPS = ("user", "user_channel", "user_tag", "recent", "window")

_SMALLEST, _LARGEST = 1e-6, 10.0  # deviation that counts as none; standardised values are clipped, as the transform's


def names(group: str) -> tuple[str, str]:
    """The two features of a group."""
    return f"{group}_click_rate", f"{group}_log_impressions"


def history_counts(batch: Mapping[str, tf.Tensor], group: str) -> tf.Tensor:
    """Impressions and clicks of a group before each list.

    Args:
      batch: transformed sessions with T rows each.
      group: one of GROUPS.

    Returns:
      [B, T, 2] float32.
    """
    if group in ("recent", "window"):
        return _window_counts(batch, RECENT if group == "recent" else batch["history_item_id"].shape[1])
    kind = "tag" if group == "user_tag" else "channel"
    profile = tf.cast(
        tf.stack([batch[f"profile_{kind}_impressions"], batch[f"profile_{kind}_clicks"]], axis=-1), tf.float32
    )  # [B, P, 2]
    if group == "user":
        return _per_row(tf.reduce_sum(profile, axis=1), batch)
    values = batch["tags"] if kind == "tag" else batch["channel"][:, :, tf.newaxis]  # [B, T, K]
    same = (batch[f"profile_{kind}"][:, tf.newaxis, tf.newaxis] == values[..., tf.newaxis]) & (values > 0)[
        ..., tf.newaxis
    ]
    return tf.matmul(tf.reduce_sum(tf.cast(same, tf.float32), axis=2), profile)


def _window_counts(batch: Mapping[str, tf.Tensor], rows: int) -> tf.Tensor:
    shown = batch["history_item_id"][:, -rows:] > 0
    clicked = shown & (batch["history_clicks"][:, -rows:] > 0)
    counts = tf.stack([tf.reduce_sum(tf.cast(each, tf.float32), axis=1) for each in (shown, clicked)], axis=-1)
    return _per_row(counts, batch)


def _per_row(counts: tf.Tensor, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """[B, 2] to [B, T, 2]."""
    return tf.repeat(counts[:, tf.newaxis], tf.shape(batch["channel"])[1], axis=1)


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class HistoryRates(tf.keras.layers.Layer):
    """Smoothed click rate and log of impressions of each group, standardised over the training rows.

    The rate is (clicks + prior_impressions * mean click rate) / (impressions + prior_impressions).

    Args:
      groups: G.
      prior_impressions: what the mean click rate is worth.

    Call:
      counts: [R, G, 2] impressions and clicks. Returns [R, 2 G], in the order of `names`.
    """

    def __init__(self, groups: int, prior_impressions: float = 10.0, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "trainable": False})
        self.groups, self.prior_impressions = groups, prior_impressions
        self.click_rate = self.add_weight("click_rate", [], initializer="zeros", trainable=False)
        self.mean = self.add_weight("mean", [2 * groups], initializer="zeros", trainable=False)
        self.deviation = self.add_weight("deviation", [2 * groups], initializer="ones", trainable=False)

    def adapt(self, counts: tf.Tensor, labels: tf.Tensor) -> None:
        """Takes the mean click rate, means and deviations from the training rows: [R, G, 2] and [R]."""
        self.click_rate.assign(tf.reduce_mean(labels))
        mean, variance = tf.nn.moments(self._raw(counts), axes=[0])
        self.mean.assign(mean)
        self.deviation.assign(tf.sqrt(variance))

    def call(self, counts: tf.Tensor) -> tf.Tensor:
        scaled = (self._raw(counts) - self.mean) / self.deviation
        # What never varies in training says nothing, however it varies later.
        scaled = tf.where(self.deviation > _SMALLEST, scaled, tf.zeros_like(scaled))
        return tf.clip_by_value(scaled, -_LARGEST, _LARGEST)

    def _raw(self, counts: tf.Tensor) -> tf.Tensor:
        impressions, clicks = tf.unstack(counts, axis=-1)
        prior = self.prior_impressions
        rates = (clicks + prior * self.click_rate) / (impressions + prior)
        return tf.reshape(tf.stack([rates, tf.math.log1p(impressions)], axis=-1), [-1, 2 * self.groups])

    def get_config(self) -> dict:
        return {**super().get_config(), "groups": self.groups, "prior_impressions": self.prior_impressions}
