"""What was known before each list: history, counts per channel and tag, the long-term profile. All in NumPy.

Rows stand in total order (user, timestamp, ...), so that "the user's rows before a time" is a range of row numbers, and
a count before it is the difference of two positions in a sorted array of (pair, row) keys, a pair being (user, channel)
or (user, tag).
"""

import dataclasses

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Ranges:
    """For each list, the user's rows before it: `first` up to `end`, exclusive; int64 [lists]."""

    first: Ints
    end: Ints


def rows_before(user: Ints, timestamp: Ints, list_user: Ints, list_time: Ints) -> Ranges:
    """The user's rows strictly before a time.

    Args:
      user, timestamp: [rows] in ascending order of (user, timestamp).
      list_user, list_time: [lists].
    """
    times, rank = np.unique(timestamp, return_inverse=True)
    radix = len(times) + 1
    end = np.searchsorted(user * radix + rank, list_user * radix + np.searchsorted(times, list_time))
    return Ranges(np.searchsorted(user, list_user), end)


def history(ranges: Ranges, length: int) -> Ints:
    """Row numbers of the last `length` rows of each range, left-padded with -1: [lists, length]."""
    rows = ranges.end[:, None] - np.arange(length, 0, -1)
    return np.where(rows >= ranges.first[:, None], rows, -1)


def earlier_in_list(number: Ints, value: Ints) -> Ints:
    """For entries in display order, how many earlier ones of the same list have the same value: [entries]."""
    if not len(value):
        return np.zeros(0, np.int64)
    group = number * (int(value.max()) + 1) + value
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    sizes = np.diff(np.append(starts, len(order)))
    earlier = np.empty(len(order), np.int64)
    earlier[order] = np.arange(len(order)) - np.repeat(starts, sizes)
    return earlier


class PairCounts:
    """Impressions and clicks of (user, value) pairs over time.

    Args:
      user, value, row, clicks: [entries] in ascending order of row: whose, of what, which row, its clicks.
    """

    def __init__(self, user: Ints, value: Ints, row: Ints, clicks: Ints) -> None:
        self._values = int(value.max(initial=0)) + 1
        self._rows = int(row.max(initial=0)) + 2
        self._pairs, pair = np.unique(user * self._values + value, return_inverse=True)
        order = np.argsort(pair, kind="stable")
        self._keys = pair[order] * self._rows + row[order]
        self._starts = np.searchsorted(self._keys, np.arange(len(self._pairs)) * self._rows)
        self._clicks = np.concatenate([[0], np.cumsum(clicks[order])])

    def before(self, user: Ints, value: Ints, end: Ints) -> tuple[Ints, Ints]:
        """Impressions and clicks of pairs that occur, over rows before `end`: two arrays [queries]."""
        return self._count(np.searchsorted(self._pairs, user * self._values + value), end)

    def pairs_of(self, user: Ints) -> Ints:
        """How many values each user has in all: [queries]."""
        return np.searchsorted(self._pairs, (user + 1) * self._values) - self._first(user)

    def profile(self, user: Ints, end: Ints, limit: int) -> tuple[Ints, Ints, Ints, Ints]:
        """What each user saw over rows before `end`: at most `limit` values, most impressions first, then by value.

        Returns:
          `query`, `value`, `impressions`, `clicks`, each [entries], in order of query.
        """
        sizes = self.pairs_of(user)
        query = np.repeat(np.arange(len(user)), sizes)
        offsets = np.arange(len(query)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        pair = self._first(user)[query] + offsets
        impressions, clicks = self._count(pair, end[query])
        seen = impressions > 0
        query, pair, impressions, clicks = query[seen], pair[seen], impressions[seen], clicks[seen]
        order = np.lexsort((pair, -impressions, query))
        query = query[order]
        kept = np.arange(len(query)) - np.searchsorted(query, query) < limit
        order, query = order[kept], query[kept]
        return query, self._pairs[pair[order]] % self._values, impressions[order], clicks[order]

    def _first(self, user: Ints) -> Ints:
        return np.searchsorted(self._pairs, user * self._values)

    def _count(self, pair: Ints, end: Ints) -> tuple[Ints, Ints]:
        start = self._starts[pair] if len(pair) else pair
        stop = np.searchsorted(self._keys, pair * self._rows + np.minimum(end, self._rows - 1))
        return stop - start, self._clicks[stop] - self._clicks[start]
