"""Rows of prepared sessions as tables, and what was known about each before its list was shown.

Only TensorFlow, NumPy and pandas: the peers live in an environment of their own.
"""

import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
import tensorflow as tf

from hrlrec_tf.errors import DataError
from hrlrec_tf.features import FEEDBACK, HISTORY, HISTORY_ONLY, ITEM, LIST_ONLY, PROFILE, REQUEST, Kind

SPLITS = ("train", "validation", "eval")
RECENT = 10  # history rows of the shorter window

_MS_PER_HOUR = 3_600_000
_ROW = ("item_id", "channel", "clicks", "position", "weight")
_KINDS = {
    **REQUEST,
    **ITEM,
    **FEEDBACK,
    **LIST_ONLY,
    **{HISTORY + name: kind for name, kind in {**ITEM, **FEEDBACK, **HISTORY_ONLY}.items()},
    **PROFILE,
}
_READ = (
    *REQUEST,
    *_ROW,
    "tags",
    *(HISTORY + name for name in ("item_id", "clicks", "position", "timestamp")),
    *PROFILE,
)


class Sessions:
    """All sessions of a folder of `hrlrec prepare`, as columns.

    Attributes:
      rows: the rows whose weight is above 0, in stored order: split, session (number), request_id, user_id, timestamp
        (ms, the list's), item_id, channel, position, label (0 or 1), hour (of the day, UTC).
      history_items: [sessions, H] item ids of the impressions before each list, "" for padding.
      history_clicks: [sessions, H] their clicks.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        """Reads a folder; raises DataError where a split has no files."""
        parsed = [_parse(folder, split) for split in SPLITS]
        sizes = [int(each["timestamp"].nrows()) for each in parsed]
        self._split = np.repeat(SPLITS, sizes)
        self._columns = {name: tf.concat([each[name] for each in parsed], axis=0) for name in _READ}
        self._one = {name: _values(self._columns[name]) for name in REQUEST}
        self.history_items, self.history_clicks = self._dense(HISTORY + "item_id"), self._dense(HISTORY + "clicks")
        self.rows = self._rows()

    def profile(self, of: str) -> pd.DataFrame:
        """Impressions and clicks before each list: session, `of` ("channel" or "tag"), impressions, clicks."""
        lengths = self._columns[f"profile_{of}"].row_lengths().numpy()
        return pd.DataFrame(
            {
                "session": np.repeat(np.arange(len(lengths)), lengths),
                of: _values(self._columns[f"profile_{of}"]),
                "impressions": _values(self._columns[f"profile_{of}_impressions"]),
                "clicks": _values(self._columns[f"profile_{of}_clicks"]),
            }
        )

    def tags(self) -> pd.DataFrame:
        """The tags of `rows`: row (place in `rows`), session, tag; a row may have none or several."""
        width = self._dense("position").shape[1]
        tags = self._dense("tags").reshape(len(self._split) * width, -1)[self._kept]
        row, place = np.nonzero(tags != "")
        session = self.rows["session"].to_numpy()[row]
        return pd.DataFrame({"row": row, "session": session, "tag": tags[row, place]})

    def known_feedback(self) -> pd.DataFrame:
        """Impressions with their own time: user_id, timestamp, position, item_id, clicks; each once.

        A list's rows carry no time of their own, so feedback is taken from the histories of the user's later lists,
        which do. What a user saw last is in no history and is left out: too little is known, never too much.
        """
        names = ("timestamp", "position", "item_id", "clicks")
        columns = {name: self._dense(HISTORY + name) for name in names}
        filled = columns["item_id"] != ""
        table = pd.DataFrame({name: values[filled] for name, values in columns.items()})
        table.insert(0, "user_id", np.repeat(self._one["user_id"], filled.sum(axis=1)))
        return table.drop_duplicates(["user_id", "timestamp", "position", "item_id"], ignore_index=True)

    def _rows(self) -> pd.DataFrame:
        columns = {name: self._dense(name) for name in _ROW}
        kept = columns["weight"] > 0
        self._kept = kept.reshape(-1)
        session = np.nonzero(kept)[0]
        table = pd.DataFrame({"split": self._split[session], "session": session})
        for name, values in self._one.items():
            table[name] = values[session]
        for name in ("item_id", "channel", "position"):
            table[name] = columns[name][kept]
        return table.assign(
            label=(columns["clicks"][kept] > 0).astype(int), hour=table["timestamp"] // _MS_PER_HOUR % 24
        )

    def _dense(self, name: str) -> np.ndarray:
        """A feature of fixed width: [sessions, width]."""
        return _values(self._columns[name]).reshape(len(self._split), -1)


def asof_counts(sessions: Sessions, frozen_items: bool = False) -> dict[str, pd.DataFrame]:
    """Impressions and clicks strictly before each row's list, of four kinds.

    Args:
      sessions: where the rows come from.
      frozen_items: validation and test rows know of items what was known when their split began, as a model knows that
        is trained once; otherwise what was known when their list was shown.

    Returns:
      "user", "user_channel", "user_tag" (summed over the row's tags) and "item" (over all users), each a table with
      one row per row of `sessions.rows` and the columns impressions and clicks.
    """
    rows, channels = sessions.rows, sessions.profile("channel")
    totals = channels.groupby("session")[["impressions", "clicks"]].sum()
    of_tags = sessions.tags().merge(sessions.profile("tag"), on=["session", "tag"])
    times = rows["timestamp"]
    if frozen_items:
        times = times.where(rows["split"] == "train", times.groupby(rows["split"]).transform("min"))
    return {
        "user": _counts(totals.reindex(rows["session"])),
        "user_channel": _counts(rows[["session", "channel"]].merge(channels, "left", on=["session", "channel"])),
        "user_tag": _counts(of_tags.groupby("row")[["impressions", "clicks"]].sum().reindex(range(len(rows)))),
        "item": _item_counts(rows["item_id"], times, sessions.known_feedback()),
    }


def recent_counts(sessions: Sessions, window: int) -> pd.DataFrame:
    """Impressions and clicks among the last `window` history rows of each row's list."""
    filled = sessions.history_items[:, -window:] != ""
    clicked = (sessions.history_clicks[:, -window:] > 0) & filled
    table = pd.DataFrame({"impressions": filled.sum(axis=1), "clicks": clicked.sum(axis=1)})
    return _counts(table.iloc[sessions.rows["session"]])


def rate_and_count(counts: pd.DataFrame, prior: float, strength: float) -> np.ndarray:
    """Smoothed click rate and log of impressions: [rows, 2].

    Args:
      counts: columns impressions and clicks.
      prior: the click rate that a row without impressions gets.
      strength: impressions that the prior is worth.
    """
    impressions, clicks = counts["impressions"].to_numpy(), counts["clicks"].to_numpy()
    return np.stack([(clicks + strength * prior) / (impressions + strength), np.log1p(impressions)], axis=1)


def history_features(tables: Sequence[pd.DataFrame], rows: pd.DataFrame, strength: float) -> np.ndarray:
    """`rate_and_count` of several tables, standardised over the training rows: float32 [rows, 2 * tables]."""
    train = (rows["split"] == "train").to_numpy()
    prior = float(rows["label"][train].mean())
    values = np.concatenate([rate_and_count(table, prior, strength) for table in tables], axis=1)
    spread = values[train].std(axis=0)
    return ((values - values[train].mean(axis=0)) / np.where(spread > 0, spread, 1.0)).astype(np.float32)


def _item_counts(item_ids: pd.Series, times: pd.Series, feedback: pd.DataFrame) -> pd.DataFrame:
    """Counts of items strictly before `times`."""
    events = feedback.sort_values("timestamp", kind="stable")[["timestamp", "item_id", "clicks"]]
    by_item = events.groupby("item_id")
    events = events.assign(impressions=by_item.cumcount() + 1, clicks=by_item["clicks"].cumsum())
    queries = pd.DataFrame({"item_id": item_ids, "timestamp": times, "row": np.arange(len(times))})
    queries = queries.sort_values("timestamp", kind="stable")
    found = pd.merge_asof(queries, events, on="timestamp", by="item_id", allow_exact_matches=False)
    return _counts(found.sort_values("row"))


def _counts(table: pd.DataFrame) -> pd.DataFrame:
    return table[["impressions", "clicks"]].fillna(0).astype(np.int64).reset_index(drop=True)


def _parse(folder: pathlib.Path, split: str) -> dict[str, tf.RaggedTensor | tf.Tensor]:
    files = sorted(str(file) for file in (folder / split).glob("*.tfrecord.gz"))
    if not files:
        raise DataError(f"{folder / split} holds no session files; run hrlrec prepare --out {folder} first")
    dtypes = {Kind.STRING: tf.string, Kind.INT: tf.int64, Kind.FLOAT: tf.float32}
    wanted = {name: tf.io.RaggedFeature(dtypes[_KINDS[name]]) for name in _READ}
    records = list(tf.data.TFRecordDataset(files, compression_type="GZIP"))
    parsed: dict[str, tf.RaggedTensor] = tf.io.parse_example(tf.stack(records), wanted)
    return parsed


def _values(ragged: tf.RaggedTensor) -> np.ndarray:
    """All values of a feature, strings decoded: [values]."""
    values = ragged.flat_values.numpy()
    if values.dtype != object:
        return values
    words, codes = np.unique(values, return_inverse=True)
    return np.array([word.decode("utf-8") for word in words], object)[codes]
