"""Wall and CPU time of what a process does."""

import time
from collections.abc import Callable
from typing import Any

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
