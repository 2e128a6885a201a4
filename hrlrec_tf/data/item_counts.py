"""What everybody's feedback said of an item before a list was shown: two numeric item features, `item_click_rate` and
`item_log_impressions`.

Counts are refreshed at whole periods, as a feed's own statistics are: a list knows the periods that ended before it, so
that no row of its own and none after it can count; only the prior, one number, is the click rate of all training
rows. Partial counts of files add up in any order.
"""

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from hrlrec_tf.data.rules import ItemCountsRule

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


@dataclasses.dataclass(frozen=True)
class ItemCounts:
    """Impressions and clicks by item and period, in ascending order of (item, period).

    Attributes:
      period_ms: length of a period.
      item: uint64 [entries], hashes of item ids.
      period: int64 [entries], timestamp // period_ms.
      impressions, clicks: int64 [entries].
    """

    period_ms: int
    item: Hashes
    period: Ints
    impressions: Ints
    clicks: Ints

    def click_rate(self, before_ms: int) -> float:
        """Clicks per impression over the periods that ended by a time; 0 where there were none."""
        ended = self.period < before_ms // self.period_ms
        return float(self.clicks[ended].sum() / max(self.impressions[ended].sum(), 1))

    def before(self, item: Hashes, time_ms: Ints) -> tuple[Ints, Ints]:
        """Impressions and clicks of items over the periods that ended by a time; each [queries]."""
        known, starts, keys, radix, impressions, clicks = self._index
        place = np.searchsorted(known, item)
        place = np.where(known[np.minimum(place, len(known) - 1)] == item, place, -1)
        wanted = np.minimum(time_ms // self.period_ms, radix - 1)
        end = np.searchsorted(keys, place * radix + wanted)
        start = starts[place]
        found = place >= 0
        return np.where(found, impressions[end] - impressions[start], 0), np.where(
            found, clicks[end] - clicks[start], 0
        )

    @functools.cached_property
    def _index(self) -> tuple[Hashes, Ints, Ints, int, Ints, Ints]:
        """What every query needs: items, where each starts, keys of (item, period), their radix, running totals."""
        known, starts = np.unique(self.item, return_index=True)
        radix = int(self.period.max(initial=0)) + 2
        code = np.repeat(np.arange(len(known)), np.diff(np.append(starts, len(self.item))))
        impressions, clicks = (np.concatenate([[0], np.cumsum(each)]) for each in (self.impressions, self.clicks))
        return known, starts, code * radix + self.period, radix, impressions, clicks


def count(item: Hashes, time_ms: Ints, clicks: Ints, rule: ItemCountsRule) -> ItemCounts:
    """The counts of some rows: [rows] each."""
    period_ms = round(rule.refresh_seconds * 1000)
    return _compact(period_ms, item, time_ms // period_ms, np.ones_like(clicks), clicks)


def total(parts: Iterable[ItemCounts]) -> ItemCounts:
    """The sum of counts of one rule; there must be one."""
    parts = list(parts)
    fields = ("item", "period", "impressions", "clicks")
    return _compact(parts[0].period_ms, *(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


def features(impressions: Ints, clicks: Ints, prior: float, strength: float) -> dict[str, npt.NDArray[np.float32]]:
    """The two features of rows: the click rate as if `strength` more impressions at rate `prior` were known."""
    rate = (clicks + strength * prior) / (impressions + strength)
    return {
        "item_click_rate": rate.astype(np.float32),
        "item_log_impressions": np.log1p(impressions).astype(np.float32),
    }


def _compact(period_ms: int, item: Hashes, period: Ints, impressions: Ints, clicks: Ints) -> ItemCounts:
    order = np.lexsort((period, item))
    item, period = item[order], period[order]
    first = np.ones(len(item), bool)
    first[1:] = (item[1:] != item[:-1]) | (period[1:] != period[:-1])
    starts = np.flatnonzero(first)
    if not len(starts):
        return ItemCounts(period_ms, item, period, impressions, clicks)
    summed = (np.add.reduceat(values[order], starts) for values in (impressions, clicks))
    return ItemCounts(period_ms, item[starts], period[starts], *summed)
