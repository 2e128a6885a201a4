"""What a command and its child processes take: time, memory, disk."""

import contextlib
import dataclasses
import os
import pathlib
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence

import psutil

from hrlrec_tf.benchmark.processes import BenchmarkError

_SECONDS = 0.1  # between two looks


@dataclasses.dataclass(frozen=True)
class Usage:
    """What a command took.

    Attributes:
      seconds: wall time.
      cpu_seconds: of all processes, as far as they were seen.
      peak_memory_mb: largest sum of resident sets (MiB) at one time; what processes share counts for each of them.
      peak_process_mb: largest resident set of one process.
      peak_disk_mb: most that the watched folders held at a time.
      processes: most at a time.
    """

    seconds: float
    cpu_seconds: float
    peak_memory_mb: float
    peak_process_mb: float
    peak_disk_mb: float
    processes: int


def watch(command: Sequence[str], folders: Sequence[pathlib.Path] = ()) -> Usage:
    """Runs a command to its end.

    Args:
      command: program and arguments.
      folders: whose size to follow; they may come and go.

    Raises:
      BenchmarkError: the command failed; holds the last line that it said.
    """
    memory, largest, disk, most = 0, 0, 0, 0
    cpu: dict[psutil.Process, float] = {}
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = psutil.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
        with _no_survivors(cpu):
            while process.poll() is None:
                sizes = _look(process, cpu)
                memory, largest, most = max(memory, sum(sizes)), max(largest, *sizes, 0), max(most, len(sizes))
                disk = max(disk, sum(_size(folder) for folder in folders))
                time.sleep(_SECONDS)
        seconds = time.perf_counter() - start
        if process.returncode:
            said.seek(0)
            lines = said.read().decode("utf-8", "replace").strip().splitlines() or ["nothing was said"]
            raise BenchmarkError(f"{' '.join(command)} failed: {lines[-1][:300]}; mend that and run it again")
    mb = 2.0**20
    return Usage(seconds, sum(cpu.values()), memory / mb, largest / mb, disk / mb, most)


def _look(process: psutil.Process, cpu: dict[psutil.Process, float]) -> list[int]:
    """Resident bytes of a process and its children now; notes the CPU time that each has taken."""
    sizes = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for each in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess), each.oneshot():
                times = each.cpu_times()
                cpu[each] = times.user + times.system
                sizes.append(each.memory_info().rss)
    return sizes


@contextlib.contextmanager
def _no_survivors(seen: Iterable[psutil.Process]) -> Iterator[None]:
    """Kills processes where the block is left by an error, an interrupt for instance."""
    try:
        yield
    except BaseException:
        for each in seen:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        raise


def _size(folder: pathlib.Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):  # passes over what goes away meanwhile
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(parent, name)).st_size
    return total
