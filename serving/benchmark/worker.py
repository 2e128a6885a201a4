"""One contestant of `hrlrec benchmark serve` in a process of its own; `FOLDER` holds the plan.

`python -m serving.benchmark.worker KIND FOLDER`, see `hrlrec_tf.benchmark.processes`. Kinds:

* `build`: makes the models;
* `in-process`: signatures called in this process on one core, opened as the server opens them;
* `saved-model`: the same, opened by `tf.saved_model.load`;
* `server`: embedded servers, one for each model, on TensorFlow's one set of threads;
* `server-batched`: the same with batching;
* `load`: the load generator.
"""

import os
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from hrlrec_tf.benchmark.processes import answer
from hrlrec_tf.benchmark.timing import Times, measure
from hrlrec_tf.errors import ModelError
from serving.benchmark.plan import CALLS, HRLREC, Plan, base_of, newest_version
from serving.benchmark.requests import Requests

BUILD, IN_PROCESS, SAVED_MODEL, SERVER, SERVER_BATCHED, LOAD = (
    *("build", "in-process", "saved-model"),
    *("server", "server-batched", "load"),
)
BATCHING_FILE = pathlib.Path(__file__).parent.parent / "kit" / "batching.config"


class Servers:
    """Embedded servers, one for each model."""

    def __init__(self, folder: pathlib.Path, batching_file: str | None = None) -> None:
        from serving.server import EmbeddedServer

        options: dict[str, Any] = {} if batching_file is None else {"batching_parameters_file": batching_file}
        bases = {call.model: base_of(folder, call.model) for call in CALLS.values()}
        self._servers = {
            model: EmbeddedServer(base, 0, model_name=model, **options).start()
            for model, base in bases.items()
            if newest_version(base) is not None
        }

    def addresses(self) -> dict[str, str]:
        """Model -> gRPC address."""
        return {model: server.address for model, server in self._servers.items()}

    def state(self) -> dict[str, float]:
        """The ranking model's `version`, the process's memory `rss_mb`, and the `moment` on the monotonic clock."""
        return {"version": self._servers[HRLREC].version, "rss_mb": resident_mb(), "moment": time.monotonic()}


class Load:
    """The load generator; latencies come back as seconds of the monotonic clock, see `load.Samples`."""

    def __init__(self, plan: Plan) -> None:
        from serving.benchmark import load

        self._load, self._plan, self._requests = load, plan, Requests(plan)
        self._messages: dict[str, Any] = {}

    def closed(self, call: str, address: str, callers: int, calls: int | None, seconds: float | None) -> dict[str, Any]:
        """`calls` calls of each caller, or as many as fit into `seconds`."""
        with self._generator(call, address) as generator:
            generator.closed_loop(1, calls=1)
            return _plain(generator.closed_loop(callers, calls=calls, seconds=seconds))

    def open(self, call: str, address: str, rate: float, seconds: float) -> dict[str, Any]:
        """Poisson arrivals."""
        with self._generator(call, address) as generator:
            generator.closed_loop(1, calls=1)
            return _plain(generator.open_loop(rate, seconds))

    def client(self, address: str, calls: int) -> Times:
        """`RankingClient.rank`, from dataclasses to dataclasses."""
        from serving.client import RankingClient

        requests = self._requests.make(min(calls, self._plan.requests))
        turn = iter(range(calls + 1))
        with RankingClient(address, HRLREC, deadline_seconds=self._load.DEADLINE_SECONDS) as client:
            return measure(lambda: client.rank(requests[next(turn) % len(requests)]), calls)

    def _generator(self, call: str, address: str) -> Any:
        named = CALLS[call]
        if call not in self._messages:
            inputs = self._load.signature_inputs(address, named.model, named.signature)
            if inputs is None:
                raise ModelError(f"the model at {address} has no signature {named.signature!r}")
            requests = self._requests.make(self._plan.requests, call=call)
            self._messages[call] = [
                self._load.message([request], named.model, named.signature, inputs) for request in requests
            ]
        return self._load.LoadGenerator(address, self._messages[call])


def resident_mb() -> float:
    """Memory of this process that is in RAM."""
    pages = int(pathlib.Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def questions(kind: str, folder: str, quick: bool) -> Mapping[str, Callable[..., Any]]:
    """What the contestant `kind` can be asked."""
    place = pathlib.Path(folder)
    plan = Plan.read(place)
    if kind == BUILD:
        from serving.benchmark import models

        return {"build": lambda: models.build(place, plan)}
    if kind in (IN_PROCESS, SAVED_MODEL):
        from serving.benchmark import in_process

        contestant = in_process.InProcess(place, plan, stock=kind == SAVED_MODEL)
        return {"known": contestant.known, "sizes": contestant.sizes, "run": contestant.run}
    if kind == LOAD:
        generator = Load(plan)
        return {"closed": generator.closed, "open": generator.open, "client": generator.client}
    servers = Servers(place, str(BATCHING_FILE) if kind == SERVER_BATCHED else None)
    return {"addresses": servers.addresses, "state": servers.state}


def _plain(samples: Any) -> dict[str, Any]:
    columns = {name: getattr(samples, name).tolist() for name in ("due", "sent", "done")}
    return {**columns, "status": samples.status}


if __name__ == "__main__":
    answer(questions)
