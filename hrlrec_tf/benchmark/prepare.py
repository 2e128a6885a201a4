"""`hrlrec benchmark prepare`: rows per second, memory and disk of `hrlrec prepare` over the size of a simulated log."""

import dataclasses
import json
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from hrlrec_tf.benchmark.processes import BenchmarkError
from hrlrec_tf.benchmark.watch import Usage, watch
from hrlrec_tf.data.buckets import MAX_PARTITION_BITS, bucket_bits
from hrlrec_tf.data.formats import BATCH_ROWS
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.logs import write_log

ROWS, QUICK_ROWS = "100000,1000000,10000000", "2000,20000"
MEMORY_LIMIT_MB = 3 * 1024
LINEAR_WITHIN = 1.1  # of the exponent of time over rows
PROJECTED_ROWS, PROJECTED_WORKERS = 4_000_000_000, 64

_STARTUP_ROWS, _FITTED_ROWS = 200, 50_000
_SHORTEST = 1e-3  # seconds; what is left of a small log's time may be less than nothing
_DAYS, _LIST = 10, 10
_ROWS_PER_USER, _ROWS_PER_ITEM = 200, 100


def parse_rows(text: str) -> tuple[int, ...]:
    """Sizes of logs from `N,N,...`, ascending.

    Raises:
      ConfigError: that is not what `text` says, or a size is out of range.
    """
    try:
        rows = tuple(sorted({int(each) for each in text.split(",")}))
    except ValueError:
        rows = ()
    if not rows or not 1_000 <= rows[0] <= rows[-1] <= 1_000_000_000:
        raise ConfigError(f"--rows must be numbers from 1000 to 1000000000 with commas between them: got {text!r}")
    return rows


def run(rows: Sequence[int], folder: str | None = None) -> dict[str, Any]:
    """Measures each size.

    Args:
      rows: sizes of the logs, ascending; rounded to whole days of whole lists.
      folder: where logs and sessions lie for the time being, by default among the temporary files.

    Returns:
      The result, ready for JSON: see `summarise`.

    Raises:
      BenchmarkError: a run failed, or lost rows.
    """
    with tempfile.TemporaryDirectory(prefix="hrlrec-benchmark-", dir=folder) as scratch:
        startup = _measure(_STARTUP_ROWS, pathlib.Path(scratch) / "startup")
        sizes = [_measure(each, pathlib.Path(scratch) / str(each)) for each in tqdm(rows, "prepare", unit="log")]
    return summarise(startup, sizes, len(os.sched_getaffinity(0)))


def summarise(startup: Mapping[str, Any], sizes: Sequence[Mapping[str, Any]], cores: int) -> dict[str, Any]:
    """The figures of all sizes.

    Args:
      startup: of a log with hardly a row. sizes: of the logs, ascending: `rows` and what `Usage` says.
      cores: of this machine.

    Returns:
      `rows_per_second` (start-up left out), `peak_memory_mb` and `rows`, of the largest log; `startup_seconds`;
      `sizes`, the same of each with its `cpu_seconds`, `peak_process_mb` and `peak_disk_mb`; `exponent`,
      `cpu_exponent`: wall and CPU time without start-up grow with this power of the rows, None without two sizes to
      tell; `linear`: whether the CPU time, which other work on the machine hardly changes, grows with the rows alone;
      `within_memory`; `projection`: see `project`.
    """
    found = [
        {**size, "rows_per_second": size["rows"] / max(size["seconds"] - startup["seconds"], _SHORTEST)}
        for size in sizes
    ]
    largest = found[-1]
    cpu_exponent = _exponent(startup, sizes, "cpu_seconds")
    return {
        **{name: largest[name] for name in ("rows_per_second", "peak_memory_mb", "rows")},
        "startup_seconds": startup["seconds"],
        "startup_cpu_seconds": startup["cpu_seconds"],
        "sizes": found,
        "exponent": _exponent(startup, sizes, "seconds"),
        "cpu_exponent": cpu_exponent,
        "linear": cpu_exponent is None or cpu_exponent <= LINEAR_WITHIN,
        "within_memory": max(size["peak_memory_mb"] for size in found) <= MEMORY_LIMIT_MB,
        "memory_limit_mb": MEMORY_LIMIT_MB,
        "cores": cores,
        "projection": project(startup, largest, cores),
    }


def _exponent(startup: Mapping[str, Any], sizes: Sequence[Mapping[str, Any]], clock: str) -> float | None:
    """Slope of log time over log rows, of logs that are large enough for more than start-up to show."""
    sizes = [size for size in sizes if size["rows"] >= _FITTED_ROWS]
    if len(sizes) < 2:
        return None
    seconds = [max(size[clock] - startup[clock], _SHORTEST) for size in sizes]
    return float(np.polyfit(np.log([size["rows"] for size in sizes]), np.log(seconds), 1)[0])


