"""Whole lists of a bounded number of rows, drawn by user: what the test of list effects reads."""

from collections.abc import Sequence

import numpy as np

from hrlrec_tf.log_health.reading import Array, Lists

_MIX = np.uint64(0x9E3779B97F4A7C15)


class UserSample:
    """Keeps all lists of every user whose number is small enough; the bound falls when there are too many rows.

    A user's number is a hash, so the same sessions give the same sample.

    Args:
      most_rows: rows kept at most, but for a single user's.
    """

    def __init__(self, most_rows: int) -> None:
        self._most, self._bound = most_rows, 1.0
        self._kept: list[tuple[Lists, Array]] = []
        self._rows = 0

    @property
    def share(self) -> float:
        """Share of the users that are in the sample."""
        return self._bound

    @property
    def lists(self) -> list[Lists]:
        """The lists of the sample."""
        return [lists for lists, _ in self._kept]

    def add(self, bucket: Sequence[Lists]) -> None:
        """Adds each list of a bucket where it begins."""
        for lists in bucket:
            number = (lists.user.astype(np.uint64) * _MIX) / 2.0**64
            chosen = lists.home & (number <= self._bound)
            if chosen.any():
                self._kept.append((lists.take(chosen), number[chosen]))
        self._rows = sum(_rows(lists) for lists, _ in self._kept)
        while self._rows > self._most and len(np.unique(np.concatenate([number for _, number in self._kept]))) > 1:
            self._shrink()

    def _shrink(self) -> None:
        """Leaves out the users with the largest numbers, so that about nine tenths of the bound remain."""
        numbers = np.concatenate([np.repeat(number, (lists.item >= 0).sum(1)) for lists, number in self._kept])
        bound = float(np.quantile(numbers, min(0.9 * self._most / len(numbers), 1.0), method="lower"))
        if bound >= numbers.max():
            bound = float(np.unique(numbers)[-2])
        kept = [(lists.take(number <= bound), number[number <= bound]) for lists, number in self._kept]
        self._kept = [(lists, number) for lists, number in kept if len(number)]
        self._bound, self._rows = bound, sum(_rows(lists) for lists, _ in self._kept)


def _rows(lists: Lists) -> int:
    return int((lists.item >= 0).sum())
