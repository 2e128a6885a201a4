"""Intervals over seeds, paired bootstrap over users, Holm's correction."""

import math

import numpy as np
from scipy import stats

_CHUNK_VALUES = 1 << 23  # row weights held at once


def t_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean; (NaN, NaN) for fewer than two values."""
    if len(values) < 2:
        return math.nan, math.nan
    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * stats.sem(values)
    return float(np.mean(values) - half), float(np.mean(values) + half)


def weighted_aucs(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Areas under the ROC curve of the same rows under several weightings.

    The share of weight of (clicked, not clicked) pairs in which the clicked row has the higher prediction; ties count
    half.

    Args:
      labels: [rows] 0 or 1.
      predictions: [rows].
      weights: [W, rows], not negative.

    Returns:
      [W]; NaN where a weighting leaves one class only.
    """
    order = np.argsort(predictions, kind="stable")
    ascending = predictions[order]
    starts = np.flatnonzero(np.diff(ascending, prepend=-np.inf) != 0)
    clicked = labels[order].astype(bool)
    ordered = weights[:, order].astype(np.float64)
    positive = np.add.reduceat(np.where(clicked, ordered, 0.0), starts, axis=1)
    negative = np.add.reduceat(np.where(clicked, 0.0, ordered), starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    with np.errstate(invalid="ignore"):
        aucs: np.ndarray = (positive * below).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1))
    return aucs


class UserBootstrap:
    """Resamples users with replacement; every model sees the same replicates, so differences are paired.

    Args:
      users: [rows] whose rows they are.
      labels: [rows] 0 or 1.
      replicates: B.
      seed: of the resampling.
    """

    def __init__(self, users: np.ndarray, labels: np.ndarray, replicates: int, seed: int = 0) -> None:
        names, self._user = np.unique(users, return_inverse=True)
        self._labels = labels
        share = np.full(len(names), 1 / len(names))
        self._times = np.random.default_rng(seed).multinomial(len(names), share, size=replicates)

    def aucs(self, predictions: np.ndarray) -> np.ndarray:
        """AUC of each replicate: [B]."""
        rows = max(_CHUNK_VALUES // len(self._user), 1)
        chunks = (self._times[first : first + rows] for first in range(0, len(self._times), rows))
        return np.concatenate([weighted_aucs(self._labels, predictions, times[:, self._user]) for times in chunks])


def p_value(ours: np.ndarray, theirs: np.ndarray) -> float:
    """One-sided p of "we are no better": how often replicates deny it, ties half; the data are one replicate more.

    Args:
      ours, theirs: [B] AUCs of the same replicates.
    """
    denied = np.sum(ours < theirs) + 0.5 * np.sum(ours == theirs)
    return float((denied + 1.0) / (len(ours) + 1))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's step-down correction of several p-values (1979): adjusted values in the same order."""
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted
