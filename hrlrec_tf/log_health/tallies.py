"""Running figures over buckets of users: each takes a bucket's lists and keeps sums only.

What grows with the log: a few numbers per distinct item, eight bytes per (day, user), and per
(day, item) of each bucket.
"""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from hrlrec_tf.data.examples import SPLITS
from hrlrec_tf.log_health.reading import Array, Lists, rows_of

DAY_MS = 86_400_000
MOST_POSITIONS = 50  # the rest counts as one
_Z = float(stats.norm.ppf(0.975))
_MERGE = 1 << 21  # entries kept before equal ones are added up


class ClickRates:
    """Click rate of each cell (channel x position, channel or position) with 95 % intervals over users.

    A user's rows hang together, so the interval is that of a ratio of sums over independent users,
    var(r) = sum_u (clicks_u - r * rows_u) ** 2 / rows ** 2, whose parts add up over buckets.
    """

    def __init__(self) -> None:
        self._sums: dict[int, Array] = defaultdict(lambda: np.zeros(6))

    def add(self, user: Array, cell: Array, clicked: Array) -> None:
        """Counts rows of users that no other call brings: [rows] codes of the user and the cell (from 0), 0 or 1."""
        cells = int(cell.max(initial=0)) + 1
        pairs, pair = np.unique(user.astype(np.int64) * cells + cell, return_inverse=True)
        rows = np.bincount(pair, minlength=len(pairs)).astype(float)
        clicks = np.bincount(pair, clicked, len(pairs))
        parts = np.stack([rows, clicks, rows**2, rows * clicks, clicks**2, np.ones(len(pairs))], axis=1)
        found, place = np.unique(pairs % cells, return_inverse=True)
        for number, total in zip(found, _sum_by(place, parts, len(found)), strict=True):
            self._sums[int(number)] += total

    def rates(self) -> dict[int, dict[str, float]]:
        """Cell -> rows, users, click_rate, low, high; the interval is NaN with fewer than ten users."""
        result = {}
        for cell, (rows, clicks, rows2, cross, clicks2, users) in sorted(self._sums.items()):
            rate = clicks / rows
            variance = max(clicks2 - 2 * rate * cross + rate**2 * rows2, 0.0) / rows**2
            half = _Z * math.sqrt(variance * users / (users - 1)) if users >= 10 else math.nan
            bounds = {"low": max(rate - half, 0.0), "high": min(rate + half, 1.0)} if users >= 10 else {}
            result[cell] = {
                "rows": int(rows), "users": int(users), "click_rate": rate, "low": math.nan, "high": math.nan
            } | bounds  # fmt: skip
        return result


class Histogram:
    """Counts of positive numbers in bins that are 5 % wide, from which quantiles follow to within that width."""

    _STEP = math.log(1.05)
    _LOW, _BINS = -3 / math.log10(1.05), 580  # 0.001 to about 2e9

    def __init__(self) -> None:
        self.counts = np.zeros(self._BINS, np.int64)

    def add(self, values: Array) -> None:
        """Counts numbers above 0."""
        places = np.floor(np.log(values) / self._STEP - self._LOW).astype(np.int64)
        self.counts += np.bincount(np.clip(places, 0, self._BINS - 1), minlength=self._BINS)

    def quantile(self, share: float) -> float:
        """The value that `share` of the numbers do not exceed; NaN without numbers."""
        total = self.counts.sum()
        if not total:
            return math.nan
        place = int(np.searchsorted(np.cumsum(self.counts), max(share * total, 1)))
        return math.exp((place + 0.5 + self._LOW) * self._STEP)

    def between(self, edges: Sequence[float]) -> list[int]:
        """How many numbers lie from each edge up to the next."""
        places = np.clip(np.rint(np.log(edges) / self._STEP - self._LOW).astype(int), 0, self._BINS)
        return [int(self.counts[low:high].sum()) for low, high in zip(places[:-1], places[1:], strict=True)]


