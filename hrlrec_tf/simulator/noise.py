"""Random numbers by name instead of by order.

A draw is a hash of what it is for: the world's seed, a purpose and keys such as user, day and item. Two policies in the
same world meet the same luck (common random numbers), a log does not depend on the size of the batches it is made in,
and any draw can be repeated alone.
"""

import enum
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special


class Purpose(enum.IntEnum):
    """What a draw decides; draws for different purposes are independent."""

    VISIT = 1
    TIME = 2
    DEVICE = 3
    OTHER_DEVICE = 4
    MOOD = 5
    CLICK = 6
    LEAVE = 7
    DWELL = 8
    ANOTHER = 9
    PAUSE = 10
    CANDIDATES = 11
    RANKING = 12
    EXPLORE = 13
    RANDOM_ITEM = 14
    ARM = 15
    LENGTH = 16


_TABLE_SIZE = 1 << 16
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, as in SplitMix64


def _hashes(seed: int, purpose: Purpose, keys: tuple[Any, ...]) -> npt.NDArray[np.uint64]:
    """A 64-bit hash per broadcast combination of integer keys."""
    state: Any = np.uint64((seed << 8 | purpose) & 0xFFFFFFFFFFFFFFFF)
    with np.errstate(over="ignore"):
        for key in keys:
            state = (state + np.asarray(key).astype(np.uint64) + np.uint64(1)) * _ODD
            state = state ^ (state >> np.uint64(29))
    flat = np.ascontiguousarray(state).reshape(-1)
    return pd.util.hash_array(flat, categorize=False).reshape(np.shape(state))


def uniform(seed: int, purpose: Purpose, *keys: Any) -> npt.NDArray[np.float64]:
    """Uniform draws in [0, 1) of the keys' broadcast shape; keys are whole numbers from 0."""
    return (_hashes(seed, purpose, keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(seed: int, purpose: Purpose, *keys: Any) -> npt.NDArray[np.float32]:
    """Standard normal draws; see `uniform`."""
    draws: npt.NDArray[np.float32] = special.ndtri(uniform(seed, purpose, *keys) + 2.0**-54).astype(np.float32)
    return draws


class RowNoise:
    """Long rows of uniform noise at the price of one draw each: a row is a window of one table at a drawn place.

    Windows of different rows overlap now and then, which a hash per number would not; for candidates and rankings,
    where a list needs hundreds of numbers, that is good enough.
    """

    def __init__(self, seed: int, purpose: Purpose) -> None:
        self._seed, self._purpose = seed, purpose
        self._table = np.random.default_rng([seed, purpose]).random(2 * _TABLE_SIZE, dtype=np.float32)

    def rows(self, width: int, *keys: Any) -> npt.NDArray[np.float32]:
        """[n, width] uniform numbers for n combinations of keys; width is at most 65,536."""
        starts = (uniform(self._seed, self._purpose, *keys) * _TABLE_SIZE).astype(np.int64)
        windows = np.lib.stride_tricks.sliding_window_view(self._table, width)
        return windows[starts]
