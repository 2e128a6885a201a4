"""`hrlrec benchmark serve`: what is measured, in which order, and the figures that come out.

A shared machine drifts, so the contestants take turns and the percentiles are of all calls of all rounds; differences
are formed within a round.
"""

import contextlib
import math
import os
import pathlib
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from hrlrec_tf.benchmark.timing import percentiles
from hrlrec_tf.errors import ModelError
from serving.benchmark import worker
from serving.benchmark.contest import Contest
from serving.benchmark.load import Samples
from serving.benchmark.plan import HRLREC, Plan, base_of, newest_version
from serving.benchmark.sweep import sweep

NOTE = (
    "Figures through gRPC are those of the embedded server of this package, a development server in Python. They are "
    "not TensorFlow Serving's and say nothing about it."
)
UNTRAINED = "The model was built for this benchmark from random sessions: its lists mean nothing, its speed does."

_CALLS, _QUICK_CALLS = 200, 5  # in a turn
_SWAP_SECONDS, _QUICK_SWAP_SECONDS = 75.0, 20.0  # a busy machine loads slowly
_AFTER_SWAP = 1.0  # seconds after a new version serves that still count as the swap's
_NAMES = {"rank": "{}", "rank_ids": "{}_ids", "deepfm": "deepfm_{}"}  # of a call's figures
_KEYS = {worker.IN_PROCESS: "in_process", worker.SAVED_MODEL: "saved_model", "grpc": "grpc"}
_CURVES = {
    "candidates": (50, 100, 200, 400, 800, 1600, 3200, 5000),
    "history": (0, 10, 20, 41),
    "batch": (1, 2, 4, 8, 16, 32),
}
_QUICK_CURVES = {"candidates": (5, 20), "history": (0, 4), "batch": (1, 2)}


@contextlib.contextmanager
def contest(model_base: str | None, sessions: str | None, quick: bool) -> Iterator[Contest]:
    """A scratch folder with the models, and the contestants on it.

    Args:
      model_base: base folder of the model to measure, copied; None: one is built, and DeepFM.
      sessions: prepared sessions that requests are drawn from; None: random requests.
      quick: tiny sizes.

    Raises:
      ModelError: `model_base` holds no version.
    """
    plan = Plan(sessions, quick, **({"candidates": 20, "history": 4, "requests": 4} if quick else {}))
    with tempfile.TemporaryDirectory(prefix="hrlrec-benchmark-") as scratch:
        folder = pathlib.Path(scratch)
        if model_base is not None:
            newest = newest_version(pathlib.Path(model_base))
            if newest is None:
                raise ModelError(f"{model_base}: holds no version; write one with `hrlrec export --out {model_base}`")
            shutil.copytree(newest, base_of(folder, HRLREC) / newest.name)
        with Contest(folder, plan) as contestants:
            if model_base is None:
                contestants.build()
            yield contestants


def run(rounds: int, model_base: str | None = None, sessions: str | None = None, quick: bool = False) -> dict[str, Any]:
    """Measures everything; see `contest` for the arguments.

    Returns:
      The result, ready for JSON. Times are in milliseconds, rates per second.

    Raises:
      BenchmarkError: a contestant's process died. ModelError: there is no model. DataError: there are no sessions.
    """
    with contest(model_base, sessions, quick) as contestants:
        known = contestants.ask(worker.IN_PROCESS, "known")
        bar = tqdm(desc="benchmark", total=rounds + 4, unit="part")
        result = contestants.ask(worker.IN_PROCESS, "sizes") | _latencies(contestants, known, rounds, quick, bar)
        result |= _throughput(contestants, quick)
        bar.update()
        peak = result["throughput"]
        result["swap"] = swap(contestants, peak / 2, _QUICK_SWAP_SECONDS if quick else _SWAP_SECONDS)
        bar.update()
        result["curves"] = _curves(contestants, [call for call in known if call != "rank_ids"], quick)
        bar.update(2)
        bar.close()
    return {**result, **_circumstances(model_base, quick)}


def soak(
    minutes: float, swaps: int, model_base: str | None = None, sessions: str | None = None, quick: bool = False
) -> dict[str, Any]:
    """Half of the peak rate for some minutes, with new versions put in meanwhile; see `contest` for the arguments."""
    with contest(model_base, sessions, quick) as contestants:
        result = sweep({"": contestants.load("rank")}, quick)
        result["soak"] = {"minutes": minutes, **swap(contestants, result["throughput"] / 2, 60 * minutes, swaps)}
    return {**result, **_circumstances(model_base, quick)}


