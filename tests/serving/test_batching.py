"""Dynamic batching: what is joined, what is refused, what a bad call costs the others."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
import toy

from serving import batch_tensors
from serving.batch_parameters import BatchParameters
from serving.batching import Batcher
from serving.gate import Deadline
from serving.loaded import Call
from serving.metrics import Metrics
from serving.server import EmbeddedServer
from serving.signatures import Refusal, invalid

NEVER = Deadline(None)


class Doubles:
    """Stands for a loaded version: doubles x, refuses negative values, remembers what it ran."""

    def __init__(self) -> None:
        self.runs: list[np.ndarray] = []
        self.entered = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def run(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.entered.set()
        assert self.go.wait(10)
        x = inputs["x"]
        self.runs.append(x)
        if x.dtype != object and (x < 0).any():
            raise invalid("hrlrec: negative")
        return {"total": x.sum()} if signature == "whole" else {"y": x * 2, "first": x[:, 0]}


@pytest.fixture
def batcher() -> Iterator[Callable[..., Batcher]]:
    """Makes and starts a batcher of given parameters."""
    made = []

    def start(**parameters: Any) -> Batcher:
        made.append(Batcher(BatchParameters(**{"num_batch_threads": 1, **parameters}), Metrics()))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.stop()


@pytest.fixture
def version() -> Doubles:
    return Doubles()


def call(*rows: Any, signature: str = "double", **more: Any) -> Call:
    return Call(signature, {"x": np.array(rows, np.float32), **more}, ["y"])


def together(batcher: Batcher, version: Doubles, calls: list[Call], deadline: Deadline = NEVER) -> list[Any]:
    """Runs calls at the same time; gives the outputs or the refusal of each."""

    def one(made: Call) -> Any:
        try:
            return batcher.run(version, made, deadline)["y"].tolist()
        except Refusal as refusal:
            return refusal.status.name, refusal.sentence

    with futures.ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


def test_calls_run_as_one_batch(batcher, version):
    calls = [call([1.0, 2.0]), call([3.0, 4.0], [5.0, 6.0])]
    answers = together(batcher(max_batch_size=3, batch_timeout_micros=10_000_000), version, calls)
    assert answers == [[[2, 4]], [[6, 8], [10, 12]]]
    assert [run.shape for run in version.runs] == [(3, 2)]


def test_a_batch_waits_no_longer_than_the_timeout(batcher, version):
    start = time.monotonic()
    answers = together(batcher(max_batch_size=100, batch_timeout_micros=50_000), version, [call([1.0]), call([2.0])])
    assert answers == [[[2]], [[4]]] and len(version.runs) == 1
    assert 0.04 < time.monotonic() - start < 5


def test_batches_are_padded_to_the_allowed_sizes_with_the_last_calls_first_row(batcher, version):
    metered = batcher(max_batch_size=4, allowed_batch_sizes=(1, 4))
    assert metered.run(version, call([7.0], [8.0]), NEVER)["y"].tolist() == [[14], [16]]
    assert version.runs[0].tolist() == [[7], [8], [7], [7]]
    assert metered._metrics.value(":tensorflow:serving:batching_session:processed_batch_size_sum") == 4
    name = ":tensorflow:serving:batching_session:padding_size_sum"
    assert metered._metrics.value(name, execution_batch_size="4") == 2


def test_one_bad_call_costs_the_others_nothing(batcher, version):
    calls = [call([1.0]), call([-1.0]), call([2.0])]
    answers = together(batcher(max_batch_size=3, batch_timeout_micros=10_000_000), version, calls)
    assert answers == [[[2]], ("INVALID_ARGUMENT", "hrlrec: negative"), [[4]]]
    assert len(version.runs) == 4  # together, then each alone


def test_other_shapes_are_refused_where_padding_is_off(batcher, version):
    version.go.clear()
    shared = batcher(max_batch_size=9)
    with futures.ThreadPoolExecutor(3) as pool:
        first = pool.submit(shared.run, version, call([0.0]), NEVER)
        assert version.entered.wait(10)  # the only thread is busy with it; what comes now waits together
        narrow = pool.submit(shared.run, version, call([1.0]), NEVER)
        wait_until(lambda: queued(shared) == 1)
        wide = pool.submit(shared.run, version, call([1.0, 2.0]), NEVER)
        wait_until(lambda: queued(shared) == 2)
        version.go.set()
        assert first.result()["y"].tolist() == [[0]] and narrow.result()["y"].tolist() == [[2]]
        with pytest.raises(Refusal, match="set pad_variable_length_inputs in the batching parameters") as refused:
            wide.result()
    assert refused.value.status is grpc.StatusCode.FAILED_PRECONDITION


def queued(batcher: Batcher) -> int:
    return sum(len(batch.tasks) for queue in batcher._queues.values() for batch in queue.batches)


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_other_shapes_are_padded_on_the_right_with_their_own_first_element(batcher, version):
    padding = {"max_batch_size": 2, "batch_timeout_micros": 10_000_000, "pad_variable_length_inputs": True}
    answers = together(batcher(**padding), version, [call([1.0]), call([2.0, 3.0])])
    assert answers == [[[2, 2]], [[4, 6]]]
    assert sorted(map(tuple, version.runs[0].tolist())) == [(1, 1), (2, 3)]


def test_an_empty_input_cannot_be_padded_and_runs_alone(batcher, version):
    padding = {"max_batch_size": 2, "batch_timeout_micros": 10_000_000, "pad_variable_length_inputs": True}
    wide = {"z": np.ones([1, 2])}
    empty = {"z": np.zeros([1, 0])}
    answers = together(batcher(**padding), version, [call([1.0], **wide), call([2.0], **empty)])
    assert answers == [[[2]], [[4]]] and len(version.runs) == 2


def test_padding_of_every_kind():
    calls = [
        {"s": np.array([[b"a", b"b"], [b"c", b"d"]], object), "n": np.array([[[1]], [[2]]])},
        {"s": np.array([[b"x", b"y", b"z"]], object), "n": np.array([[[3, 4], [5, 6]]])},
    ]
    widths = batch_tensors.widest(calls)
    assert widths == {"s": (3,), "n": (2, 2)}
    joined = batch_tensors.join([batch_tensors.pad(call, widths) for call in calls], 3)
    assert joined["s"].tolist() == [[b"a", b"b", b"a"], [b"c", b"d", b"a"], [b"x", b"y", b"z"]]
    assert joined["n"].tolist() == [[[1, 1], [1, 1]], [[2, 1], [1, 1]], [[3, 4], [5, 6]]]


def test_signatures_and_versions_are_not_mixed(batcher):
    first, second = Doubles(), Doubles()
    shared = batcher(max_batch_size=100, batch_timeout_micros=20_000)
    asked = [(first, call([1.0])), (first, call([2.0], signature="other")), (second, call([3.0]))]
    with futures.ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda pair: shared.run(*pair, NEVER)["y"].tolist(), asked))
    assert answers == [[[2]], [[4]], [[6]]]
    assert (len(first.runs), len(second.runs)) == (2, 1)


def test_a_full_queue_refuses(batcher, version):
    version.go.clear()
    shared = batcher(max_batch_size=1, max_enqueued_batches=2)
    with futures.ThreadPoolExecutor(4) as pool:
        running = pool.submit(shared.run, version, call([0.0]), NEVER)
        assert version.entered.wait(10)
        waiting = [pool.submit(shared.run, version, call([float(n)]), NEVER) for n in (1, 2)]
        wait_until(lambda: queued(shared) == 2)
        with pytest.raises(Refusal, match="2 batches wait already; send the call again later") as refused:
            shared.run(version, call([3.0]), NEVER)
        assert refused.value.status is grpc.StatusCode.RESOURCE_EXHAUSTED
        version.go.set()
        assert [done.result()["y"].tolist() for done in (running, *waiting)] == [[[0]], [[2]], [[4]]]


def test_a_late_call_does_not_run(batcher, version):
    version.go.clear()
    shared = batcher(max_batch_size=1)
    with futures.ThreadPoolExecutor(2) as pool:
        running = pool.submit(shared.run, version, call([0.0]), NEVER)
        assert version.entered.wait(10)
        late = pool.submit(shared.run, version, call([1.0]), Deadline(0.01))
        wait_until(lambda: queued(shared) == 1)
        time.sleep(0.02)
        version.go.set()
        with pytest.raises(Refusal, match="it did not run") as refused:
            late.result()
        running.result()
    assert refused.value.status is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(version.runs) == 1


def test_sizes(batcher, version):
    shared = batcher(max_batch_size=2)
    with pytest.raises(Refusal, match="the request has 3 rows; at most 2 are taken"):
        shared.run(version, call([1.0], [2.0], [3.0]), NEVER)
    with pytest.raises(Refusal, match=r"same first dimension, got n \[1\], x \[2, 1\]"):
        shared.run(version, call([1.0], [2.0], n=np.array([1])), NEVER)
    none = Call("double", {"x": np.zeros([0, 1])}, ["y"])
    assert shared.run(version, none, NEVER)["y"].shape == (0, 1)
    splitting = batcher(max_batch_size=5, enable_large_batch_splitting=True, max_execution_batch_size=2)
    five = splitting.run(version, call(*([float(n)] for n in range(5))), NEVER)
    assert five["y"].tolist() == [[0], [2], [4], [6], [8]] and five["first"].tolist() == [0, 1, 2, 3, 4]
    assert sorted(len(run) for run in version.runs[-3:]) == [1, 2, 2]


def test_outputs_without_a_batch_are_refused(batcher, version):
    with pytest.raises(Refusal, match=r"the output 'total' has the shape \[\] for a batch of 1 rows") as refused:
        batcher().run(version, call([1.0], signature="whole"), NEVER)
    assert refused.value.status is grpc.StatusCode.FAILED_PRECONDITION


def test_the_end_runs_what_is_queued(version):
    shared = Batcher(BatchParameters(num_batch_threads=1, batch_timeout_micros=60_000_000), Metrics())
    shared.start()
    with futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(shared.run, version, call([1.0]), NEVER)
        wait_until(lambda: queued(shared) == 1)
        shared.stop()
        assert waiting.result()["y"].tolist() == [[2]]
    with pytest.raises(Refusal):
        shared.run(version, call([1.0]), NEVER)


def test_a_batching_server(toy_versions, tmp_path):
    """The same answers as without, for numbers and strings, over both ports; a bad call fails alone."""
    parameters = tmp_path / "batching.txt"
    parameters.write_text(
        "max_batch_size { value: 8 } batch_timeout_micros { value: 20000 } num_batch_threads { value: 2 } "
        "allowed_batch_sizes: [4, 8] pad_variable_length_inputs: true"
    )
    with (
        EmbeddedServer(
            toy_versions, 0, model_name=toy.NAME, rest_port=0, batching_parameters_file=parameters
        ) as server,
        grpc.insecure_channel(server.address) as channel,
        futures.ThreadPoolExecutor(16) as pool,
    ):
        predict = toy.stub(channel).Predict
        words = [f"{'ä' * n}" for n in range(8)]
        many = [pool.submit(predict, toy.request("text", text=[word.encode()])) for word in words]
        numbers = [pool.submit(predict, toy.scaling([float(n)] * (1 + n % 2))) for n in range(8)]
        bad = pool.submit(predict, toy.scaling([-1.0]))
        rest = pool.submit(toy.http, server.rest_address, "/v1/models/toy:predict", {"instances": [[2]]})
        sizes = [tf.make_ndarray(one.result().outputs["size"]).tolist() for one in many]
        assert sizes == [[len(word.encode())] for word in words]
        assert [toy.y(one.result())[0][0] for one in numbers] == [3.0 * n for n in range(8)]
        assert rest.result()[1]["predictions"][0][0] == 6
        with pytest.raises(grpc.RpcError, match="hrlrec: x must not be negative"):
            bad.result()
        runs = server.metrics.value(":tensorflow:serving:batching_session:wrapped_run_count")
        assert runs < 18
        filtered = toy.request("text", text=[b"ab"])
        filtered.output_filter.append("size")
        assert set(predict(filtered).outputs) == {"size"}
        with pytest.raises(grpc.RpcError, match="serve this model without batching"):
            predict(toy.request("whole", x=np.ones([1, 1], np.float32)))
