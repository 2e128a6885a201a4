"""Rows that hold a whole list into one row per displayed item."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from hrlrec_tf.data import columns
from hrlrec_tf.data.files import BrokenRow, RawBatch


@dataclasses.dataclass(frozen=True)
class Unfolded:
    """The displayed items of a batch of lists.

    Attributes:
      lists: int64 [items], the row that each item comes from.
      places: int64 [items], its place there, from 1.
      values: strings [items].
      broken: lists without items.
    """

    lists: pa.Array
    places: pa.Array
    values: pa.Array
    broken: Sequence[BrokenRow]


def unfold(raw: RawBatch, column: str, separator: str, reason: str) -> Unfolded:
    """Unfolds a list column, or text split at `separator`; a row without values is broken for `reason`."""
    rows, values, _ = columns.to_lists(raw.table[column], separator)
    counts = np.bincount(rows, minlength=len(raw.rows))
    starts = np.cumsum(counts) - counts
    empty = [
        BrokenRow(int(raw.rows[row]), reason, str(raw.table.slice(row, 1).to_pylist()[0]))
        for row in np.flatnonzero(counts == 0)
    ]
    places = np.arange(len(rows)) - starts[rows] + 1
    return Unfolded(pa.array(rows), pa.array(places), values, empty)
