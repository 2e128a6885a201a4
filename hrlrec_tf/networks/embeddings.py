"""Embedding tables and the field embeddings made from them (Sec. 3.2: raw features -> n = 4 field groups).

Each field is the sum of its features' embeddings: a row of a table for a categorical feature, the mean of its rows
for a multi-valued one, value times a learnt vector for a numeric one. All tables live here, in one
`SessionEmbedding`; the two levels of HRL-Rec share them and nothing else.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from hrlrec_tf import features
from hrlrec_tf.features import FeatureSpec, Kind
from hrlrec_tf.networks.feature_tower import FeatureTower

Batch = Mapping[str, tf.Tensor]

COUNT_BUCKETS = 16  # log2 buckets of impression and click counts
GAP_BUCKETS = 28  # log2 buckets of seconds between a history row and the list
DWELL_BUCKETS = 13  # log2 buckets of seconds
_UNKNOWN, _NOT_CLICKED, _CLICKED = 0, 1, 2  # feedback ids; dwell buckets follow _CLICKED
_DAY_MS = 86_400_000
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0


def log2_bucket(values: tf.Tensor, buckets: int) -> tf.Tensor:
    """floor(log2(1 + max(values, 0))), at most `buckets - 1`; NaN counts as 0: int32, shape of `values`."""
    values = tf.cast(values, tf.float32)
    magnitude = tf.math.log1p(tf.where(values > 0, values, 0.0)) / tf.math.log(2.0)
    return tf.cast(tf.minimum(magnitude + 1e-6, buckets - 1), tf.int32)  # an infinity has no int32 to be cast to


def hour_of_day(timestamp: tf.Tensor) -> tf.Tensor:
    """0 to 23, UTC, of ms UTC; same shape."""
    return timestamp // 3_600_000 % 24


def weekday(timestamp: tf.Tensor) -> tf.Tensor:
    """0 (Monday) to 6, UTC, of ms UTC; same shape."""
    return (timestamp // _DAY_MS + _EPOCH_WEEKDAY) % 7


def feedback_ids(clicks: tf.Tensor, dwell_seconds: tf.Tensor) -> tf.Tensor:
    """Feedback of a history row as one id: not clicked, or clicked with a dwell bucket: int32, same shape."""
    clicked = _CLICKED + log2_bucket(dwell_seconds, DWELL_BUCKETS)
    return tf.where(clicks > 0, clicked, tf.fill(tf.shape(clicked), _NOT_CLICKED))


class Rows(NamedTuple):
    """Impressed behaviours (history rows, then placed rows), S of them, as field embeddings."""

    context: tf.Tensor  # [B, S, D] field (b)
    channel: tf.Tensor  # [B, S, D] field (c) of the channel selector, with feedback
    item: tf.Tensor  # [B, S, D] field (c) of the item recommender, with feedback
    channel_counts: tf.Tensor  # [B, S, D] field (d) of the channel selector
    item_counts: tf.Tensor  # [B, S, D] field (d) of the item recommender


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class SessionEmbedding(tf.keras.layers.Layer):
    """All embedding tables, and the fields (a) to (d) of eq. 1.

    Args:
      spec: the log's features.
      sizes: vocabulary name -> number of ids; larger item ids read as the largest, that of unknown items.
      dim: D.
      user_id: whether the user's id is a profile feature.
      history_length: how many of the newest history rows to use; all by default.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        sizes: Mapping[str, int],
        dim: int = 32,
        user_id: bool = True,
        history_length: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.history_length = spec.history_length if history_length is None else history_length
        self._unused_history = spec.history_length - self.history_length
        users = spec.columns(features.USER_PREFIX)
        contexts = spec.columns(features.CONTEXT_PREFIX)
        self.spec, self.sizes, self.dim, self.user_id = spec, dict(sizes), dim, user_id
        self.channels = self.sizes["channel"]
        self.items = self._tower("items", _sizes(spec.item, sizes), _numeric(spec.item))
        self.users = (
            self._tower(
                "users",
                {**({"user_id": sizes["user_id"]} if user_id else {}), **_sizes(users, sizes)},
                _numeric(users),
            )
            if user_id or users
            else None
        )
        self.request_contexts = (
            self._tower("contexts", _sizes(contexts, sizes), _numeric(contexts)) if contexts else None
        )
        self.row_contexts = self._tower(
            "row_contexts", {"position": spec.list_length + 2, "hour": 24, "weekday": 7, "gap": GAP_BUCKETS}
        )
        self.feedback = {
            level: tf.keras.layers.Embedding(
                _CLICKED + DWELL_BUCKETS, dim, dtype=self.dtype_policy, name=f"{level}_feedback"
            )
            for level in ("channel", "item")
        }
        counts = dict.fromkeys(features.COUNTS, COUNT_BUCKETS)
        self.channel_counts = self._tower(
            "channel_counts", {n: s for n, s in counts.items() if n.startswith("channel")}
        )
        self.item_counts = self._tower("item_counts", counts)

    def _tower(self, name: str, sizes: Mapping[str, int], numeric: tuple[str, ...] = ()) -> FeatureTower:
        return FeatureTower(sizes, numeric, self.dim, dtype=self.dtype_policy, name=name)

    @property
    def vocabulary_tables(self) -> dict[str, tf.Variable]:
        """Vocabulary -> the table with one row per id, of those that are embedded; [ids, D], once it is built."""
        towers = [tower for tower in (self.items, self.users, self.request_contexts) if tower is not None]
        return {name: table.embeddings for tower in towers for name, table in tower.tables.items()}

    def profile(self, batch: Batch) -> tf.Tensor:
        """Field (a), the user's long-term profile: [B, D]; zeros in a log without any user feature."""
        if self.users is None:
            return tf.zeros([tf.shape(batch["timestamp"])[0], self.dim], self.compute_dtype)
        return self.users(batch)

    def item_embeddings(self, rows: Batch) -> tf.Tensor:
        """Embeddings of items, wherever they stand: [..., D]."""
        return self.items({**rows, "item_id": tf.minimum(rows["item_id"], self.sizes["item_id"] - 1)})

    def channel_embeddings(self, channel: tf.Tensor) -> tf.Tensor:
        """Embeddings of channels: [..., D]."""
        return self.items.look_up("channel", channel)

    def context(self, timestamp: tf.Tensor, position: tf.Tensor, gap_seconds: tf.Tensor) -> tf.Tensor:
        """Row part of field (b): position in its list, hour, weekday and age of a row: [B, S, D].

        Args:
          timestamp: [B, S] int64 ms UTC. position: [B, S] from 1. gap_seconds: [B, S] before the list, 0 inside it.
        """
        return self.row_contexts(
            {
                "position": tf.clip_by_value(position, 0, self.spec.list_length + 1),
                "hour": hour_of_day(timestamp),
                "weekday": weekday(timestamp),
                "gap": log2_bucket(gap_seconds, GAP_BUCKETS),
            }
        )

    def request_context(self, batch: Batch) -> tf.Tensor:
        """Request part of field (b), from the log's `context_*` columns: [B, D]."""
        if self.request_contexts is None:
            return tf.zeros([tf.shape(batch["timestamp"])[0], self.dim], self.compute_dtype)
        return self.request_contexts(batch)

    def history(self, batch: Batch) -> Rows:
        """The history rows in use, with their feedback."""
        newest = {name: batch[name][:, self._unused_history :] for name in self.spec.history_rows}
        rows = {name: newest[features.HISTORY + name] for name in (*self.spec.item, *features.COUNTS)}
        timestamp = newest["history_timestamp"]
        gap = (batch["timestamp"][:, tf.newaxis] - timestamp) // 1000
        context = self.context(timestamp, newest["history_position"], gap)
        return self._rows(rows, context, feedback_ids(newest["history_clicks"], newest["history_dwell_seconds"]))

    def history_mask(self, batch: Batch) -> tf.Tensor:
        """Which of the history rows in use are no padding: [B, H] bool."""
        return batch["history_item_id"][:, self._unused_history :] > 0

    def placed(self, batch: Batch, rows: Batch, position: tf.Tensor) -> Rows:
        """Rows of the current list, feedback unknown.

        Args:
          batch: request features.
          rows: item features and as-of counts, [B, S].
          position: [B, S] from 1.
        """
        return self._rows(rows, self.list_context(batch, position), tf.constant(_UNKNOWN))

    def unknown_feedback(self) -> dict[str, tf.Tensor]:
        """Level -> embedding of feedback that is not known, [D]."""
        return {level: table(tf.constant(_UNKNOWN)) for level, table in self.feedback.items()}

    def placed_in(self, context: tf.Tensor, rows: Batch, feedback: Mapping[str, tf.Tensor], items: tf.Tensor) -> Rows:
        """`placed` where most is known already.

        Args:
          context: field (b), [..., D]. rows: `channel` and as-of counts, [...]. feedback: `unknown_feedback`.
          items: the items' embeddings, [..., D].
        """
        channel_counts, item_counts = self._counts(rows)
        channel = self.channel_embeddings(rows["channel"]) + feedback["channel"]
        return Rows(context, channel, items + feedback["item"], channel_counts, item_counts)

    def list_context(self, batch: Batch, position: tf.Tensor) -> tf.Tensor:
        """Field (b) of positions of the current list: [B, S, D]."""
        timestamp = tf.broadcast_to(batch["timestamp"][:, tf.newaxis], tf.shape(position))
        context = self.context(timestamp, position, tf.zeros_like(position))
        return context + self.request_context(batch)[:, tf.newaxis]

    def _rows(self, rows: Batch, context: tf.Tensor, feedback: tf.Tensor) -> Rows:
        channel = self.channel_embeddings(rows["channel"]) + self.feedback["channel"](feedback)
        item = self.item_embeddings(rows) + self.feedback["item"](feedback)
        return Rows(context, channel, item, *self._counts(rows))

    def _counts(self, rows: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """Field (d) of both levels: [..., D] each."""
        buckets = log2_bucket(tf.stack([rows[name] for name in features.COUNTS]), COUNT_BUCKETS)
        counts = dict(zip(features.COUNTS, tf.unstack(buckets), strict=True))
        return self.channel_counts(counts), self.item_counts(counts)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "spec": self.spec.to_dict(),
            "sizes": dict(self.sizes),
            "dim": self.dim,
            "user_id": self.user_id,
            "history_length": self.history_length,
        }

    @classmethod
    def from_config(cls, config: dict) -> "SessionEmbedding":
        """Inverse of `get_config`."""
        return cls(**{**config, "spec": FeatureSpec.from_dict(config["spec"])})


def _sizes(columns: Mapping[str, Kind], sizes: Mapping[str, int]) -> dict[str, int]:
    return {name: sizes[name] for name, kind in columns.items() if kind is Kind.STRING}


def _numeric(columns: Mapping[str, Kind]) -> tuple[str, ...]:
    return tuple(name for name, kind in columns.items() if kind is Kind.FLOAT)
