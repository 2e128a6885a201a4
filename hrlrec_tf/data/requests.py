"""Ranking requests out of prepared sessions: who asked, with what history, about which candidates.

Logs rarely hold candidate sets, so one rule stands in for them everywhere: a request's candidates are the most popular
items of each channel by rows strictly before it, plus what was displayed. Popularity is smoothed,

    (clicks + a * click_rate) / (impressions + a),    a = PRIOR_IMPRESSIONS,

where `click_rate` is that of all rows before the request: an item needs about `a` impressions before its own rate
counts for more than the log's.
"""

import dataclasses
import functools
import itertools
import json
import math
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from hrlrec_tf import features
from hrlrec_tf.data import item_counts, schema
from hrlrec_tf.data.examples import SPLITS
from hrlrec_tf.data.input import session_records
from hrlrec_tf.data.item_counts import ItemCounts
from hrlrec_tf.data.rules import ItemCountsRule
from hrlrec_tf.errors import DataError
from hrlrec_tf.features import FeatureSpec

PER_CHANNEL = 200
PRIOR_IMPRESSIONS = 20.0

Request = dict[str, Any]

_BATCH = 1024


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """Every displayed row of a log in time order, from which items and their popularity at any time follow.

    Attributes:
      rows: one line per displayed row: `timestamp` of its request (ms UTC), `item` (a code in the order of item ids),
        `clicks`, and the item features as displayed (`tags` joined).
      items: number of distinct items.
      item_counts: of `summary.json`: how candidates' item counts are made; without it they keep those of their latest
        row.
    """

    rows: pd.DataFrame
    items: int
    item_counts: Mapping[str, float] | None = None

    @classmethod
    def from_sessions(cls, folder: str | os.PathLike[str]) -> "Catalogue":
        """Reads all splits of a folder that `prepare` wrote; raises `DataError` when it is none."""
        catalogue = cls.from_files([file for split in SPLITS for file in _files(folder, split)], _spec(folder))
        summary = pathlib.Path(folder) / "summary.json"
        counts = json.loads(summary.read_text(encoding="utf-8")).get("item_counts") if summary.exists() else None
        return dataclasses.replace(catalogue, item_counts=counts)

    @classmethod
    def from_files(cls, files: Sequence[str], spec: FeatureSpec, most_lists: int | None = None) -> "Catalogue":
        """Reads session files, at most about the first `most_lists` lists."""
        columns = ["request_id", "timestamp", "clicks", *spec.item]
        batches = None if most_lists is None else math.ceil(most_lists / _BATCH)
        rows = pd.concat(itertools.islice(_list_rows(files, spec, columns), batches), ignore_index=True)
        # A list across a time cut stands in two splits; (request, place in the list) tells its rows apart.
        rows = rows.drop_duplicates(["request_id", "place"]).sort_values(["timestamp", "request_id", "place"])
        codes, item_ids = pd.factorize(rows["item_id"], sort=True)
        return cls(rows.drop(columns=["request_id", "place"]).assign(item=codes).reset_index(drop=True), len(item_ids))

    def candidates(
        self, timestamp: int, displayed: Sequence[Mapping[str, Any]], per_channel: int = PER_CHANNEL
    ) -> list[Request]:
        """The candidates of one request, each as in a request file; items with their latest features before it.

        Args:
          timestamp: ms UTC of the request; only rows strictly before it count.
          displayed: candidates that must be among them, with their features.
          per_channel: most popular items taken of each channel.
        """
        before = int(np.searchsorted(self.rows["timestamp"].to_numpy(), timestamp, side="left"))
        popular = self._popular(before, per_channel)
        columns = [name for name in self.rows.columns if name not in ("timestamp", "item", "clicks")]
        records = self.rows[columns].iloc[popular].to_dict("records")
        if self.item_counts is not None:
            for record, counts in zip(records, self._counts_at(timestamp, popular), strict=True):
                record |= counts
        chosen = {record["item_id"]: _without_absent(_split_tags(record)) for record in records}
        return list((chosen | {row["item_id"]: dict(row) for row in displayed}).values())

    def latest(self) -> pd.DataFrame:
        """Each item as it was displayed last, tags joined, by item id; item counts are those of the whole log."""
        item = self.rows["item"].to_numpy()
        last = np.zeros(self.items, np.int64)
        last[item] = np.arange(len(item))
        found = self.rows.iloc[last].drop(columns=["timestamp", "item", "clicks"]).reset_index(drop=True)
        if self.item_counts is not None:
            after = int(self.rows["timestamp"].iloc[-1] + self.item_counts["refresh_seconds"] * 1000)
            found = found.assign(**pd.DataFrame(self._counts_at(after, last)))
        return found

    def _counts_at(self, timestamp: int, rows: np.ndarray) -> list[dict[str, float]]:
        """Item counts of the items of some rows, as `prepare` would give them to a list of that time."""
        rule, item = self.item_counts or {}, self.rows["item"].to_numpy()[rows].astype(np.uint64)
        impressions, clicks = self._known.before(item, np.full(len(rows), timestamp))
        made = item_counts.features(impressions, clicks, rule["prior_click_rate"], rule["strength"])
        return [{name: float(values[n]) for name, values in made.items()} for n in range(len(rows))]

    @functools.cached_property
    def _known(self) -> ItemCounts:
        """Counts of the rows; their codes stand for hashes of items."""
        rule = {name: value for name, value in (self.item_counts or {}).items() if name != "prior_click_rate"}
        item, time, clicks = (self.rows[name].to_numpy() for name in ("item", "timestamp", "clicks"))
        return item_counts.count(item.astype(np.uint64), time, clicks, ItemCountsRule(**rule))

    def _popular(self, before: int, per_channel: int) -> np.ndarray:
        """Indices of the latest row of each popular item among the first `before` rows, by channel, best first."""
        item = self.rows["item"].to_numpy()[:before]
        clicks = np.bincount(item, self.rows["clicks"].to_numpy()[:before], minlength=self.items)
        impressions = np.bincount(item, minlength=self.items)
        latest = np.zeros(self.items, np.int64)
        latest[item] = np.arange(before)
        seen = np.flatnonzero(impressions)
        click_rate = clicks.sum() / max(before, 1)
        popularity = (clicks[seen] + PRIOR_IMPRESSIONS * click_rate) / (impressions[seen] + PRIOR_IMPRESSIONS)
        channel = self.rows["channel"].to_numpy()[latest[seen]]
        ranked = pd.DataFrame({"row": latest[seen], "channel": channel, "popularity": -popularity, "item": seen})
        ranked = ranked.sort_values(["channel", "popularity", "item"])
        return ranked.groupby("channel", sort=False).head(per_channel)["row"].to_numpy()


