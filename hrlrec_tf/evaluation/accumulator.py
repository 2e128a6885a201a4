"""Adds up the rows of one model and slice, part by part, and says their figures."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import sparse

from hrlrec_tf.evaluation import areas, metrics, significance, sums
from hrlrec_tf.evaluation.figures import METRICS, PROBABILITY_METRICS, CalibrationPoint, Figures, reasons
from hrlrec_tf.evaluation.options import Options

Floats = npt.NDArray[np.float64]
Resample = Callable[[slice, npt.NDArray[np.float32]], None]  # takes which replicates, and weights [users, b]


class Accumulator:
    """Figures of one model and slice.

    Args:
      options: replicates and places that list metrics look at.
      counts: rows without and with a click per fine bin of all parts, [2, FINE_BINS]; None where there is one part
        only: then AUC is exact.
      replicate_bins: in which replicates' areas are counted when there are `counts`.
    """

    def __init__(self, options: Options, counts: areas.Ints | None, replicate_bins: int) -> None:
        self._options, self._counts, self._exact = options, counts, counts is None
        replicates = options.replicates
        coarse = None if counts is None else areas.coarse_bins(counts.sum(axis=0), replicate_bins)
        self._areas = areas.ReplicateAreas(replicates, coarse)
        self._curve_bins = None if counts is None else _curve_bins(counts)
        self._sums = np.zeros(len(sums.NAMES))
        self._replicated = np.zeros((replicates, len(sums.NAMES)))
        self._curve = np.zeros((3, metrics.CALIBRATION_BINS))  # rows, predicted, clicked
        self._curve_replicates = np.zeros((2, metrics.CALIBRATION_BINS, replicates))  # rows without, with a click
        self._users = self._lists = 0

    def add(self, rows: sums.Rows) -> Resample:
        """Adds the rows of a part; returns what adds the part's replicates."""
        if self._exact:
            distinct, bins = np.unique(rows.prediction, return_inverse=True)
            cells = bins + len(distinct) * rows.label
            self._counts = np.bincount(cells, minlength=2 * len(distinct)).reshape(2, -1)
            self._curve_bins = _curve_bins(self._counts)
        else:
            bins = areas.fine_bins(rows.prediction)
        assert self._curve_bins is not None
        part_sums = sums.user_sums(rows, self._options)
        self._sums += part_sums.sum(axis=0)
        self._users += int(np.count_nonzero(part_sums[:, 0]))
        self._lists += int(np.count_nonzero(np.bincount(rows.list, minlength=rows.lists)))
        curve_bin = self._curve_bins[bins]
        for total, weight in zip(self._curve, (None, rows.prediction, rows.label), strict=True):
            total += np.bincount(curve_bin, weight, metrics.CALIBRATION_BINS)
        area_cells = self._areas.rows_by_cell(bins, rows.label, rows.user, rows.users)
        curve_cells = _rows_by_cell(curve_bin, rows)

        def resample(block: slice, weights: npt.NDArray[np.float32]) -> None:
            self._areas.add(area_cells, block, weights)
            self._replicated[block] += weights.T.astype(np.float64) @ part_sums
            self._curve_replicates[:, :, block] += (curve_cells @ weights).reshape(2, metrics.CALIBRATION_BINS, -1)

        return resample

    def figures(self, why_no_probability: str = "") -> Figures:
        """The figures of what was added.

        Args:
          why_no_probability: reason for which log loss and calibration have no meaning; "" if they have.
        """
        others, clicked = np.zeros((2, 0), np.int64) if self._counts is None else self._counts
        values = {name: float(value) for name, value in sums.ratios(self._sums).items()}
        values |= {
            "auc": float(areas.area(others, clicked)),
            "calibration_error": metrics.calibration_error(*self._curve),
        }
        replicates = {**sums.ratios(self._replicated), "auc": self._areas.aucs()}
        if why_no_probability:
            values |= dict.fromkeys(PROBABILITY_METRICS, math.nan)
            replicates = {name: each for name, each in replicates.items() if name not in PROBABILITY_METRICS}
        rows = int(self._sums[0])
        return Figures(
            rows=rows,
            users=self._users,
            lists=self._lists,
            lists_left_out=self._lists - int(self._sums[sums.NAMES.index("lists")]),
            values={metric: values[metric] for metric in METRICS},
            replicates=replicates,
            missing=reasons(values, rows, why_no_probability),
            auc_error_bound=0.0 if self._exact else areas.error_bound(others, clicked),
            curve=() if why_no_probability else self._points(),
        )

    def _points(self) -> tuple[CalibrationPoint, ...]:
        points = []
        for place in np.flatnonzero(self._curve[0]):
            rows, predicted, clicked = self._curve[:, place]
            low, high = math.nan, math.nan
            if self._users >= significance.LEAST_USERS:
                others_drawn, clicked_drawn = self._curve_replicates[:, place]
                with np.errstate(invalid="ignore", divide="ignore"):
                    shares = clicked_drawn / (others_drawn + clicked_drawn)
                low, high = significance.percentile_interval(shares)
            points.append(CalibrationPoint(int(rows), predicted / rows, clicked / rows, low, high))
        return tuple(points)


def _curve_bins(counts: areas.Ints) -> areas.Ints:
    """Calibration bin of each bin, given the rows without and with a click in each: [K]."""
    return metrics.equal_mass_bins(counts.sum(axis=0), metrics.CALIBRATION_BINS)


def _rows_by_cell(bins: areas.Ints, rows: sums.Rows) -> sparse.csr_matrix:
    """How many rows each user has in each cell of the curve: [2 * bins, users], cells without a click first."""
    cells = bins + metrics.CALIBRATION_BINS * rows.label
    ones = np.ones(len(cells), np.float32)
    return sparse.csr_matrix((ones, (cells, rows.user)), (2 * metrics.CALIBRATION_BINS, rows.users))
