"""The most that servers answer: a rate sweep with random arrivals, servers in turns."""

from collections.abc import Mapping
from typing import Any, Protocol

from serving.benchmark.load import Samples

_SECONDS, _QUICK_SECONDS = 5.0, 0.5  # of each rate
_CALLERS = 16  # that saturate a server
_SHARES, _QUICK_SHARES = (0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1), (0.5,)  # of the rate found with so many callers
_KEPT_UP = 0.95  # of the offered rate that must be answered


class Loads(Protocol):
    """Puts load on a server: `load.LoadGenerator`, here or in another process."""

    def closed_loop(self, callers: int = 1, *, seconds: float | None = None) -> Samples:
        """See `load.LoadGenerator`."""

    def open_loop(self, rate: float, seconds: float) -> Samples:
        """See `load.LoadGenerator`."""


def sweep(servers: Mapping[str, Loads], quick: bool = False) -> dict[str, Any]:
    """Rates that each server answers.

    Args:
      servers: what its figures carry behind their names -> load on it.
      quick: only to see that it runs.

    Returns:
      `throughput`: the most answers per second under any load; `sustained`: the highest rate of random arrivals of
      which `_KEPT_UP` were answered as they came, without an error; `saturated`: many callers in a closed loop;
      `sweep`: latency by `offered` rate.
    """
    seconds = _QUICK_SECONDS if quick else _SECONDS
    saturated = {key: load.closed_loop(_CALLERS, seconds=seconds).summary() for key, load in servers.items()}
    points: dict[str, list[dict[str, Any]]] = {key: [] for key in servers}
    for share in _QUICK_SHARES if quick else _SHARES:
        for key, load in servers.items():
            offered = share * saturated[key]["rate"]
            points[key].append({"offered": offered, **load.open_loop(offered, seconds).summary()})
    result: dict[str, Any] = {}
    for key, found in points.items():
        kept_up = [at["offered"] for at in found if at["rate"] >= _KEPT_UP * at["offered"] and not at["errors"]]
        result[f"throughput{key}"] = max(at["rate"] for at in [saturated[key], *found])
        result[f"sustained{key}"] = max(kept_up, default=0.0)
        result |= {f"saturated{key}": saturated[key], f"sweep{key}": found}
    return result
