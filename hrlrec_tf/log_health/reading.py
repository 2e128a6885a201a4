"""Session files as plain NumPy arrays, all lists of a bucket of users after each other.

`prepare` puts the lists of a user into files of the same name in every split, so that one pass in order of file names
completes users bucket by bucket, and whatever is kept per user may be dropped with the bucket.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hrlrec_tf.data import schema
from hrlrec_tf.data.examples import SPLITS
from hrlrec_tf.errors import DataError
from hrlrec_tf.features import FeatureSpec

Array = npt.NDArray[Any]

_BATCH = 1024  # lists
_HASHES = (1 << 63) - 1
_ROWS = (
    *("clicks", "dwell_seconds", "position", "weight"),
    *("channel_impressions", "channel_clicks", "tag_impressions", "tag_clicks"),
)
_LIST = ("item_id", "channel", "tags", *_ROWS)
_PROFILE = ("profile_channel_impressions", "profile_channel_clicks")


@dataclasses.dataclass(frozen=True)
class Lists:
    """Some lists of one split. L lists, T rows each (right-padded), K tags a row.

    Attributes:
      split: number of the split, in the order of SPLITS.
      user: [L] hash of the user's id.
      time: [L] ms UTC of the list.
      previous: [L] ms UTC of the user's last impression before the list, 0 if there is none.
      history: [L] history rows that a session carries.
      seen, clicked: [L] the user's impressions and clicks before the list.
      by_rule: [L] whether the list has no request of its own but was made by a list rule.
      item: [L, T] hash of the item's id, -1 in padding.
      channel: [L, T] code of the channel, see `SessionLists.channels`; -1 in padding.
      tags: [L, T, K] hash of each tag, -1 where there is none.
      rows: position, clicks, dwell_seconds, weight (1 for a row of this split), channel_impressions, channel_clicks,
        tag_impressions and tag_clicks, each [L, T].
    """

    split: int
    user: Array
    time: Array
    previous: Array
    history: Array
    seen: Array
    clicked: Array
    by_rule: Array
    item: Array
    channel: Array
    tags: Array
    rows: dict[str, Array]

    @property
    def home(self) -> Array:
        """[L] whether the list begins in this split; a list across a cut stands in both and begins in one."""
        home: Array = self.rows["weight"][:, 0] > 0
        return home

    def take(self, chosen: Array) -> "Lists":
        """Those lists that `chosen`, [L] of bool or row numbers, names."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        taken = {name: value[chosen] for name, value in values.items() if name not in ("split", "rows")}
        return Lists(**taken, split=self.split, rows={name: value[chosen] for name, value in self.rows.items()})


