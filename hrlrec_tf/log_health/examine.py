"""Everything the page says, as numbers: one pass over the sessions, one bucket of users at a time."""

import json
import math
import pathlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from hrlrec_tf.data.examples import SPLITS
from hrlrec_tf.log_health import list_effects
from hrlrec_tf.log_health.reading import Array, Lists, SessionLists
from hrlrec_tf.log_health.sample import UserSample
from hrlrec_tf.log_health.tallies import MOST_POSITIONS, ClickRates, Histogram, Keyed, Periods, Rows

MOST_PERIODS = 60
QUANTILES = {"p10": 0.1, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p90": 0.9, "p99": 0.99}
DWELL_EDGES = (0.001, 1, 3, 10, 30, 60, 180, 600, 1800, 1e9)  # seconds
GAP_EDGES: dict[str, float] = {
    "under 1 minute": 60,
    "under 30 minutes": 1800,
    "under 1 hour": 3600,
    "under 1 day": 86_400,
}
GAP_EDGES |= {"under 1 week": 604_800, "longer": 1e9}
_SUMMARY = (
    *("read", "accepted", "rejected", "users", "items", "lists", "lists_cut_at_length", "tags_dropped"),
    *("first_timestamp", "last_timestamp", "validation_from", "eval_from", "ignored_files"),
)
_HISTORY = {"0": 0, "1 to 10": 1, "11 to 40": 11, "41 or more": 41}  # name -> fewest history rows


def examine(
    folder: pathlib.Path, most_rows: int = list_effects.MOST_ROWS, show_progress: bool = True
) -> dict[str, Any]:
    """Figures of the sessions in a folder.

    Args:
      folder: as `hrlrec prepare` wrote it.
      most_rows: that the test of list effects reads at most.
      show_progress: whether to show a bar on stderr.

    Returns:
      What `health.json` holds but for its findings: see `docs/log-health.md`.

    Raises:
      DataError: the folder holds no finished sessions, or a file is damaged.
    """
    sessions, figures, sample = SessionLists(folder), _Figures(), UserSample(most_rows)
    for bucket in tqdm(sessions.read(), desc="report", total=sessions.buckets, unit="part", disable=not show_progress):
        figures.add(bucket)
        sample.add(bucket)
    effects = list_effects.test(sample.lists)
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return {
        "log": {name: summary[name] for name in _SUMMARY if name in summary},
        "item_counts": "item_click_rate" in sessions.spec.optional,
        **figures.result(sessions.channels),
        "list_effects": effects | {"user_share": sample.share},
    }


class _Figures:
    """All tallies of a log."""

    def __init__(self) -> None:
        self._splits = {name: np.zeros(len(SPLITS), np.int64) for name in ("rows", "lists", "users", "new_user_rows")}
        self._new_users = np.zeros(len(SPLITS), np.int64)
        self._rates = {name: ClickRates() for name in ("all", "channel", "position", "both")}
        self._dwell: dict[int, Histogram] = defaultdict(Histogram)
        self._gaps, self._first_lists = Histogram(), 0
        self._lengths: Array = np.zeros(0, np.int64)
        self._by_rule = 0
        self._history = np.zeros((len(SPLITS), len(_HISTORY)), np.int64)
        self._items, self._periods = Keyed(len(SPLITS)), Periods()
        self._tagged = 0

    def add(self, bucket: Sequence[Lists]) -> None:
        """Counts the lists of some users, all of each."""
        rows = Rows.of(bucket)
        self._add_clicks(rows)
        self._add_lists(bucket)
        self._periods.add(rows, bucket)
        in_split = rows.split[:, np.newaxis] == np.arange(len(SPLITS))
        self._splits["rows"] += in_split.sum(axis=0)
        self._items.add(rows.item, in_split.astype(np.int64))
        history = np.searchsorted(list(_HISTORY.values()), rows.history, side="right") - 1
        np.add.at(self._history, (rows.split, history), 1)
        by_user = np.zeros((int(rows.user.max(initial=-1)) + 1, len(SPLITS)), np.int64)
        np.add.at(by_user, (rows.user, rows.split), 1)
        new = by_user[:, 0] == 0
        self._splits["users"] += (by_user > 0).sum(axis=0)
        self._splits["new_user_rows"] += by_user[new].sum(axis=0)
        self._new_users += (by_user[new] > 0).sum(axis=0)
        for channel in np.unique(rows.channel):
            spent = rows.dwell[(rows.channel == channel) & (rows.dwell > 0)]
            self._dwell[int(channel)].add(spent)

    def _add_clicks(self, rows: Rows) -> None:
        position = np.minimum(rows.position, MOST_POSITIONS + 1)
        cells = {"all": np.zeros_like(position), "channel": rows.channel, "position": position}
        cells["both"] = rows.channel * (MOST_POSITIONS + 2) + position
        for name, cell in cells.items():
            self._rates[name].add(rows.user, cell.astype(np.int64), rows.clicked)

    def _add_lists(self, bucket: Sequence[Lists]) -> None:
        for lists in bucket:
            begun = lists.take(lists.home)
            self._splits["lists"][lists.split] += len(begun.user)
            lengths = np.bincount((begun.item >= 0).sum(axis=1), minlength=begun.item.shape[1] + 1)
            self._lengths = lengths if not len(self._lengths) else self._lengths + lengths
            known = begun.previous > 0
            self._gaps.add((begun.time - begun.previous)[known] / 1000)
            self._first_lists += int((~known).sum())
            self._by_rule += int(begun.by_rule.sum())
            self._tagged += int(((begun.tags >= 0).any(axis=2) & (begun.rows["weight"] > 0)).sum())

    def result(self, channels: Sequence[str]) -> dict[str, Any]:
        """All figures; `channels` are the names of the channels' codes."""
        rows, lists = int(self._splits["rows"].sum()), int(self._splits["lists"].sum())
        return {
            "splits": {
                split: {name: int(counts[n]) for name, counts in self._splits.items() if name != "new_user_rows"}
                for n, split in enumerate(SPLITS)
            },
            "rows": rows, "lists": lists,
            "lists_by_rule": self._by_rule / lists if lists else math.nan,
            "rows_with_tags": self._tagged / rows if rows else math.nan,
            "click_rate": self._click_rates(channels),
            "dwell": self._dwell_times(channels),
            "list_lengths": {n: int(count) for n, count in enumerate(self._lengths) if n},
            "history": {
                split: dict(zip(_HISTORY, map(int, self._history[n]), strict=True)) for n, split in enumerate(SPLITS)
            },
            "gaps": {"first list": self._first_lists, **self._gap_counts()},
            "cold": self._cold(),
            "popularity": popularity(self._items.totals()[1].sum(axis=1)),
            "periods": self._time_table(channels),
        }  # fmt: skip

    def _click_rates(self, channels: Sequence[str]) -> dict[str, Any]:
        rates = {name: each.rates() for name, each in self._rates.items()}
        both: dict[str, dict[str, Any]] = {}
        for cell, values in rates["both"].items():
            channel, position = divmod(cell, MOST_POSITIONS + 2)
            both.setdefault(channels[channel], {})[_position(position)] = values
        by_channel = {channels[code]: values for code, values in rates["channel"].items()}
        return {
            "all": rates["all"].get(0, {}),
            "by_channel": dict(sorted(by_channel.items(), key=lambda entry: -entry[1]["rows"])),
            "by_position": {_position(position): values for position, values in rates["position"].items()},
            "by_channel_and_position": both,
        }

    def _dwell_times(self, channels: Sequence[str]) -> dict[str, Any]:
        """Per channel: rows with a dwell time, its quantiles in seconds, and counts between DWELL_EDGES."""
        return {
            channels[code]: {
                "rows": int(histogram.counts.sum()),
                **{name: histogram.quantile(share) for name, share in QUANTILES.items()},
                "histogram": histogram.between(DWELL_EDGES),
            }
            for code, histogram in sorted(self._dwell.items())
            if histogram.counts.any()
        }

    def _gap_counts(self) -> dict[str, int]:
        counts = self._gaps.between((0.001, *GAP_EDGES.values()))
        return dict(zip(GAP_EDGES, counts, strict=True))

    def _cold(self) -> dict[str, Any]:
        """Per later split: shares of its rows, users and items that the training split never saw."""
        _, counts = self._items.totals()
        new = counts[:, 0] == 0
        result = {}
        for n, split in enumerate(SPLITS[1:], start=1):
            items = counts[:, n] > 0
            result[split] = {
                "rows_of_new_users": _share(self._splits["new_user_rows"][n], self._splits["rows"][n]),
                "rows_of_new_items": _share(counts[new, n].sum(), self._splits["rows"][n]),
                "new_users": _share(self._new_users[n], self._splits["users"][n]),
                "new_items": _share((items & new).sum(), items.sum()),
            }
        return result

    def _time_table(self, channels: Sequence[str]) -> dict[str, Any]:
        table = self._periods.table(len(channels), MOST_PERIODS)
        return table | {"channels": dict(zip(channels, table.get("channels", []), strict=False))}


def popularity(rows: Array) -> Mapping[str, float]:
    """How a log's rows fall on its items, [items] rows each: Gini coefficient and shares of the most shown items.

    The Gini coefficient is 0 where every item has the same number of rows, and 1 - 1/items where one has all.
    """
    ordered, count = np.sort(rows.astype(float)), len(rows)
    if not count:
        return {"items": 0}
    total = ordered.sum()
    gini = 2 * (np.arange(1, count + 1) * ordered).sum() / (count * total) - (count + 1) / count
    down = np.cumsum(ordered[::-1])
    return {
        "items": count,
        "gini": float(gini),
        "top_1_percent": float(down[max(math.ceil(count / 100), 1) - 1] / total),
        "top_10_percent": float(down[max(math.ceil(count / 10), 1) - 1] / total),
        "items_of_half": int(np.searchsorted(down, total / 2) + 1),
        "items_shown_once": int((rows == 1).sum()),
    }


def _share(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else math.nan


def _position(position: int) -> str:
    return str(position) if position <= MOST_POSITIONS else f"{MOST_POSITIONS + 1}+"
