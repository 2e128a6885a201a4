"""The bounded queue in front of the model, and deadlines."""

import threading
import time
from concurrent import futures

import grpc
import pytest
import toy

from serving.gate import Deadline, Gate
from serving.loaded import ServedVersion
from serving.metrics import Metrics
from serving.server import EmbeddedServer
from serving.signatures import Refusal

NEVER = Deadline(None)


def test_deadlines():
    assert NEVER.remaining is None and not NEVER.passed
    assert Deadline(9.2e18).remaining is None
    assert 9 < Deadline(10).remaining <= 10 and not Deadline(10).passed
    assert Deadline(-1).remaining == 0 and Deadline(0).passed


def test_calls_take_turns_in_the_order_they_came():
    gate = Gate(1, 10, Metrics())
    order: list[int] = []

    def wait(number: int) -> None:
        with gate.turn(NEVER):
            order.append(number)

    with gate.turn(NEVER):
        threads = []
        for number in range(5):
            threads.append(threading.Thread(target=wait, args=(number,)))
            threads[-1].start()
            while len(gate._waiting) <= number:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == list(range(5))


def test_a_full_queue_refuses_at_once():
    metrics = Metrics()
    gate = Gate(1, 0, metrics)
    with gate.turn(NEVER), pytest.raises(Refusal, match="0 calls wait already; send the call again later") as refused:
        gate._enter(NEVER)
    assert refused.value.status is grpc.StatusCode.RESOURCE_EXHAUSTED
    with gate.turn(NEVER):
        assert metrics.value("hrlrec_serving_running") == 1
    assert metrics.value("hrlrec_serving_refused_total", reason="queue full") == 1


def test_a_call_that_waited_too_long_gives_its_place_up():
    gate = Gate(1, 1, Metrics())
    with gate.turn(NEVER):
        for _ in range(2):  # the place in the queue is free again after the first
            with pytest.raises(Refusal, match="it did not run; allow a longer one") as refused:
                gate._enter(Deadline(0.01))
            assert refused.value.status is grpc.StatusCode.DEADLINE_EXCEEDED
    with gate.turn(Deadline(1)), pytest.raises(Refusal):
        gate._enter(Deadline(0))


def test_no_turn_is_lost_under_contention():
    gate = Gate(2, 100, Metrics())
    running, most = 0, 0
    lock = threading.Lock()

    def one(number: int) -> bool:
        nonlocal running, most
        try:
            with gate.turn(Deadline(0.002 * (number % 5)) if number % 3 else NEVER):
                with lock:
                    running += 1
                    most = max(most, running)
                time.sleep(0.001)
                with lock:
                    running -= 1
            return True
        except Refusal:
            return False

    with futures.ThreadPoolExecutor(20) as pool:
        answered = list(pool.map(one, range(200)))
    assert most == 2 and any(answered)
    assert gate._free == 2 and not gate._waiting


def test_a_busy_server_refuses_and_still_says_it_is_alive(toy_versions, monkeypatch):
    """Two calls run, one waits; the next is refused, over either port, while status is answered."""
    leave = threading.Event()
    predict = ServedVersion.predict
    ran: list[str] = []

    def slow(self, request):
        ran.append(request.model_spec.name)
        assert leave.wait(20)
        return predict(self, request)

    monkeypatch.setattr(ServedVersion, "predict", slow)
    options = {"model_name": toy.NAME, "rest_port": 0, "rest_timeout_seconds": 0.1}
    with (
        EmbeddedServer(toy_versions, 0, threads=2, max_queued=1, **options) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = toy.stub(channel)
        calls = [stub.Predict.future(toy.scaling([1.0])) for _ in range(2)]
        while len(ran) < 2:
            time.sleep(0.005)
        body = {"instances": [[1]]}
        status, answer = toy.http(server.rest_address, "/v1/models/toy:predict", body)
        assert (status, "it did not run" in answer["error"]) == (504, True)
        calls.append(stub.Predict.future(toy.scaling([1.0])))
        while not server.metrics.value("hrlrec_serving_queue_length"):
            time.sleep(0.005)
        with pytest.raises(grpc.RpcError, match="1 calls wait already") as refused:
            stub.Predict(toy.scaling([1.0]))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert toy.http(server.rest_address, "/v1/models/toy:predict", body)[0] == 429
        assert toy.http(server.rest_address, "/v1/models/toy")[0] == 200
        leave.set()
        assert [toy.y(call.result()) for call in calls] == [[[3.0]]] * 3
    assert len(ran) == 3
