"""Intervals over seeds and over users, p-values, Holm's correction, and the weights of a bootstrap over users."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

LEAST_USERS = 10  # below which users are not resampled: an interval would pretend to know more than it can
_BLOCK_VALUES = 1 << 22  # weights made at once
_LEVELS = 1 << 16

Floats = npt.NDArray[np.float64]


def t_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean; (NaN, NaN) for fewer than two values."""
    if len(values) < 2:
        return math.nan, math.nan
    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * stats.sem(values)
    return float(np.mean(values) - half), float(np.mean(values) + half)


def percentile_interval(replicates: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Interval between quantiles of bootstrap replicates [B].

    (NaN, NaN) where fewer than half of the replicates have a value, or none was drawn.
    """
    known = replicates[np.isfinite(replicates)]
    if not len(known) or 2 * len(known) < len(replicates):
        return math.nan, math.nan
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def user_weights(users: int, replicates: int, seed: Sequence[int]) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    """How often each user occurs in each bootstrap replicate: independent Poisson(1) counts.

    Drawing users one by one with replacement would need all users at once; independent counts of mean 1 do not
    (Hanley and MacGibbon 2006), and every metric here is free of the number drawn. They come from 16-bit random
    numbers, so that counts above 8, of probability 1e-6, do not occur.

    Args:
      users: U.
      replicates: B.
      seed: of the random numbers; the same numbers give the same weights, so that models are compared on the same
        replicates.

    Yields:
      Which replicates, and their weights [U, replicates of this block].
    """
    counts = stats.poisson.ppf((np.arange(_LEVELS) + 0.5) / _LEVELS, 1.0).astype(np.float32)
    rng = np.random.default_rng(seed)
    block = max(_BLOCK_VALUES // max(users, 1), 1)
    for first in range(0, replicates, block):
        size = min(block, replicates - first)
        drawn = rng.integers(0, _LEVELS, (size, users), dtype=np.uint16)
        yield slice(first, first + size), np.ascontiguousarray(counts[drawn].T)


def p_value(ours: np.ndarray, theirs: np.ndarray) -> float:
    """One-sided p of "we are no better": how often replicates deny it, ties half; the data are one replicate more.

    Args:
      ours, theirs: [B] values of the same replicates, larger is better; pairs with a NaN do not count.

    Returns:
      In (0, 1]; NaN where no pair counts.
    """
    known = np.isfinite(ours) & np.isfinite(theirs)
    if not known.any():
        return math.nan
    ours, theirs = ours[known], theirs[known]
    denied = np.sum(ours < theirs) + 0.5 * np.sum(ours == theirs)
    return float((denied + 1.0) / (len(ours) + 1))


def holm(p_values: np.ndarray) -> Floats:
    """Holm's step-down correction of several p-values (1979): adjusted values in the same order; NaN stays NaN."""
    adjusted = np.full(len(p_values), np.nan)
    known = np.flatnonzero(np.isfinite(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    factors = len(known) - np.arange(len(known))
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted
