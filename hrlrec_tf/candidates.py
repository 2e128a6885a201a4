"""A ranking request and its candidates.

Strings stay beside their ids, so that items, channels and tags outside the vocabulary are still told apart when
counting and when avoiding repeats.
"""

from typing import NamedTuple

import tensorflow as tf

from hrlrec_tf import features
from hrlrec_tf.networks.embeddings import Batch

# Counts are read in log2 buckets, the last of which begins far below this; up to it float32 sums are exact.
_MANY = 2**20


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
    _, name = tf.unique(tf.reshape(names, [-1]), tf.int64)
    rows = tf.shape(names, tf.int64)[0]
    row = tf.range(rows)[:, tf.newaxis]
    _, kind = tf.unique(tf.reshape(tf.reshape(name, tf.shape(names)) * rows + row, [-1]))
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


class Tally(NamedTuple):
    """How often channels, or tags, were shown and clicked: names, not all different, whose counts add up."""

    names: tf.Tensor  # [B, E] string
    counts: tf.Tensor  # [B, E, 2] float32 impressions and clicks; 0 for the name ""

    @classmethod
    def of_profile(cls, names: tf.Tensor, impressions: tf.Tensor, clicks: tf.Tensor) -> "Tally":
        """The tally of a profile, [B, P] each."""
        counts = tf.cast(tf.minimum(tf.stack([impressions, clicks], axis=-1), _MANY), tf.float32)
        return cls(names, counts * tf.cast(names != "", tf.float32)[..., tf.newaxis])

    def add(self, names: tf.Tensor) -> "Tally":
        """The tally after each of `names` [B, A], "" for none, was shown once more and not clicked."""
        shown = tf.cast(names != "", tf.float32)
        added = tf.stack([shown, tf.zeros_like(shown)], axis=-1)
        return Tally(tf.concat([self.names, names], axis=1), tf.concat([self.counts, added], axis=1))

    def of_each(self, names: tf.Tensor) -> tf.Tensor:
        """Impressions and clicks of each of `names` [B, A], "" for none: [B, A, 2] float32."""
        matches = tf.cast(self.names[:, :, tf.newaxis] == names[:, tf.newaxis], tf.float32)  # [B, E, A]
        return tf.reduce_sum(matches[..., tf.newaxis] * self.counts[:, :, tf.newaxis], axis=1)


class Seen(NamedTuple):
    """What as-of counts are made of, by the definition of `data/asof.py`: the profile gives impressions and clicks, the
    rows above in the list give impressions only.
    """

    channels: Tally
    tags: Tally

    @classmethod
    def of_request(cls, request: Request) -> "Seen":
        """Before the list."""
        channels, tags = (
            Tally.of_profile(names, *(request.batch[f"profile_{what}_{count}"] for count in ("impressions", "clicks")))
            for what, names in (("channel", request.profile_channel), ("tag", request.profile_tag))
        )
        return cls(channels, tags)

    def add(self, channel: tf.Tensor, tags: tf.Tensor) -> "Seen":
        """After one more row: channel [B] and tags [B, K], strings."""
        return Seen(self.channels.add(tf.expand_dims(channel, 1)), self.tags.add(tags))

    def counts(self, channel: tf.Tensor, tags: tf.Tensor) -> Batch:
        """The features in `features.COUNTS` of a row to be placed next, channel [B] and tags [B, K], strings.

        [B] float32 each, never more than the sum of `_MANY` for each entry.
        """
        return _by_name(self.channels.of_each(channel[:, tf.newaxis])[:, 0], tf.reduce_sum(self.tags.of_each(tags), 1))

    def counts_of_each(self, channel: tf.Tensor, tags: tf.Tensor) -> Batch:
        """`counts` of each of N rows that might be placed next, channel [B, N] and tags [B, N, K]: [B, N] each."""
        # Tag by tag: all at once would be a tensor of [B, E, N * K].
        each_tag = [self.tags.of_each(tag) for tag in tf.unstack(tags, axis=-1)]
        return _by_name(self.channels.of_each(channel), tf.add_n(each_tag))


def _by_name(of_channel: tf.Tensor, of_tags: tf.Tensor) -> Batch:
    """`features.COUNTS` from impressions and clicks [..., 2] of a channel and over tags."""
    values = [*tf.unstack(of_channel, axis=-1), *tf.unstack(of_tags, axis=-1)]
    return dict(zip(features.COUNTS, values, strict=True))
