"""Wall and CPU time of what a process does, and percentiles of many times."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

PERCENTILES = {"p50_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0, "p999_ms": 99.9}

Times = list[dict[str, float]]  # one entry per repetition: wall and cpu, in seconds


def measure(function: Callable[[], Any], repeat: int) -> Times:
    """Times of each of `repeat` calls, after one that does not count: something else ran before."""
    function()
    times = []
    for _ in range(repeat):
        wall, cpu = time.perf_counter(), time.process_time()
        function()
        times.append({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu})
    return times


def percentiles(seconds: Sequence[float] | npt.NDArray) -> dict[str, float]:
    """`PERCENTILES` of some times in milliseconds, from all of them, and `calls`, their number; NaN without any."""
    values = 1e3 * np.asarray(seconds, np.float64)
    found = np.percentile(values, list(PERCENTILES.values())) if values.size else np.full(len(PERCENTILES), np.nan)
    return {**dict(zip(PERCENTILES, found.tolist(), strict=True)), "calls": int(values.size)}
