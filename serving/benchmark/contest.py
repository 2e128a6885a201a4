"""The contestants of one benchmark, started and asked: what stands between `measure` and the processes."""

import concurrent.futures
import contextlib
import math
import pathlib
import shutil
import time
from types import TracebackType
from typing import Any

import numpy as np

from hrlrec_tf.benchmark.processes import Contestant
from serving.benchmark import worker
from serving.benchmark.load import Samples
from serving.benchmark.plan import CALLS, HRLREC, Plan, base_of, newest_version

_MODULE = "serving.benchmark.worker"
_LOOK_SECONDS = 0.25


class Contest:
    """Starts a process for each kind when it is first asked; leave the context to end them.

    Args:
      folder: holds the plan and the models.
      plan: sizes.
    """

    def __init__(self, folder: pathlib.Path, plan: Plan) -> None:
        self._folder, self._plan, self._stack = folder, plan, contextlib.ExitStack()
        self._contestants: dict[str, Contestant] = {}
        self._addresses: dict[str, dict[str, str]] = {}
        plan.write(folder)

    def __enter__(self) -> "Contest":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def ask(self, kind: str, do: str, **options: Any) -> Any:
        """Asks a contestant and waits for its answer.

        Raises:
          BenchmarkError: its process has ended.
        """
        if kind not in self._contestants:
            self._contestants[kind] = self._stack.enter_context(self._start(kind))
        return self._contestants[kind].ask(do, **options)

    def build(self) -> None:
        """Makes the models, in a process that ends with that; raises as `ask` does."""
        with self._start(worker.BUILD) as builder:
            builder.ask("build")

    def load(self, call: str, server: str = worker.SERVER) -> "RemoteLoad":
        """Puts load on a server."""
        return RemoteLoad(self, call, self._address(call, server))

    def client(self, calls: int) -> list[float]:
        """Seconds of each of some calls by the client library."""
        address = self._address("rank", worker.SERVER)
        return [each["wall"] for each in self.ask(worker.LOAD, "client", address=address, calls=calls)]

    def under_load(
        self, rate: float, seconds: float, swaps: int
    ) -> tuple[Samples, list[tuple[float, float]], list[dict[str, float]]]:
        """Poisson arrivals while new versions of the model are put into the base folder, evenly spread.

        Returns:
          The calls; of each swap when its copying began and when the new version served, infinity if that was too
          late for the load; the server's states.
        """
        states, windows = [], []
        due = [seconds * (3 * swap + 1) / (3 * swaps) for swap in range(swaps)]  # with twice as long to finish
        begun: float | None = None
        target = int(self.ask(worker.SERVER, "state")["version"])
        load = self.load("rank")
        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(load.open_loop, rate, seconds)
            while not running.done():
                states.append(self.ask(worker.SERVER, "state"))
                if begun is not None and states[-1]["version"] == target:
                    windows.append((begun, states[-1]["moment"]))
                    begun = None
                if begun is None and len(windows) < swaps and time.monotonic() - start >= due[len(windows)]:
                    begun, target = time.monotonic(), target + 1
                    self._add_version(target)
                concurrent.futures.wait([running], _LOOK_SECONDS)
        if begun is not None:  # the load ended before the new version served
            windows.append((begun, math.inf))
        return running.result(), windows, states

    def _start(self, kind: str) -> Contestant:
        return Contestant(kind, self._folder, self._folder, self._plan.quick, _MODULE)

    def _add_version(self, number: int) -> None:
        base = base_of(self._folder, HRLREC)
        newest = newest_version(base)
        assert newest is not None
        partial = base / f".{number}.partial"
        shutil.copytree(newest, partial)
        partial.rename(base / str(number))

    def _address(self, call: str, server: str) -> str:
        if server not in self._addresses:
            self._addresses[server] = self.ask(server, "addresses")
        return self._addresses[server][CALLS[call].model]


class RemoteLoad:
    """`load.LoadGenerator` in the process of the load generator."""

    def __init__(self, contest: Contest, call: str, address: str) -> None:
        self._contest, self._named = contest, {"call": call, "address": address}

    def closed_loop(self, callers: int = 1, *, calls: int | None = None, seconds: float | None = None) -> Samples:
        """See `load.LoadGenerator`."""
        return self._ask("closed", callers=callers, calls=calls, seconds=seconds)

    def open_loop(self, rate: float, seconds: float) -> Samples:
        """See `load.LoadGenerator`."""
        return self._ask("open", rate=rate, seconds=seconds)

    def _ask(self, do: str, **options: Any) -> Samples:
        answer = self._contest.ask(worker.LOAD, do, **self._named, **options)
        columns = {name: np.array(answer[name]) for name in ("due", "sent", "done")}
        return Samples(**columns, status=answer["status"])