def project(startup: Mapping[str, Any], largest: Mapping[str, Any], cores: int) -> dict[str, Any]:
    """What PROJECTED_ROWS would take, on paper.

    Args:
      startup: as `summarise`. largest: figures of the largest log, `rows_per_second` included.
      cores: that it ran on.

    Returns:
      `rows`; `workers`, of one core and one process each; `hours` at the rate measured, `cpu_hours` of all workers;
      `memory_mb` of a worker; `disk_gb` of files between the stages and of the output; `assumptions`.
    """
    scale = PROJECTED_ROWS / largest["rows"]
    copies = 2 if bucket_bits(PROJECTED_ROWS) > MAX_PARTITION_BITS else 1
    plan_mb = PROJECTED_ROWS / BATCH_ROWS * 2 * (1 << MAX_PARTITION_BITS) / 2**20
    assumptions = [
        "a core is as fast as one here was, and cores wait neither for each other nor for the disk",
        "rows are as long as those of the simulated log, and no user has more than a worker's memory holds",
        f"the log has at least {PROJECTED_WORKERS} files or Parquet row groups",
        f"each worker also holds where every partition's rows lie: {plan_mb:,.0f} MiB",
    ]
    if copies > 1:
        assumptions.append("splitting each partition into its buckets costs as much disk again, and no time")
    return {
        "rows": PROJECTED_ROWS,
        "workers": PROJECTED_WORKERS,
        "hours": PROJECTED_ROWS * cores / (largest["rows_per_second"] * PROJECTED_WORKERS) / 3600,
        "cpu_hours": scale * max(largest["cpu_seconds"] - startup["cpu_seconds"], _SHORTEST) / 3600,
        "memory_mb": largest["peak_process_mb"] + plan_mb,
        "disk_gb": copies * scale * largest["peak_disk_mb"] / 1024,
        "assumptions": assumptions,
    }


def as_text(result: Mapping[str, Any]) -> str:
    """The figures, for people."""
    lines = [
        f"{result['rows_per_second']:,.0f} rows per second on {result['cores']} cores, at {result['rows']:,} rows",
        f"start-up {result['startup_seconds']:.1f} s, left out above",
        "",
        f"{'rows':>12}{'seconds':>10}{'CPU s':>10}{'rows/s':>10}{'MiB':>8}{'one':>8}{'disk':>8}{'processes':>11}",
    ]
    for size in result["sizes"]:
        lines.append(
            f"{size['rows']:>12,}{size['seconds']:>10.1f}{size['cpu_seconds']:>10.1f}{size['rows_per_second']:>10,.0f}"
            f"{size['peak_memory_mb']:>8,.0f}{size['peak_process_mb']:>8,.0f}{size['peak_disk_mb']:>8,.0f}"
            f"{size['processes']:>11}"
        )
    lines += ["MiB: resident memory of all processes at its peak, and of the largest one; disk: of files at their peak"]
    if result["exponent"] is not None:
        verdict = "linear" if result["linear"] else f"more than linear (limit {LINEAR_WITHIN})"
        lines += [
            "",
            f"CPU time grows with the {result['cpu_exponent']:.2f}th power of the rows, wall time with the "
            f"{result['exponent']:.2f}th: {verdict}",
        ]
    memory = "within" if result["within_memory"] else "beyond"
    lines.append(f"memory stays {memory} {result['memory_limit_mb']:,} MiB")
    paper = result["projection"]
    lines += [
        "",
        f"on paper, {paper['rows']:,} rows on {paper['workers']} workers of one core: {paper['hours']:.1f} hours "
        f"({paper['cpu_hours']:,.1f} CPU hours in all), "
        f"{paper['memory_mb']:,.0f} MiB each, {paper['disk_gb']:,.0f} GiB of disk, if",
        *(f"- {assumption}" for assumption in paper["assumptions"]),
    ]
    return "\n".join(lines)


def _measure(rows: int, folder: pathlib.Path) -> dict[str, Any]:
    """Writes a log, prepares it in processes of its own and removes both."""
    folder.mkdir()
    log, out, work = folder / "log", folder / "sessions", folder / ".sessions.partial"
    written = write_log(world(rows), log, progress=False)["rows"]
    command = [sys.executable, "-m", "hrlrec_tf.cli", "prepare", "--log", str(log), "--out", str(out)]
    usage: Usage = watch(command, [out, work])
    accepted = json.loads((out / "summary.json").read_text(encoding="utf-8"))["accepted"]
    if accepted != written:
        raise BenchmarkError(f"hrlrec prepare kept {accepted:,} of {written:,} simulated rows; look at its rejected/")
    shutil.rmtree(folder)
    return {"rows": written, **dataclasses.asdict(usage)}


def world(rows: int) -> WorldConfig:
    """A world whose log has about so many rows, over some days."""
    return WorldConfig(
        users=max(rows // _ROWS_PER_USER, 20),
        items=max(min(rows // _ROWS_PER_ITEM, 100_000), 40),
        days=_DAYS,
        requests_per_day=max(rows // (_DAYS * _LIST), 1),
        positions=_LIST,
    )
