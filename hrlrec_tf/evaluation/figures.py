"""What an evaluation finds: the metrics of a set of rows, with intervals and with reasons for what is missing."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hrlrec_tf.evaluation import significance

METRICS = ("auc", "gauc", "log_loss", "calibration", "calibration_error", "ndcg", "hit_rate", "click_rate")
PROBABILITY_METRICS = ("log_loss", "calibration", "calibration_error")
LOWER_IS_BETTER = ("log_loss",)


@dataclasses.dataclass(frozen=True)
class CalibrationPoint:
    """One bin of a calibration curve.

    Attributes:
      rows: of the bin.
      predicted: mean prediction.
      clicked: share of clicked rows.
      low, high: 95 % interval of `clicked`, by bootstrap over users; NaN where there is none.
    """

    rows: int
    predicted: float
    clicked: float
    low: float = math.nan
    high: float = math.nan


@dataclasses.dataclass(frozen=True)
class Figures:
    """Metrics of one set of rows.

    Attributes:
      rows, users, lists: how many there are.
      lists_left_out: lists with one row or without a click, which `ndcg` and `hit_rate` leave out.
      values: metric of METRICS -> value; NaN where it has none.
      replicates: metric -> its value in each bootstrap replicate, [B]; `calibration_error` has none, for the absolute
        deviations of resampled rows lie above those of the rows.
      missing: metric without a value -> the reason, in words.
      auc_error_bound: how far `auc` can be from the exact one; 0 where it is exact.
      curve: calibration curve, by ascending prediction; empty where predictions are no probabilities.
    """

    rows: int
    users: int
    lists: int
    lists_left_out: int
    values: Mapping[str, float]
    replicates: Mapping[str, npt.NDArray[np.float64]]
    missing: Mapping[str, str]
    auc_error_bound: float
    curve: Sequence[CalibrationPoint]

    def interval(self, metric: str) -> tuple[float, float]:
        """95 % interval by bootstrap over users; NaNs where there is none."""
        if metric not in self.replicates or self.users < significance.LEAST_USERS:
            return math.nan, math.nan
        return significance.percentile_interval(self.replicates[metric])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: counts, metrics, their `_low` and `_high`, `missing`."""
        counts = ("rows", "users", "lists", "lists_left_out", "auc_error_bound")
        found: dict[str, Any] = {name: getattr(self, name) for name in counts}
        for metric in METRICS:
            found[metric] = self.values[metric]
            if metric in self.replicates:
                found[f"{metric}_low"], found[f"{metric}_high"] = self.interval(metric)
        return found | {"missing": dict(self.missing)}


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Figures of one model.

    Attributes:
      overall: of all rows.
      slices: dimension (`channel`, `position`, `activity`) -> slice -> figures of its rows.
      probability: whether predictions are probabilities.
    """

    overall: Figures
    slices: Mapping[str, Mapping[str, Figures]]
    probability: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: those of `overall`, `auc_by_*`, `slices`, `calibration_curve`."""
        by_slice = {
            dimension: {name: figures.to_dict() for name, figures in slices.items()}
            for dimension, slices in self.slices.items()
        }
        areas = {
            f"auc_by_{dimension}": {name: figures["auc"] for name, figures in slices.items()}
            for dimension, slices in by_slice.items()
        }
        curve = [dataclasses.asdict(point) for point in self.overall.curve]
        return {
            **self.overall.to_dict(),
            **areas,
            "slices": by_slice,
            "calibration_curve": curve,
            "probability": self.probability,
        }


def reasons(values: Mapping[str, float], rows: int, why_no_probability: str) -> dict[str, str]:
    """Why metrics have no value: metric -> reason, for those that are NaN.

    Args:
      values: of METRICS.
      rows: how many there are.
      why_no_probability: reason for PROBABILITY_METRICS; "" if predictions are probabilities.
    """
    one_class = "every row was clicked" if values["click_rate"] == 1 else "no row was clicked"
    texts = dict.fromkeys(METRICS, one_class)
    texts["gauc"] = "no user has both clicked and other rows"
    texts |= dict.fromkeys(("ndcg", "hit_rate"), "no list has a click and a second row")
    if why_no_probability:
        texts |= dict.fromkeys(PROBABILITY_METRICS, why_no_probability)
    if not rows:
        texts = dict.fromkeys(METRICS, "there are no rows")
    return {metric: texts[metric] for metric in METRICS if math.isnan(values[metric])}