class SessionLists:
    """The lists of a folder that `prepare` wrote, bucket by bucket.

    Attributes:
      spec: the sessions' features.
      channels: names of the channels met so far; a channel's code is its place here.

    Raises:
      DataError: the folder holds no finished sessions.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        if not (folder / "summary.json").is_file():
            raise DataError(
                f"{folder} holds no finished sessions (no summary.json); run hrlrec prepare --out {folder} first"
            )
        self.spec: FeatureSpec = schema.from_schema(schema.read(folder / "schema.pbtxt"))
        files = [path for split in SPLITS for path in (folder / split).glob("*.tfrecord.gz")]
        self._buckets = sorted({path.name for path in files})
        self._files = sorted(files, key=lambda path: (path.name, SPLITS.index(path.parent.name)))
        if not files:
            raise DataError(f"{folder} holds no session files; run hrlrec prepare --out {folder} --overwrite")
        self.channels: list[str] = []
        self._codes: dict[bytes, int] = {}

    @property
    def buckets(self) -> int:
        """How many buckets `read` goes through."""
        return len(self._buckets)

    def read(self) -> Iterator[list[Lists]]:
        """Yields the lists of one bucket of users after the other.

        Raises:
          DataError: a file is damaged.
        """
        bucket, kept = 0, list[Lists]()
        try:
            for number, split, parsed in self._batches().as_numpy_iterator():
                if number != bucket and kept:
                    yield kept
                    kept = []
                bucket = number
                kept.append(self._lists(int(split), parsed))
        except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
            raise DataError(
                f"a session file of {self._files[0].parent.parent} is damaged ({str(error).splitlines()[0]}); "
                "run hrlrec prepare --overwrite"
            ) from error
        if kept:
            yield kept

    def _batches(self) -> tf.data.Dataset:
        """(bucket, split, parsed features) of some lists at a time; a batch never spans files."""
        table = (
            [str(path) for path in self._files],
            [self._buckets.index(path.name) for path in self._files],
            [SPLITS.index(path.parent.name) for path in self._files],
        )

        def open_file(path: tf.Tensor, bucket: tf.Tensor, split: tf.Tensor) -> tf.data.Dataset:
            records = tf.data.TFRecordDataset(path, compression_type="GZIP").batch(_BATCH)
            return records.map(lambda examples: (bucket, split, examples))

        batches = tf.data.Dataset.from_tensor_slices(table).flat_map(open_file)
        return batches.map(
            lambda bucket, split, examples: (bucket, split, _parse(examples, self.spec)), num_parallel_calls=2
        ).prefetch(2)

    def _lists(self, split: int, parsed: dict[str, Array]) -> Lists:
        words, codes = parsed["channel_words"], parsed["channel_codes"]
        known = np.array([-1 if word == b"" else self._code(word) for word in words], np.int32)
        return Lists(
            split=split,
            channel=known[codes].reshape(-1, self.spec.list_length),
            rows={name: parsed[name] for name in _ROWS},
            **{name: parsed[name] for name in ("user", "time", "previous", "history", "seen", "clicked", "by_rule")},
            **{name: parsed[name] for name in ("item", "tags")},
        )

    def _code(self, word: bytes) -> int:
        if word not in self._codes:
            self._codes[word] = len(self.channels)
            self.channels.append(word.decode("utf-8"))
        return self._codes[word]


def rows_of(lists: Sequence[Lists], name: str) -> Array:
    """A feature of all lists, [L, ...]: an attribute of `Lists` or one of its `rows`."""
    return np.concatenate([each.rows[name] if name in each.rows else getattr(each, name) for each in lists])


def _parse(examples: tf.Tensor, spec: FeatureSpec) -> dict[str, tf.Tensor]:
    """What `Lists` holds, of serialized sessions [B]."""
    names = (*_LIST, "request_id", "user_id", "timestamp", "history_timestamp")
    wanted: dict[str, Any] = {
        name: tf.io.FixedLenFeature(
            [] if name in spec.request else [spec.width(name)], tf.as_dtype(spec.session[name].dtype)
        )
        for name in names
    }
    wanted |= {name: tf.io.RaggedFeature(tf.int64) for name in _PROFILE}
    raw = tf.io.parse_example(examples, wanted)
    words, codes = tf.unique(tf.reshape(raw["channel"], [-1]))
    tags = tf.reshape(_hash(raw["tags"]), [-1, spec.list_length, spec.max_tags])
    parsed = {name: raw[name] for name in _ROWS}
    return parsed | {
        "user": _hash(raw["user_id"]),
        "time": raw["timestamp"],
        "previous": raw["history_timestamp"][:, -1],
        "history": tf.reduce_sum(tf.cast(raw["history_timestamp"] > 0, tf.int32), axis=1),
        "seen": tf.reduce_sum(raw["profile_channel_impressions"], axis=1),
        "clicked": tf.reduce_sum(raw["profile_channel_clicks"], axis=1),
        # A list rule calls its lists USER/NUMBER: see `data/lists.py`.
        "by_rule": tf.strings.regex_replace(raw["request_id"], r"/\d+$", "") == raw["user_id"],
        "item": _hash(raw["item_id"]),
        "tags": tags,
        "channel_words": words,
        "channel_codes": codes,
    }


def _hash(texts: tf.Tensor) -> tf.Tensor:
    return tf.where(texts == "", tf.constant(-1, tf.int64), tf.strings.to_hash_bucket_fast(texts, _HASHES))
