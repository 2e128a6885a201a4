"""REST: TensorFlow Serving's paths, its JSON, its HTTP codes."""

import base64
import http.client
import socket
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
import toy
from tensorflow_serving.apis import predict_pb2

from serving import http_server, json_tensors
from serving.loaded import ServedVersion
from serving.server import EmbeddedServer

PREDICT = f"/v1/models/{toy.NAME}:predict"


def post(server: EmbeddedServer, body, path=PREDICT):
    return toy.http(server.rest_address, path, body)


def test_rows(toy_server):
    assert post(toy_server, {"instances": [[1, 2.5], [0, 3]]}) == (200, {"predictions": [[3.0, 7.5], [0.0, 9.0]]})
    rows = [{"x": [1.0, 2.0], "n": 3}, {"x": [0.0, 0.5], "n": -1}]
    answer = post(toy_server, {"signature_name": "many", "instances": rows})
    assert answer == (200, {"predictions": [{"n": "3", "y": 18.0}, {"n": "-1", "y": -1.5}]})


def test_columns(toy_server):
    assert post(toy_server, {"inputs": [[1, 2.5]]}) == (200, {"outputs": [[3.0, 7.5]]})
    assert post(toy_server, {"inputs": {"x": [[0.1]]}}) == (200, {"outputs": [[0.3]]})  # not 0.30000001192092896
    columns = {"x": [[1.0, 2.0], [0.0, 0.5]], "n": [3, -1]}
    answer = post(toy_server, {"signature_name": "many", "inputs": columns})
    assert answer == (200, {"outputs": {"n": ["3", "-1"], "y": [18.0, -1.5]}})


def test_bytes(toy_server):
    raw = b"\xff\x00a"
    encoded = {"b64": base64.b64encode(raw).decode()}
    status, answer = post(toy_server, {"signature_name": "text", "instances": [encoded, "ä"]})
    assert status == 200
    assert answer["predictions"] == [
        {"size": 3, "text": encoded, "text_bytes": encoded},
        {"size": 2, "text": "ä", "text_bytes": {"b64": base64.b64encode("ä".encode()).decode()}},
    ]


def test_what_is_not_a_number_in_json_is_answered_as_tensorflow_serving_does(toy_server):
    status, answer = post(toy_server, b'{"instances": [[NaN, Infinity]]}')
    assert status == 400 and answer == {"error": "hrlrec: x must not be negative; correct it"}
    assert post(toy_server, b'{"instances": [[Infinity]]}')[1] == {"predictions": [[float("inf")]]}


def test_the_same_answer_as_over_grpc(toy_server, toy_channel):
    rows = [[0.25, 3.0], [7.0, 1e-3]]
    over_grpc = np.array(toy.y(toy.stub(toy_channel).Predict(toy.scaling(*rows))), np.float32)
    np.testing.assert_array_equal(np.array(post(toy_server, {"inputs": rows})[1]["outputs"], np.float32), over_grpc)


def test_versions_and_status(toy_server):
    assert post(toy_server, {"instances": [[1]]}, f"/v1/models/{toy.NAME}/versions/3:predict")[0] == 200
    status, answer = toy.http(toy_server.rest_address, f"/v1/models/{toy.NAME}")
    assert status == 200
    assert answer["model_version_status"] == [
        {"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    ]
    assert toy.http(toy_server.rest_address, f"/V1/models/{toy.NAME}/versions/3")[1] == answer


def test_metadata(toy_server):
    status, answer = toy.http(toy_server.rest_address, f"/v1/models/{toy.NAME}/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": toy.NAME, "signature_name": "", "version": "3"}
    definition = answer["metadata"]["signature_def"]["signature_def"]["text"]
    assert definition["inputs"]["text"]["dtype"] == "DT_STRING"
    assert definition["inputs"]["text"]["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]
    assert definition["method_name"] == "tensorflow/serving/predict"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "the body is not JSON"),
        (b"[1]", "must be a JSON object"),
        (b"\xff", "not UTF-8 (byte 0)"),
        (b"[" * 100_000, "nested too deeply"),
        ({}, "either 'instances' (rows) or 'inputs' (columns)"),
        ({"instances": [[1]], "inputs": [[1]]}, "either 'instances'"),
        ({"instances": []}, "at least one row"),
        ({"instances": 3}, "'instances' is the number 3"),
        ({"instances": [[1, 2], [1]]}, "the input 'x' is ragged: a list of 1"),
        ({"instances": [["a"]]}, "has the element a string but must be float32"),
        ({"instances": [[True]]}, "has the element a boolean but must be float32"),
        ({"instances": [[None]]}, "has the element null"),
        ({"instances": [[-1]]}, "hrlrec: x must not be negative; correct it"),
        ({"instances": [1]}, "the input 'x' is float32 of rank 1, [1] but must be float32 of rank 2, [any, any]"),
        ({"instances": [{"z": [1]}]}, "row 0 of 'instances' has z but must have the inputs x"),
        ({"inputs": {"z": [[1]]}}, "'inputs' has z but must have the inputs x"),
        ({"signature_name": 3, "instances": [[1]]}, "signature_name is the number 3"),
        ({"signature_name": "x", "instances": [[1]]}, "no signature 'x'; it has: many, serving_default, text, whole"),
        ({"signature_name": "many", "instances": [[1]]}, "has unnamed values, but the signature has the inputs n, x"),
        ({"signature_name": "many", "inputs": {"x": [[1]], "n": [1.0]}}, "has the element the number 1.0"),
        ({"signature_name": "many", "inputs": {"x": [[1]], "n": [2**63]}}, "must be int64"),
        ({"signature_name": "text", "instances": [{"b64": "?"}]}, "no base64"),
        ({"signature_name": "whole", "instances": [[1]]}, None),
    ],
)
def test_bad_bodies(toy_server, body, sentence):
    status, answer = post(toy_server, body)
    if sentence is None:  # one output is a bare value, as in TensorFlow Serving's columns
        assert (status, answer) == (200, {"predictions": 1.0})
        return
    assert status == 400, answer
    assert set(answer) == {"error"} and sentence in answer["error"] and "\n" not in answer["error"]


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("/v1/models/other:predict", {"instances": [[1]]}, 404, "there is no model 'other'; this server has 'toy'"),
        ("/v1/models/toy/versions/9:predict", {"instances": [[1]]}, 404, "version 9 of 'toy' is not served"),
        ("/v1/models/toy/versions/99999999999999999999:predict", {}, 400, "no 64-bit integer"),
        ("/v1/models/toy/labels/x:predict", {"instances": [[1]]}, 400, "there is no version label 'x'"),
        ("/v1/models/toy:classify", {}, 501, "there is no Classify here; tensorflow_model_server has it"),
        ("/v1/models/toy:regress", {}, 501, "there is no Regress here"),
        ("/v1/models/toy", {}, 400, "malformed request: POST /v1/models/toy"),
        ("/v1/models/toy:predict", None, 400, "malformed request: GET"),
        ("/v1/models/toy/versions/9", None, 404, "version 9 of 'toy' was never seen"),
        ("/v1/models/toy/labels/x", None, 400, "there is no version label 'x'"),
        ("/v1/models/other/metadata", None, 404, "there is no model 'other'"),
        ("/v2/models/toy", None, 404, "there is nothing at /v2/models/toy"),
        ("/", None, 404, "there is nothing at /"),
    ],
)
def test_other_paths(toy_server, path, body, status, sentence):
    got, answer = toy.http(toy_server.rest_address, path, body)
    assert (got, sentence in answer["error"]) == (status, True), answer


