"""A ranking request and its candidates.

Strings stay beside their ids, so that items, channels and tags outside the vocabulary are still told apart when
counting and when avoiding repeats.
"""

from typing import NamedTuple

import tensorflow as tf

from hrlrec_tf.networks.embeddings import Batch


class Candidates(NamedTuple):
    """Items to choose from, N per request; padding has item id ""."""

    rows: Batch  # transformed item features [B, N], tags [B, N, K]
    item_id: tf.Tensor  # [B, N] string
    channel: tf.Tensor  # [B, N] string
    tags: tf.Tensor  # [B, N, K] string


class Request(NamedTuple):
    """Who asks, and when."""

    batch: Batch  # transformed request, history and profile features
    profile_channel: tf.Tensor  # [B, P] string
    profile_tag: tf.Tensor  # [B, P'] string


def kinds(names: tf.Tensor) -> tf.Tensor:
    """Numbers below B * N for names [B, N], equal for equal names of one row, different between rows: int32."""
    rows = tf.repeat(tf.strings.as_string(tf.range(tf.shape(names)[0])), tf.shape(names)[1])
    _, kind = tf.unique(tf.strings.join([rows, tf.reshape(names, [-1])], " "))
    return tf.reshape(kind, tf.shape(names))


def first_of_each(kind: tf.Tensor, among: tf.Tensor) -> tf.Tensor:
    """Whether a candidate is the first of its kind: bool [B, N].

    Args:
      kind: [B, N]; see `kinds`.
      among: [B, N] bool, which candidates count; the others are never the first.
    """
    size = tf.size(kind)
    places = tf.where(among, tf.reshape(tf.range(size), tf.shape(kind)), size)
    first = tf.math.unsorted_segment_min(places, kind, size)
    return among & (tf.gather(first, kind) == places)


def as_of_counts(
    request: Request, channel: tf.Tensor, tags: tf.Tensor, channels_above: tf.Tensor, tags_above: tf.Tensor
) -> Batch:
    """As-of counts of a row to be placed, by the definition of `data/asof.py`.

    The profile gives impressions and clicks; the rows above give impressions only.

    Args:
      request: with the user's profile.
      channel: [B] and tags: [B, K], strings of the row.
      channels_above: [B, T] and tags_above: [B, T, K], strings of the rows placed before, "" from the row on.

    Returns:
      The features in `features.COUNTS`, [B] int64 each.
    """

    def count(values: tf.Tensor, matches: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(values * tf.cast(matches, values.dtype), axis=-1)

    same_channel = request.profile_channel == channel[:, tf.newaxis]
    # [B, P']: how many of the row's tags each profile entry is.
    same_tag = tf.reduce_sum(
        tf.cast(
            (request.profile_tag[:, tf.newaxis] == tags[..., tf.newaxis]) & (tags != "")[..., tf.newaxis], tf.int64
        ),
        axis=1,
    )
    above = (tags_above[:, :, tf.newaxis] == tags[:, tf.newaxis, :, tf.newaxis]) & (tags != "")[
        :, tf.newaxis, :, tf.newaxis
    ]
    batch = request.batch
    return {
        "channel_impressions": count(batch["profile_channel_impressions"], same_channel)
        + count(tf.ones_like(channels_above, dtype=tf.int64), channels_above == channel[:, tf.newaxis]),
        "channel_clicks": count(batch["profile_channel_clicks"], same_channel),
        "tag_impressions": count(batch["profile_tag_impressions"], same_tag)
        + tf.reduce_sum(tf.cast(above, tf.int64), axis=[1, 2, 3]),
        "tag_clicks": count(batch["profile_tag_clicks"], same_tag),
    }
