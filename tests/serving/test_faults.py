"""Bad input and bad luck: for each the status, the sentence, and that every other request is served meanwhile."""

import contextlib
import http.client
import pathlib
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import conformance
import grpc
import hypothesis
import numpy as np
import pytest
import tensorflow as tf
import toy
from hypothesis import strategies
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from serving.client import RankingError
from serving.loaded import ServedVersion
from serving.messages import Candidate, RankRequest
from serving.server import EmbeddedServer

PREDICT = "/tensorflow.serving.PredictionService/Predict"
# What a bad request may be answered with; never INTERNAL or UNKNOWN, which would be the server's own fault.
REFUSED = {"INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"}

fuzzed = hypothesis.settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)


class Neighbour:
    """Somebody else's good requests, sent without a pause while something bad happens."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.served = 0
        self.failed: list[Exception] = []

    def __enter__(self) -> "Neighbour":
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        before = self.served
        while self.served <= before and not self.failed:
            time.sleep(0.001)
        self._stop.set()
        self._thread.join()
        assert not self.failed

    def _ask(self) -> None:
        with grpc.insecure_channel(self._address) as channel:
            stub = toy.stub(channel)
            while not self._stop.is_set():
                try:
                    assert np.ptp(toy.y(stub.Predict(toy.scaling([1.0, 1.0]), timeout=20))[0]) == 0
                    self.served += 1
                except Exception as error:
                    self.failed.append(error)
                    return


def is_sentence(text: str) -> bool:
    return bool(text) and "\n" not in text and "Traceback" not in text and len(text) <= 1000


def refusal(channel: grpc.Channel, request: predict_pb2.PredictRequest) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as refused:
        toy.stub(channel).Predict(request, timeout=20)
    assert is_sentence(refused.value.details()), refused.value.details()
    return refused.value.code().name, refused.value.details()


@pytest.fixture(scope="module")
def batching_server(toy_versions: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """The toy model with batching: bad requests meet good ones in the same batch."""
    parameters = tmp_path_factory.mktemp("faults") / "batching.txt"
    parameters.write_text(
        "max_batch_size { value: 16 } batch_timeout_micros { value: 500 } pad_variable_length_inputs: true"
    )
    with EmbeddedServer(toy_versions, 0, model_name=toy.NAME, batching_parameters_file=parameters) as server:
        yield server


@pytest.fixture(params=["alone", "batched"])
def server(request: pytest.FixtureRequest) -> EmbeddedServer:
    return request.getfixturevalue("toy_server" if request.param == "alone" else "batching_server")


# Requests of any kind.

dtypes = strategies.sampled_from([tf.float32, tf.float64, tf.int64, tf.int32, tf.string, tf.bool, tf.complex64])
shapes = strategies.lists(strategies.integers(0, 4), max_size=3)
names = strategies.one_of(strategies.sampled_from(["x", "n", "text"]), strategies.text(max_size=20))


@strategies.composite
def good_tensors(draw: Any) -> tensor_pb2.TensorProto:
    dtype, shape = draw(dtypes), draw(shapes)
    size = int(np.prod(shape))
    if dtype == tf.string:
        return tf.make_tensor_proto(
            draw(strategies.lists(strategies.binary(), min_size=size, max_size=size)), dtype, shape
        )
    number = draw(strategies.sampled_from([0, 1, -1, 127]))
    return tf.make_tensor_proto(np.full(shape, number).astype(dtype.as_numpy_dtype), dtype, shape)


@strategies.composite
def bad_tensors(draw: Any) -> tensor_pb2.TensorProto:
    """A tensor whose parts contradict each other."""
    proto = tensor_pb2.TensorProto(dtype=draw(strategies.integers(0, 140)))
    for size in draw(strategies.lists(strategies.sampled_from([-2, -1, 0, 1, 3, 2**31, 2**62]), max_size=4)):
        proto.tensor_shape.dim.add(size=size)
    proto.tensor_shape.unknown_rank = draw(strategies.booleans())
    proto.tensor_content = draw(strategies.binary(max_size=40))
    proto.float_val.extend(draw(strategies.lists(strategies.floats(width=32), max_size=3)))
    proto.string_val.extend(draw(strategies.lists(strategies.binary(max_size=5), max_size=3)))
    proto.int64_val.extend(draw(strategies.lists(strategies.integers(-(2**63), 2**63 - 1), max_size=3)))
    return proto


@fuzzed
@hypothesis.given(
    signature=strategies.one_of(strategies.sampled_from(["", "text", "many", "whole"]), strategies.text(max_size=9)),
    inputs=strategies.dictionaries(names, strategies.one_of(good_tensors(), bad_tensors()), max_size=3),
    outputs=strategies.lists(strategies.text(max_size=5), max_size=2),
    version=strategies.one_of(strategies.none(), strategies.sampled_from([-1, 0, 3, 2**63 - 1])),
)
def test_any_request_is_answered_or_refused(server, signature, inputs, outputs, version):
    request = toy.request(signature)
    request.output_filter.extend(outputs)
    for name, tensor in inputs.items():
        request.inputs[name].CopyFrom(tensor)
    if version is not None:
        request.model_spec.version.value = version
    with grpc.insecure_channel(server.address) as channel:
        try:
            toy.stub(channel).Predict(request, timeout=20)
        except grpc.RpcError as error:
            assert error.code().name in REFUSED, error
            assert is_sentence(error.details())


@pytest.mark.filterwarnings("ignore:Unexpected end-group tag:RuntimeWarning")
@fuzzed
@hypothesis.given(sent=strategies.binary(max_size=200))
def test_malformed_protobuf_bytes(toy_server, sent):
    """What is no message at all is answered by gRPC itself; nothing of it reaches the model."""
    with grpc.insecure_channel(toy_server.address) as channel:
        try:
            channel.unary_unary(PREDICT)(sent, timeout=20)
        except grpc.RpcError as error:
            malformed = error.code() is grpc.StatusCode.INTERNAL and "deserializ" in error.details()
            assert malformed or error.code().name in REFUSED, error


json_values = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats()
    | strategies.text(max_size=5),
    lambda inner: (
        strategies.lists(inner, max_size=3) | strategies.dictionaries(strategies.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@fuzzed
@hypothesis.given(
    body=strategies.one_of(
        strategies.binary(max_size=50),
        strategies.fixed_dictionaries(
            {}, optional={"instances": json_values, "inputs": json_values, "signature_name": json_values}
        ),
    ),
)
def test_any_json_is_answered_or_refused(toy_server, body):
    status, answer = toy.http(toy_server.rest_address, "/v1/models/toy:predict", body)
    assert status in (200, 400), answer
    assert status == 200 or is_sentence(answer["error"])


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"x": [[float("nan")]]}, "hrlrec: x must not be negative"),
        ({"x": [[-0.5]]}, "hrlrec: x must not be negative"),
        ({"x": ([[1]], tf.int64)}, "the input 'x' is int64 of rank 2, [1, 1] but must be float32 of rank 2"),
        ({"x": [1.0]}, "but must be float32 of rank 2, [any, any]"),
        ({}, "needs inputs that the request lacks: x (float32 of rank 2, [any, any])"),
        ({"x": [[1.0]], "z": [1.0]}, "takes no input z; it takes: x"),
    ],
)
def test_bad_requests_beside_good_ones(server, inputs, sentence):
    inputs = {name: value if isinstance(value, tuple) else (value, tf.float32) for name, value in inputs.items()}
    with Neighbour(server.address), grpc.insecure_channel(server.address) as channel:
        for _ in range(5):
            status, said = refusal(channel, toy.request(**inputs))
            assert status == "INVALID_ARGUMENT" and sentence in said


# Ranking requests.


@pytest.mark.parametrize("epsilon", [float("nan"), -0.1, 1.5, float("inf")])
def test_bad_epsilon(client, epsilon):
    with pytest.raises((RankingError, ValueError), match="epsilon"):
        client.rank(RankRequest("u", 1, [Candidate("a", "news")], epsilon=epsilon))
    assert client.rank(RankRequest("u", 1, [Candidate("a", "news")])).items


def test_many_candidates_duplicates_and_long_names(client):
    many = [Candidate(f"i{n}", "news") for n in range(10_000)]
    assert len(client.rank(RankRequest("u", 1, many)).items) == 10
    assert client.rank(RankRequest("u", 1, [many[0]] * 10_000)).items
    assert client.rank(RankRequest("u" * 1_000_000, 1, [Candidate("i" * 1_000_000, "c" * 1_000_000)])).items


def test_names_that_are_not_utf8(embedded):
    with grpc.insecure_channel(embedded.address) as channel:
        request = conformance.call_of([RankRequest("u", 1, [Candidate("a", "news")])], channel)
        request.inputs["candidate_item_id"].CopyFrom(tf.make_tensor_proto([[b"\xff\xfe"]]))
        answer = toy.stub(channel).Predict(request)
    assert tf.make_ndarray(answer.outputs["item_id"])[0, 0] == b"\xff\xfe"


# Clients.


def test_a_slow_client_keeps_nobody_waiting(toy_server):
    with contextlib.ExitStack() as stack:
        for address in (toy_server.rest_address, toy_server.address):
            for sent in (b"", b"POST /v1/models/toy:predict HTTP/1.1\r\nContent-Length: 1000\r\n\r\n{"):
                slow = stack.enter_context(socket.create_connection(tuple_of(address)))
                slow.sendall(sent)
        with Neighbour(toy_server.address):
            assert toy.http(toy_server.rest_address, "/v1/models/toy:predict", {"instances": [[1]]})[0] == 200


def tuple_of(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def test_a_client_that_goes_away_mid_call(toy_server):
    for sent in (b"POST /v1/models/toy:predict HTTP/1.1\r\nContent-Length: 1000\r\n\r\n{", b"\x16\x03\x01"):
        with Neighbour(toy_server.address):
            for address in (toy_server.rest_address, toy_server.address):
                with socket.create_connection(tuple_of(address)) as gone:
                    gone.sendall(sent)
    assert toy.http(toy_server.rest_address, "/v1/models/toy")[0] == 200


@pytest.mark.parametrize("connections", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_connections(toy_server, connections):
    """All stay open at once over both protocols, each with a call that is answered."""
    with contextlib.ExitStack() as stack, futures.ThreadPoolExecutor(32) as pool:
        # A pool of its own keeps gRPC from sharing one connection between channels.
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [stack.enter_context(grpc.insecure_channel(toy_server.address, options)) for _ in range(connections)]
        rests = [http.client.HTTPConnection(toy_server.rest_address, timeout=60) for _ in range(connections)]
        for rest in rests:
            stack.callback(rest.close)
            rest.connect()
        with Neighbour(toy_server.address):
            over_grpc = pool.map(lambda one: toy.y(toy.stub(one).Predict(toy.scaling([1.0]), timeout=60)), channels)
            assert list(over_grpc) == [[[3.0]]] * connections

            def ask(rest: http.client.HTTPConnection) -> int:
                rest.request("POST", "/v1/models/toy:predict", b'{"instances": [[1]]}')
                return rest.getresponse().status

            assert set(pool.map(ask, rests)) == {200}


def test_a_flood_is_refused_not_queued_without_end(toy_versions, monkeypatch):
    """What finds no place is refused at once with a sentence; what was let in is answered."""
    predict = ServedVersion.predict
    monkeypatch.setattr(ServedVersion, "predict", lambda self, request: time.sleep(0.05) or predict(self, request))
    with (
        EmbeddedServer(toy_versions, 0, model_name=toy.NAME, threads=1, max_queued=2) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        calls = [toy.stub(channel).Predict.future(toy.scaling([1.0]), timeout=20) for _ in range(40)]
        codes = [call.code().name for call in calls]
        assert set(codes) == {"OK", "RESOURCE_EXHAUSTED"} and codes.count("OK") >= 3
        said = {call.details() for call in calls if call.code() is not grpc.StatusCode.OK}
        assert said == {"the server is busy and 2 calls wait already; send the call again later"}


# Version folders.


@pytest.fixture
def base(tmp_path: pathlib.Path, toy_versions: pathlib.Path) -> pathlib.Path:
    shutil.copytree(toy_versions / "1", tmp_path / "toy" / "1")
    return tmp_path / "toy"


@pytest.fixture
def swapping(base: pathlib.Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(base, 0, model_name=toy.NAME, poll_seconds=0.02, rest_port=0) as server:
        yield server


def status_of(server: EmbeddedServer, number: int) -> tuple[str, str]:
    """State and error of a version, ("", "") while it was never seen."""
    status, answer = toy.http(server.rest_address, f"/v1/models/toy/versions/{number}")
    if status == 404:
        return "", ""
    (version,) = answer["model_version_status"]
    return version["state"], version["status"]["error_message"]


def wait_for(server: EmbeddedServer, number: int, state: str) -> str:
    end = time.monotonic() + 20
    while status_of(server, number)[0] != state:
        assert time.monotonic() < end, status_of(server, number)
        time.sleep(0.01)
    return status_of(server, number)[1]


def test_a_half_copied_version(base, swapping, toy_versions):
    with Neighbour(swapping.address):
        good = toy_versions / "2"
        for file in sorted(path for path in good.rglob("*") if path.is_file()):
            target = base / "2" / file.relative_to(good)
            target.parent.mkdir(parents=True, exist_ok=True)
            content = file.read_bytes()
            for end in (len(content) // 2, len(content)):
                target.write_bytes(content[:end])
                time.sleep(0.01)
                assert swapping.version == 1 or target.name.startswith("variables.index")
        wait_for(swapping, 2, "AVAILABLE")
    assert swapping.version == 2


def test_a_version_deleted_while_live(base, swapping, toy_versions):
    with Neighbour(swapping.address):
        shutil.copytree(toy_versions / "2", base / "2")
        wait_for(swapping, 2, "AVAILABLE")
        shutil.rmtree(base / "2")
        wait_for(swapping, 1, "AVAILABLE")
        shutil.rmtree(base / "1")  # the last one outlives its folder
        time.sleep(0.1)
        assert swapping.version == 1


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda folder: (folder / "saved_model.pb").write_bytes(b"\xff" * 1000), id="garbage"),
        pytest.param(lambda folder: (folder / "saved_model.pb").write_bytes(b""), id="empty"),
        pytest.param(lambda folder: shutil.rmtree(folder / "variables"), id="no variables"),
        pytest.param(
            lambda folder: (folder / "variables" / "variables.data-00000-of-00001").write_bytes(b"short"), id="cut"
        ),
        pytest.param(
            lambda folder: (
                (folder / "assets.extra").mkdir()
                or (folder / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"no records")
            ),
            id="broken warm-up",
        ),
    ],
)
def test_a_corrupt_version_is_refused_with_its_reason(base, swapping, toy_versions, spoil):
    with Neighbour(swapping.address):
        copy = base / ".2.partial"
        shutil.copytree(toy_versions / "2", copy)
        spoil(copy)
        copy.rename(base / "2")
        assert is_sentence(wait_for(swapping, 2, "END"))
        assert swapping.version == 1
        shutil.rmtree(base / "2")
        shutil.copytree(toy_versions / "2", base / ".2.partial")
        (base / ".2.partial").rename(base / "2")
        wait_for(swapping, 2, "AVAILABLE")


def test_messages_name_no_file_of_the_server(toy_server, toy_channel):
    """A refusal goes to whoever asked: nothing of the machine's folders is in it."""
    for request in (toy.request("x"), toy.request(text=[b"a"]), toy.scaling([-1.0]), toy.request("text", text=[1.0])):
        assert not re.search(r"/\w+/\w+", refusal(toy_channel, request)[1])