def test_a_connection_is_kept(toy_server):
    connection = http.client.HTTPConnection(toy_server.rest_address)
    for _ in range(3):
        connection.request("POST", PREDICT, b'{"instances": [[1]]}')
        answer = connection.getresponse()
        assert answer.status == 200 and answer.read()
    connection.close()


def raw(server: EmbeddedServer, sent: bytes) -> bytes:
    host, _, port = server.rest_address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(sent)
        return connection.recv(65536)


def test_malformed_http(toy_server):
    assert b'"error": "Bad request syntax' in raw(toy_server, b"nonsense\r\n\r\n")
    answer = raw(toy_server, f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert b" 411 " in answer and b"Content-Length" in answer
    answer = raw(toy_server, f"PUT {PREDICT} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert b" 501 " in answer


def test_too_large_bodies_are_refused_unread(toy_versions):
    with EmbeddedServer(toy_versions, 0, model_name=toy.NAME, rest_port=0, max_message_bytes=1000) as server:
        answer = raw(server, f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n".encode())
        assert b" 413 " in answer and b"the body has 1000000 bytes; at most 1000 are taken, send less" in answer
        assert post(server, {"instances": [[1]]})[0] == 200


def test_connections_are_bounded(toy_server, monkeypatch):
    monkeypatch.setattr(http_server, "MAX_CONNECTIONS", 0)
    try:
        assert raw(toy_server, b"").startswith(b"HTTP/1.1 503 ")
    except ConnectionResetError:
        pass  # the refusal may overtake what the client sends
    monkeypatch.undo()
    assert toy.http(toy_server.rest_address, "/v1/models/toy")[0] == 200


def test_silent_connections_are_closed(toy_server, monkeypatch):
    monkeypatch.setattr(http_server, "IDLE_SECONDS", 0.2)
    host, _, port = toy_server.rest_address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\n")
        assert connection.recv(1000) == b""


def test_stop_lets_a_call_finish_and_closes_idle_connections(toy_versions, monkeypatch):
    entered, leave = threading.Event(), threading.Event()
    predict = ServedVersion.predict

    def slow(self, request):
        entered.set()
        assert leave.wait(10)
        return predict(self, request)

    monkeypatch.setattr(ServedVersion, "predict", slow)
    server = EmbeddedServer(toy_versions, 0, model_name=toy.NAME, rest_port=0).start()
    idle = http.client.HTTPConnection(server.rest_address)
    idle.connect()
    answers: list[int] = []
    caller = threading.Thread(target=lambda: answers.append(post(server, {"instances": [[1]]})[0]))
    caller.start()
    assert entered.wait(10)
    stopper = threading.Thread(target=server.stop, args=(20,))
    start = time.monotonic()
    stopper.start()
    leave.set()
    caller.join(10)
    stopper.join(10)
    assert answers == [200] and time.monotonic() - start < 10
    with pytest.raises(OSError):
        toy.http(server.rest_address, "/v1/models/toy")
    idle.close()


def test_float_precision_of_json():
    response = predict_pb2.PredictResponse()
    response.outputs["y"].CopyFrom(tf.make_tensor_proto([1 / 3], tf.float32))
    assert json_tensors.to_columns(response) == {"outputs": [0.33333334]}
    response.outputs["y"].CopyFrom(tf.make_tensor_proto([1 / 3], tf.float64))
    assert json_tensors.to_columns(response) == {"outputs": [1 / 3]}
