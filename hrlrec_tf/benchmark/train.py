"""`hrlrec benchmark train`: the training step next to stock Keras layers and to the machine's own limit.

A shared machine drifts, so the contestants take turns and are compared round by round: a figure is the median over the
rounds of what each round gave.
"""

import contextlib
import os
import pathlib
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm

from hrlrec_tf.benchmark import flops, worker
from hrlrec_tf.benchmark.processes import Contestant
from hrlrec_tf.benchmark.timing import Times
from hrlrec_tf.benchmark.workload import Workload

_REPEAT = 3  # steps in a turn, and for each point of a curve
_BATCHES, _QUICK_BATCHES = (32, 64, 128, 256, 512), (4, 8)
_ROWS, _QUICK_ROWS = (10, 25, 50, 100), (6,)  # another length is traced anew

Figures = Mapping[str, float]  # wall and cpu, in seconds
Turns = Sequence[Mapping[str, Figures]]  # what each kind of contestant gave, round by round


def run(rounds: int, data: str | None = None, quick: bool = False) -> dict[str, Any]:
    """Measures everything.

    Args:
      rounds: turns that each contestant takes.
      data: prepared sessions to read, by default random ones.
      quick: small sizes, to see that it runs.

    Returns:
      The result, ready for JSON.

    Raises:
      BenchmarkError: a contestant's process died.
    """
    with tempfile.TemporaryDirectory(prefix="hrlrec-benchmark-") as scratch, contextlib.ExitStack() as stack:
        folder = pathlib.Path(scratch)
        sessions = pathlib.Path(data) if data else folder / "sessions"

        def start(kind: str) -> Contestant:
            return stack.enter_context(Contestant(kind, folder, sessions, quick))

        kinds = (worker.PLAIN, worker.PLAIN_TUNED, worker.PACKAGE, worker.MATMUL)
        contestants = {kind: start(kind) for kind in kinds}
        package = contestants[worker.PACKAGE]
        bar = stack.enter_context(tqdm(desc="benchmark", total=rounds + 4, unit="part"))
        for contestant in contestants.values():  # nobody is timed while another still starts
            contestant.ask("run", repeat=0)
        bar.update()
        turns = []
        for _ in range(rounds):
            turns.append({kind: median(contestants[kind].ask("run", repeat=_REPEAT)) for kind in kinds})
            bar.update()
        result = summarise(turns, worker.workload(quick), worker.matmul_size(quick))
        parts = {name: median(times) for name, times in package.ask("parts", repeat=_REPEAT).items()}
        result["parts"] = [
            {"part": name, "wall_ms": 1e3 * times["wall"], "cpu_ms": 1e3 * times["cpu"]}
            for name, times in parts.items()
        ]
        bar.update()
        result |= _curves(package, quick)
        bar.update()
        result["input"] = _input(start(worker.INPUT), result["wall_ms"][worker.PACKAGE])
        bar.update()
    return {**result, "cores": len(os.sched_getaffinity(0)), "quick": quick}


def median(times: Times) -> Figures:
    """Median of each clock."""
    return {clock: statistics.median(each[clock] for each in times) for clock in ("wall", "cpu")}


def summarise(turns: Turns, workload: Workload, matmul_size: int) -> dict[str, Any]:
    """Speeds and their ratios.

    Args:
      turns: of each kind of contestant.
      workload: of a step. matmul_size: n of the n x n product.

    Returns:
      `impressions_per_second`: fresh impressions of the package's steps; one that critic and actor see counts once.
      `speedup_over_plain_keras`, `speedup_with_equal_threads_and_memory`: in wall time; `cpu_ratio`: in CPU time.
      `matmul_share`: the plain implementation's operations per second of the package's steps, over its own.
      `wall_ms`, `cpu_ms`: of a step, or of one product. `flops`: of a step, by part. `matmul_gflops`.
    """
    counted = flops.step(workload)
    rate = [2 * matmul_size**3 / turn[worker.MATMUL]["wall"] for turn in turns]
    package = [turn[worker.PACKAGE]["wall"] for turn in turns]
    shares = [sum(counted.values()) / step / peak for step, peak in zip(package, rate, strict=True)]
    return {
        "impressions_per_second": workload.batch * workload.list_length / statistics.median(package),
        "speedup_over_plain_keras": _ratio(turns, worker.PLAIN, "wall"),
        "speedup_with_equal_threads_and_memory": _ratio(turns, worker.PLAIN_TUNED, "wall"),
        "cpu_ratio": _ratio(turns, worker.PLAIN, "cpu"),
        "matmul_share": statistics.median(shares),
        "matmul_gflops": statistics.median(rate) / 1e9,
        "flops": counted,
        **{f"{clock}_ms": _milliseconds(turns, clock) for clock in ("wall", "cpu")},
        "rounds": [{kind: dict(figures) for kind, figures in turn.items()} for turn in turns],
    }


def _ratio(turns: Turns, kind: str, clock: str) -> float:
    return statistics.median(turn[kind][clock] / turn[worker.PACKAGE][clock] for turn in turns)


def _milliseconds(turns: Turns, clock: str) -> dict[str, float]:
    return {kind: 1e3 * statistics.median(turn[kind][clock] for turn in turns) for kind in turns[0]}


def _curves(package: Contestant, quick: bool) -> dict[str, Any]:
    """Step time over batch size and over sequence length, each with the other at its own size."""
    own = worker.workload(quick)
    curves: dict[str, Any] = {}
    for field, values in (
        ("batch", _QUICK_BATCHES if quick else _BATCHES),
        ("rows", _QUICK_ROWS if quick else _ROWS),
    ):
        curves[f"{field}_curve"] = []
        for value in values:
            sizes = {"batch": own.batch, "rows": own.rows, field: value}
            found = median(package.ask("run", repeat=_REPEAT, **sizes))
            curves[f"{field}_curve"].append({field: value, **{f"{clock}_ms": 1e3 * s for clock, s in found.items()}})
    return curves


def _input(contestant: Contestant, step_ms: float) -> dict[str, float]:
    """Milliseconds per batch of the input pipeline alone, and as a share of the step's."""
    found = {name: median(times) for name, times in contestant.ask("run", repeat=_REPEAT).items()}
    result = {f"{name}_{clock}_ms": 1e3 * seconds for name, each in found.items() for clock, seconds in each.items()}
    return {**result, "share_of_step": result["files_wall_ms"] / step_ms}
