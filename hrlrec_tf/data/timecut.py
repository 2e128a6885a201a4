"""Cuts in time from a histogram of timestamps: exact for small logs, and the same whatever the order of rows."""

import dataclasses
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from hrlrec_tf.data.rules import Split
from hrlrec_tf.errors import ConfigError

MAX_BINS = 1 << 20


@dataclasses.dataclass(frozen=True)
class Histogram:
    """Counts of timestamps in bins of 2 ** shift milliseconds; the shift grows only while there are too many bins.

    Attributes:
      shift: log2 of a bin's width.
      bins: int64 [bins], ascending: timestamp >> shift.
      counts: int64 [bins].
    """

    shift: int
    bins: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Cuts:
    """First timestamps (ms UTC) of the validation, the evaluation and the training split, and of what is in none.

    Rows before `train_from` are history, rows from `until` on are not looked at yet.
    """

    validation_from: int
    eval_from: int
    train_from: int = 0
    until: int = np.iinfo(np.int64).max


def histogram(timestamps: npt.NDArray[np.int64]) -> Histogram:
    """The histogram of some timestamps."""
    return _compact(0, timestamps, np.ones_like(timestamps))


def total(histograms: Iterable[Histogram]) -> Histogram:
    """The sum of histograms."""
    result = histogram(np.zeros(0, np.int64))
    for each in histograms:
        shift = max(result.shift, each.shift)
        bins = np.concatenate([result.bins >> (shift - result.shift), each.bins >> (shift - each.shift)])
        result = _compact(shift, bins, np.concatenate([result.counts, each.counts]))
    return result


def _compact(shift: int, bins: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> Histogram:
    while True:
        distinct, inverse = np.unique(bins, return_inverse=True)
        if len(distinct) <= MAX_BINS:
            return Histogram(shift, distinct, np.bincount(inverse, counts, len(distinct)).astype(np.int64))
        shift, bins = shift + 1, bins >> 1


def cut(times: Histogram, split: Split) -> Cuts:
    """Where to cut, by `split`: stated timestamps, or shares of the rows; rows of one timestamp stay together.

    A share takes at least one row; shares are of the rows that are not too old for the training split. `times` must
    hold a row.

    Raises:
      ConfigError: no row is young enough for the training split.
    """
    train_from = split.train_from or 0
    if split.eval_from is not None and split.validation_from is not None:
        until = Cuts.until if split.until is None else split.until
        return Cuts(split.validation_from, split.eval_from, train_from, until)
    if not len(times.bins) or times.bins[-1] << times.shift < train_from:
        raise ConfigError(f"split.train_from is {train_from}, later than every row of the log; choose an earlier time")
    newest_first = times.counts[::-1][(times.bins[::-1] << times.shift) >= train_from].cumsum()
    rows = int(newest_first[-1])
    eval_bin = _bin_of(newest_first, int(split.eval_fraction * rows))
    evaluated = int(newest_first[eval_bin])
    validation_bin = _bin_of(newest_first, evaluated + max(int(split.validation_fraction * (rows - evaluated)), 1))
    starts = times.bins[::-1] << times.shift
    return Cuts(int(starts[validation_bin]), int(starts[eval_bin]), train_from)


def _bin_of(newest_first: npt.NDArray[np.int64], row: int) -> int:
    """The bin, counted from the newest, that holds the `row`-th newest row."""
    return min(int(np.searchsorted(newest_first, max(row, 1))), len(newest_first) - 1)