class Keyed:
    """Sums of several counts by a 64-bit key."""

    def __init__(self, width: int) -> None:
        self._keys: Array = np.zeros(0, np.int64)
        self._counts: Array = np.zeros((0, width), np.int64)
        self._new: list[tuple[Array, Array]] = []
        self._pending = 0

    def add(self, keys: Array, counts: Array) -> None:
        """Adds [n] keys with [n, width] counts."""
        found, place = np.unique(keys, return_inverse=True)
        self._new.append((found, _sum_by(place, counts, len(found))))
        self._pending += len(found)
        if self._pending > _MERGE:
            self._merge()

    def totals(self) -> tuple[Array, Array]:
        """[keys] ascending, and their sums [keys, width]."""
        self._merge()
        return self._keys, self._counts

    def _merge(self) -> None:
        keys = np.concatenate([self._keys, *(keys for keys, _ in self._new)])
        counts = np.concatenate([self._counts, *(counts for _, counts in self._new)])
        self._keys, place = np.unique(keys, return_inverse=True)
        self._counts = _sum_by(place, counts, len(self._keys)).astype(np.int64)
        self._new, self._pending = [], 0


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of a bucket that count, and what stands beside each: all [rows]."""

    split: Array
    user: Array
    item: Array
    channel: Array
    position: Array
    clicked: Array
    dwell: Array
    history: Array
    day: Array

    @classmethod
    def of(cls, lists: Sequence[Lists]) -> "Rows":
        """Every row in the split where it counts; users as codes of this bucket."""
        counts = rows_of(lists, "weight") > 0
        number = np.nonzero(counts)[0]
        split = np.concatenate([np.full(len(each.user), each.split) for each in lists])
        return cls(
            split=split[number],
            user=np.unique(rows_of(lists, "user"), return_inverse=True)[1][number],
            item=rows_of(lists, "item")[counts],
            channel=rows_of(lists, "channel")[counts],
            position=rows_of(lists, "position")[counts],
            clicked=(rows_of(lists, "clicks")[counts] > 0).astype(np.int64),
            dwell=rows_of(lists, "dwell_seconds")[counts],
            history=rows_of(lists, "history")[number],
            day=rows_of(lists, "time")[number] // DAY_MS,
        )


class Periods:
    """Rows, lists, clicks, distinct users and items by day, and rows by (day, channel)."""

    def __init__(self) -> None:
        self._rows, self._channels = Keyed(2 + len(SPLITS)), Keyed(1)
        self._lists = Keyed(1)
        self._distinct: dict[str, dict[int, list[Array]]] = {name: defaultdict(list) for name in ("users", "items")}

    def add(self, rows: Rows, lists: Sequence[Lists]) -> None:
        """Counts a bucket."""
        by_split = rows.split[:, np.newaxis] == np.arange(len(SPLITS))
        self._rows.add(rows.day, np.column_stack([np.ones_like(rows.day), rows.clicked, by_split]))
        self._channels.add(rows.day << 24 | rows.channel, np.ones((len(rows.day), 1), np.int64))
        home = np.concatenate([each.home for each in lists])
        days, users = rows_of(lists, "time")[home] // DAY_MS, rows_of(lists, "user")[home]
        self._lists.add(days, np.ones((len(days), 1), np.int64))
        for name, day, value in (("users", days, users), ("items", rows.day, rows.item)):
            order = np.lexsort((value, day))
            ordered = np.stack([day[order], value[order]])
            kept = ordered[:, np.append(True, (np.diff(ordered) != 0).any(axis=0))[: len(order)]]
            for each in np.unique(day):
                self._distinct[name][int(each)].append(kept[1, kept[0] == each])

    def table(self, channels: int, most: int) -> dict[str, Any]:
        """Figures per period of whole days, at most `most` periods, those without rows included.

        Returns:
          `days` in a period, and lists with one entry per period: `first_day` (days since 1970), `rows`, `lists`,
          `users`, `items`, `click_rate`, one of rows per split, and `channels`, rows of each channel.
        """
        days, counts = self._rows.totals()
        if not len(days):
            return {"days": 1, "first_day": []}
        span = int(days[-1] - days[0]) + 1
        length = next((n for n in (1, 7, 28) if span <= n * most), math.ceil(span / most))
        periods = math.ceil(span / length)
        place = (days - days[0]) // length
        total = _sum_by(place, counts, periods)
        list_days, list_counts = self._lists.totals()
        keys, by_channel = self._channels.totals()
        mix = np.zeros((channels, periods), np.int64)
        np.add.at(mix, (keys & 0xFFFFFF, ((keys >> 24) - days[0]) // length), by_channel[:, 0])
        result: dict[str, Any] = {
            "days": length,
            "first_day": [int(days[0]) + n * length for n in range(periods)],
            "rows": total[:, 0].astype(int).tolist(),
            "click_rate": [clicks / rows if rows else math.nan for rows, clicks in total[:, :2].tolist()],
            "channels": mix.tolist(),
        }
        result["lists"] = _sum_by((list_days - days[0]) // length, list_counts, periods)[:, 0].astype(int).tolist()
        result |= {split: total[:, 2 + n].astype(int).tolist() for n, split in enumerate(SPLITS)}
        for name, sets in self._distinct.items():
            members: list[list[Array]] = [[] for _ in range(periods)]
            for day, values in sets.items():
                members[(day - int(days[0])) // length] += values
            result[name] = [len(np.unique(np.concatenate(each))) if each else 0 for each in members]
        return result


def _sum_by(place: Array, values: Array, count: int) -> Array:
    """Sums of [n, width] values by their places: [count, width]."""
    return np.stack([np.bincount(place, column, count) for column in values.T.astype(float)], axis=1)