def sample_requests(
    folder: str | os.PathLike[str], split: str = "eval", count: int = 1, seed: int = 0, per_channel: int = PER_CHANNEL
) -> list[Request]:
    """Ranking requests of sessions drawn without replacement, in stored order, each as a request file holds it.

    Args:
      folder: what `prepare` wrote.
      split: "train", "validation" or "eval".
      count: requests wanted; a smaller split gives all it has.
      seed: of the draw; the same seed gives the same requests.
      per_channel: most popular items per channel among the candidates.

    Raises:
      DataError: the folder holds no finished sessions, or the split is empty.
    """
    spec = _spec(folder)
    records = session_records(_files(folder, split))
    size = sum(1 for _ in records)
    if not size:
        raise DataError(f"{folder}: the split {split!r} is empty; prepare a longer log")
    drawn = set(np.random.default_rng(seed).choice(size, min(count, size), replace=False).tolist())
    examples = [record for index, record in enumerate(records.as_numpy_iterator()) if index in drawn]
    sessions = {
        name: values.numpy() for name, values in _parse(tf.constant(examples), spec, list(spec.session)).items()
    }
    catalogue = Catalogue.from_sessions(folder)
    requests = [_request({name: values[i] for name, values in sessions.items()}, spec) for i in range(len(examples))]
    for request in requests:
        request["candidates"] = catalogue.candidates(request["timestamp"], request["candidates"], per_channel)
    return requests


