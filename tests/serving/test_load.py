"""The load generator against servers whose behaviour is known."""

import time
from concurrent import futures

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from hrlrec_tf.benchmark.timing import percentiles
from serving.benchmark.load import LoadGenerator, Samples, arrivals

STALL_SECONDS = 0.5


class Known(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers at once, but for call number `stalls_at`, which holds all others up; refuses every `refuses`-th call."""

    def __init__(self, stalls_at=None, refuses=None):
        self.calls, self._stalls_at, self._refuses = 0, stalls_at, refuses

    def Predict(self, request, context):
        number, self.calls = self.calls, self.calls + 1
        if number == self._stalls_at:
            time.sleep(STALL_SECONDS)
        if self._refuses and number % self._refuses == 0:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full")
        return predict_pb2.PredictResponse()


@pytest.fixture
def generator():
    """Makes a load generator on a server of one thread."""
    servers = []

    def make(deadline_seconds=10.0, **behaviour):
        server = grpc.server(futures.ThreadPoolExecutor(1))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Known(**behaviour), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return LoadGenerator(f"127.0.0.1:{port}", [predict_pb2.PredictRequest()], deadline_seconds)

    yield make
    for server in servers:
        server.stop(None)


def late_calls(samples):
    return int((samples.done - samples.due > STALL_SECONDS / 5).sum())


def test_a_stall_is_charged_to_every_request_that_was_due_meanwhile(generator):
    with generator(stalls_at=10) as load:
        open_loop = load.open_loop(rate=100, seconds=1.0)
    with generator(stalls_at=10) as load:
        closed = load.closed_loop(calls=len(open_loop.status))
    # About 100 per second were due while the server stood still for half a second; the closed loop sent one.
    assert late_calls(open_loop) > 100 * STALL_SECONDS / 2
    assert late_calls(closed) <= 3
    assert open_loop.summary()["p99_ms"] > 1e3 * STALL_SECONDS / 2


def test_arrivals_are_a_poisson_process():
    moments = arrivals(rate=200, seconds=100, seed=1)
    assert (np.diff(moments) >= 0).all() and moments[0] >= 0 and moments[-1] < 100
    gaps = np.diff(moments)
    assert len(moments) == pytest.approx(20_000, rel=0.03)  # 3 % are 4 standard deviations
    assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.03)  # exponential; a clock's would be 0
    assert (gaps > 2 * gaps.mean()).mean() == pytest.approx(np.exp(-2), abs=0.01)
    assert np.array_equal(moments, arrivals(200, 100, seed=1)) and len(arrivals(200, 100, seed=2)) != len(moments)


def test_the_callers_of_a_closed_loop_share_the_requests(generator):
    with generator() as load:
        samples = load.closed_loop(3, calls=4)
        assert len(samples.status) == 12 and samples.answered.all()
        assert (np.diff(samples.due) >= 0).all() and (samples.done > samples.due).all()
        assert 0 < len(load.closed_loop(2, seconds=0.2).status)


def test_refused_calls_are_errors_and_no_latencies(generator):
    with generator(refuses=3) as load:
        for samples in (load.open_loop(rate=100, seconds=0.3), load.closed_loop(calls=30)):
            summary = samples.summary()
            assert summary["errors"] == {"RESOURCE_EXHAUSTED": len(samples.status) - summary["calls"]}
            assert summary["calls"] == samples.answered.sum() > 0


def test_a_server_that_does_not_answer_in_time_holds_nobody_up(generator):
    with generator(stalls_at=0, deadline_seconds=0.1) as load:
        start = time.monotonic()
        samples = load.open_loop(rate=50, seconds=0.2)
        assert "DEADLINE_EXCEEDED" in samples.summary()["errors"]
        assert time.monotonic() - start < 5


def test_figures_of_some_calls_by_hand():
    due = np.array([0.0, 1.0, 2.0, 3.0])
    samples = Samples(due, due + [0, 0, 0, 0.01], due + [0.1, 0.2, 9.0, 0.3], ["OK", "OK", "UNAVAILABLE", "OK"])
    summary = samples.summary()
    assert summary["p50_ms"] == pytest.approx(200) and summary["calls"] == 3
    assert summary["rate"] == pytest.approx(3 / 3.3)
    assert summary["errors"] == {"UNAVAILABLE": 1}
    assert summary["late_p99_ms"] == pytest.approx(9.7)
    middle = samples.between(1.0, 3.0)
    assert middle.status == ["OK", "UNAVAILABLE"] and middle.due.tolist() == [1.0, 2.0]
    nothing = samples.between(7.0, 9.0).summary()
    assert nothing["rate"] == 0 and nothing["calls"] == 0 and np.isnan(nothing["p50_ms"])


def test_percentiles_are_of_all_times():
    found = percentiles([n / 1000 for n in range(1001)])
    assert found == pytest.approx({"p50_ms": 500.0, "p90_ms": 900.0, "p99_ms": 990.0, "p999_ms": 999.0, "calls": 1001})