def swap(contestants: Contest, rate: float, seconds: float, swaps: int = 1) -> dict[str, Any]:
    """Load while versions change.

    Returns:
      `before`: percentiles of calls before the first swap; `during`: of those between the start of the copying and a
      second after the new version served; `p99_ratio`; `errors` by status; `versions`; the server's memory: what it
      had at each look, its slope over the whole time by least squares, and its medians before, between and after swaps.
    """
    samples, windows, states = contestants.under_load(rate, seconds, swaps)
    before = samples.between(-np.inf, windows[0][0] if windows else np.inf).summary()
    parts = [samples.between(start, end + _AFTER_SWAP) for start, end in windows]
    during = percentiles(np.concatenate([(part.done - part.due)[part.answered] for part in parts]) if parts else [])
    memory = np.array([state["rss_mb"] for state in states])
    moments = np.array([state["moment"] for state in states])
    slope = 60 * np.polyfit(moments - moments[0], memory, 1)[0] if len(states) > 1 else np.nan
    return {
        "rate": rate,
        "all": samples.summary(),
        "before": before,
        "during": during,
        "p99_ratio": during["p99_ms"] / before["p99_ms"],
        "errors": samples.summary()["errors"],
        "swaps": sum(math.isfinite(end) for _, end in windows),
        "swap_seconds": [end - start for start, end in windows],
        "versions": sorted({int(state["version"]) for state in states}),
        "rss_mb_per_minute": float(slope),
        "rss_mb_between_swaps": _between(memory, moments, windows),
        "rss_mb": memory.tolist(),
        "seconds": (moments - moments[0]).tolist(),
    }


def _between(memory: npt.NDArray, moments: npt.NDArray, windows: Sequence[tuple[float, float]]) -> list[float]:
    """Medians of what was seen outside the windows; nothing of the time after a swap that did not end."""
    starts, ends = [-np.inf, *(end for _, end in windows)], [*(start for start, _ in windows), np.inf]
    parts = [memory[(moments >= start) & (moments < end)] for start, end in zip(starts, ends, strict=True)]
    return [float(np.median(part)) for part in parts if part.size]


def _circumstances(model_base: str | None, quick: bool) -> dict[str, Any]:
    """What a reader must know of the figures; `load_average`: processes that wanted a core, over 5 minutes."""
    built = {"model": UNTRAINED} if model_base is None else {}
    machine = {"cores": len(os.sched_getaffinity(0)), "load_average": os.getloadavg()[1]}
    return {**built, **machine, "note": NOTE, "quick": quick}


def _latencies(contestants: Contest, known: Sequence[str], rounds: int, quick: bool, bar: tqdm) -> dict[str, Any]:
    """Latency of each call in process and through gRPC, turn by turn."""
    calls = _QUICK_CALLS if quick else _CALLS
    turns: dict[str, list[list[float]]] = {}
    cpu: dict[str, list[float]] = {}
    for call in known:  # nobody is timed while another still starts
        for kind in (worker.IN_PROCESS, worker.SAVED_MODEL):
            contestants.ask(kind, "run", call=call, repeat=1)
        contestants.load(call).closed_loop(calls=1)
    for _ in range(rounds):
        for call in known:
            for kind in (worker.IN_PROCESS, worker.SAVED_MODEL):
                times = contestants.ask(kind, "run", call=call, repeat=calls)
                turns.setdefault(f"{kind} {call}", []).append([each["wall"] for each in times])
                cpu.setdefault(f"{kind} {call}", []).extend(each["cpu"] for each in times)
            turns.setdefault(f"grpc {call}", []).append(_latency(contestants.load(call).closed_loop(calls=calls)))
        turns.setdefault("client", []).append(contestants.client(calls))
        bar.update()

    def figures(name: str) -> dict[str, float]:
        found = percentiles([seconds for turn in turns[name] for seconds in turn])
        return found | ({"cpu_p50_ms": 1e3 * statistics.median(cpu[name])} if name in cpu else {})

    result: dict[str, Any] = {"client": figures("client"), "grpc_overhead_ms": {}}
    for call in known:
        result |= {_NAMES[call].format(key): figures(f"{kind} {call}") for kind, key in _KEYS.items()}
        result["grpc_overhead_ms"][call] = _difference(turns[f"grpc {call}"], turns[f"{worker.IN_PROCESS} {call}"])
    return result


def _difference(slow: Sequence[Sequence[float]], fast: Sequence[Sequence[float]]) -> float:
    """Median over the rounds of the difference of the two medians, in milliseconds."""
    pairs = zip(slow, fast, strict=True)
    return 1e3 * statistics.median(statistics.median(one) - statistics.median(other) for one, other in pairs)


def _latency(samples: Samples) -> list[float]:
    return (samples.done - samples.due)[samples.answered].tolist()


def _throughput(contestants: Contest, quick: bool) -> dict[str, Any]:
    """See `sweep`; with `_batched` behind each name for the server that batches."""
    servers = {"": worker.SERVER, "_batched": worker.SERVER_BATCHED}
    return sweep({key: contestants.load("rank", server) for key, server in servers.items()}, quick)


def _curves(contestants: Contest, known: Sequence[str], quick: bool) -> dict[str, Any]:
    """Median time of a call in process on one core over its size, each size with the others at their own."""
    repeat = 3 if quick else 30
    curves: dict[str, Any] = {}
    for field, values in (_QUICK_CURVES if quick else _CURVES).items():
        curves[field] = [{field: value} for value in values]
        for point in curves[field]:
            for call in known:
                times = contestants.ask(worker.IN_PROCESS, "run", call=call, repeat=repeat, **{field: point[field]})
                point[f"{call}_ms"] = 1e3 * statistics.median(each["wall"] for each in times)
    return curves