def _spec(folder: str | os.PathLike[str]) -> FeatureSpec:
    folder = pathlib.Path(folder)
    if not (folder / "summary.json").is_file():
        raise DataError(f"{folder}: holds no finished sessions; write them with `hrlrec prepare --out {folder}`")
    return schema.from_schema(schema.read(folder / "schema.pbtxt"))


def _files(folder: str | os.PathLike[str], split: str) -> list[str]:
    """Session files of a split, as `prepare` lays them out or, with folders named `Split-eval`, TFX."""
    files = pathlib.Path(folder).glob("*/sessions-*.tfrecord.gz")
    return sorted(str(path) for path in files if path.parent.name in (split, f"Split-{split}"))


def _parse(examples: tf.Tensor, spec: FeatureSpec, names: Sequence[str]) -> dict[str, Any]:
    """Dense features [B, width] of serialized sessions; tags joined per row; the profile ragged."""
    parsed = tf.io.parse_example(examples, {name: _parser(name, spec) for name in names})
    for name in {"tags", features.HISTORY + "tags"} & set(names):
        tags = tf.reshape(parsed[name], [tf.shape(examples)[0], -1, spec.max_tags])
        parsed[name] = tf.strings.reduce_join(tags, axis=-1, separator=features.TAG_SEPARATOR)
    return parsed


def _parser(name: str, spec: FeatureSpec) -> Any:
    dtype = tf.as_dtype(spec.session[name].dtype)
    if name in features.PROFILE:
        return tf.io.RaggedFeature(dtype)
    return tf.io.FixedLenFeature([] if name in spec.request else [spec.width(name)], dtype)


def _list_rows(files: Sequence[str], spec: FeatureSpec, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    """The displayed rows of all lists, a batch of lists at a time, with their `place` in the list."""
    for examples in session_records(files).batch(_BATCH):
        parsed = {name: values.numpy() for name, values in _parse(examples, spec, columns).items()}
        lists, places = np.nonzero(parsed["item_id"] != b"")
        rows = {name: values[lists] if values.ndim == 1 else values[lists, places] for name, values in parsed.items()}
        decoded = {name: _decoded(values) for name, values in rows.items()}
        yield pd.DataFrame(decoded | {"place": places})


def _decoded(values: np.ndarray) -> np.ndarray:
    if values.dtype != object:
        return values
    codes, distinct = pd.factorize(values)
    return np.array([value.decode("utf-8") for value in distinct], dtype=object)[codes]


def _request(session: Mapping[str, Any], spec: FeatureSpec) -> Request:
    """One session in the form of a request file; its candidates are what was displayed."""
    request = {name: _plain(session[name]) for name in spec.request if name != "request_id"}
    rows = {name.removeprefix(features.HISTORY): session[name] for name in spec.history_rows}
    profile = {level: _counts(session, f"profile_{level}") for level in ("channel", "tag")}
    return {
        **_without_absent(request),
        "user_id": request["user_id"],
        "timestamp": request["timestamp"],
        "history": _rows(rows),
        "profile": {"channels": profile["channel"], "tags": profile["tag"]},
        "candidates": _rows({name: session[name] for name in spec.item}),
    }


def _rows(columns: Mapping[str, np.ndarray]) -> list[Request]:
    """The real rows of a session's list or history, as in a request file."""
    real = np.flatnonzero(columns["item_id"] != b"")
    records = ({name: _plain(values[i]) for name, values in columns.items()} for i in real)
    return [_without_absent(_split_tags(record)) for record in records]


def _counts(session: Mapping[str, Any], name: str) -> dict[str, dict[str, int]]:
    columns = (session[name], session[f"{name}_impressions"], session[f"{name}_clicks"])
    return {_plain(key): {"impressions": int(n), "clicks": int(c)} for key, n, c in zip(*columns, strict=True)}


def _plain(value: Any) -> Any:
    return value.decode("utf-8") if isinstance(value, bytes) else value.item()


def _split_tags(record: Mapping[str, Any]) -> Request:
    return {**record, "tags": [tag for tag in record["tags"].split(features.TAG_SEPARATOR) if tag]}


def _without_absent(record: Mapping[str, Any]) -> Request:
    return {name: value for name, value in record.items() if features.says_something(name, value)}
