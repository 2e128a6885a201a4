"""AUC from counts of clicked and other rows by prediction, for all rows and for every bootstrap replicate.

Counts by distinct prediction give the exact area. Of more rows than a `Store` holds in memory, predictions are counted
in bins that are even in their logit, and a pair of rows inside one bin counts half, as a tie does; `error_bound` says
how far that can be from the truth. Replicates are then counted in REPLICATE_BINS coarser bins of equally many rows:
how far an area spreads over replicates hardly depends on the order inside such a bin.
"""

import numpy as np
import numpy.typing as npt
from scipy import sparse

from hrlrec_tf.evaluation import metrics

FINE_BINS = 1 << 16
REPLICATE_BINS = 1024
_LARGEST_LOGIT = 17.0  # what a float32 sigmoid tells from 1
_CELL_VALUES = 1 << 25  # counts of replicates held at once, 4 bytes each

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def fine_bins(probabilities: Floats) -> Ints:
    """Bins of numbers in [0, 1] by logit: [N] from 0 to FINE_BINS - 1; each is 0.0005 wide, the outermost wider."""
    with np.errstate(divide="ignore"):
        logits = np.log(probabilities) - np.log1p(-probabilities)
    scaled = (np.clip(logits, -_LARGEST_LOGIT, _LARGEST_LOGIT) / _LARGEST_LOGIT + 1) / 2
    return np.minimum(scaled * FINE_BINS, FINE_BINS - 1).astype(np.int64)


def area(others: np.ndarray, clicked: np.ndarray) -> Floats:
    """Share of (clicked, other) pairs in which the clicked row has the higher value; ties count half.

    Args:
      others: [K, ...] rows without a click, by ascending value.
      clicked: [K, ...] clicked rows.

    Returns:
      [...]; NaN where there is one class only.
    """
    middle = np.cumsum(others, axis=0, dtype=np.float64)
    middle -= others / 2
    pairs = clicked.sum(axis=0, dtype=np.float64) * others.sum(axis=0, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares: Floats = np.einsum("k...,k...->...", middle, clicked) / pairs
    return shares


def error_bound(others: Ints, clicked: Ints) -> float:
    """How far the area of bins [K] can be from that of the rows: half the share of pairs inside one bin."""
    pairs = float(others.sum()) * float(clicked.sum())
    return float((others.astype(np.float64) * clicked).sum()) / 2 / pairs if pairs else 0.0


class ReplicateAreas:
    """AUC of every bootstrap replicate of some rows, added up over parts.

    Args:
      replicates: B.
      coarse: [K] replicate bin of each bin; None where bins are distinct values of the only part: exact.
    """

    def __init__(self, replicates: int, coarse: Ints | None) -> None:
        self._coarse = coarse
        self._aucs = np.full(replicates, np.nan)
        self._bins = int(coarse.max(initial=0)) + 1 if coarse is not None else 0
        self._cells = np.zeros((2, self._bins, replicates), np.float32)

    def rows_by_cell(self, bins: Ints, clicked: np.ndarray, user: Ints, users: int) -> sparse.csr_matrix:
        """Of the rows of a part, how many each user has in each cell: [2 * K, users], cells without a click first."""
        coarse = bins if self._coarse is None else self._coarse[bins]
        count = self._bins if self._coarse is not None else int(bins.max(initial=-1)) + 1
        cell = coarse + count * clicked.astype(np.int64)
        ones = np.ones(len(cell), np.float32)
        return sparse.csr_matrix((ones, (cell, user)), (2 * count, users))

    def add(self, rows_by_cell: sparse.csr_matrix, block: slice, weights: npt.NDArray[np.float32]) -> None:
        """Adds some replicates of a part: weights [users, b]."""
        if self._coarse is not None:
            self._cells[:, :, block] += (rows_by_cell @ weights).reshape(2, self._bins, -1)
            return
        size = max(_CELL_VALUES // max(rows_by_cell.shape[0], 1), 1)
        for first in range(0, weights.shape[1], size):
            others, clicked = np.split(rows_by_cell @ weights[:, first : first + size], 2)
            self._aucs[block][first : first + size] = area(others, clicked)

    def aucs(self) -> Floats:
        """[B]; NaN where a replicate has one class only."""
        return self._aucs if self._coarse is None else area(self._cells[0], self._cells[1])


def coarse_bins(counts: Ints, bins: int = REPLICATE_BINS) -> Ints:
    """Replicate bin of each bin, given the rows [K] in each: numbered without gaps."""
    return np.unique(metrics.equal_mass_bins(counts, bins), return_inverse=True)[1]
