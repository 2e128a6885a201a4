"""What any server of an exported model must do over REST: TensorFlow Serving and the embedded server alike."""

import grpc
import numpy as np
import pytest
from conformance import HISTORY, OTHER, REQUEST, arrays, call_of, columns, http, predict

from serving.messages import Candidate, RankRequest

MODEL = "/v1/models/hrlrec"


@pytest.fixture
def rest(served) -> str:
    """The REST address."""
    if served.rest_address is None:
        pytest.skip("TENSORFLOW_SERVING_REST_ADDRESS is not set; give the REST port's HOST:PORT")
    return served.rest_address


@pytest.fixture(scope="module")
def channel(served):
    with grpc.insecure_channel(served.address) as channel:
        yield channel


@pytest.fixture(scope="module")
def call(channel):
    """A batch of two requests of different lengths; tests must not change it."""
    return call_of([OTHER, RankRequest("ユーザー", 5, [Candidate("новость-é", "news")], HISTORY)], channel)


def assert_equal(values, expected):
    """Floats come back as decimal numbers."""
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(np.array(values, np.float32), expected, rtol=1e-5, atol=1e-7)
    else:
        assert values == [[v.decode() if isinstance(v, bytes) else v for v in row] for row in expected.tolist()]


def test_columns_give_what_grpc_gives(rest, channel, call):
    status, answer = http(rest, f"{MODEL}:predict", {"signature_name": "rank", "inputs": columns(call)})
    assert status == 200
    expected = arrays(predict(channel, call))
    assert set(answer) == {"outputs"} and set(answer["outputs"]) == set(expected)
    for name, values in expected.items():
        assert_equal(answer["outputs"][name], values)


def test_rows_give_what_grpc_gives(rest, channel, call):
    inputs = columns(call)
    instances = [{name: values[row] for name, values in inputs.items()} for row in range(2)]
    status, answer = http(rest, f"{MODEL}:predict", {"signature_name": "rank", "instances": instances})
    assert status == 200
    expected = arrays(predict(channel, call))
    assert set(answer) == {"predictions"} and len(answer["predictions"]) == 2
    for name, values in expected.items():
        assert_equal([row[name] for row in answer["predictions"]], values)


def test_the_default_signature_ranks_eight_hundred(rest, channel):
    call = call_of([REQUEST], channel)
    status, answer = http(rest, f"{MODEL}:predict", {"inputs": columns(call)})
    assert status == 200
    assert_equal(answer["outputs"]["item_id"], arrays(predict(channel, call))["item_id"])


def test_one_output_stands_without_its_name(rest, channel):
    call = call_of([OTHER], channel, "score")
    status, answer = http(rest, f"{MODEL}:predict", {"signature_name": "score", "inputs": columns(call)})
    assert status == 200
    assert_equal(answer["outputs"], arrays(predict(channel, call))["click_probability"])


def test_versions_and_labels_have_paths(rest, served, call):
    body = {"signature_name": "rank", "inputs": columns(call)}
    if served.config is None:
        pytest.skip("versions and labels of a server that the tests did not start are not known")
    answers = {path: http(rest, f"{MODEL}/{path}:predict", body) for path in ("versions/1", "versions/2")}
    answers |= {path: http(rest, f"{MODEL}/{path}:predict", body) for path in ("labels/stable", "labels/canary")}
    assert {status for status, _ in answers.values()} == {200}
    assert answers["versions/1"] == answers["labels/stable"] != answers["labels/canary"] == answers["versions/2"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        pytest.param("/v1/models/x:predict", {"instances": []}, 404, id="unknown model"),
        pytest.param(f"{MODEL}/versions/999:predict", {"instances": [{}]}, 404, id="unknown version"),
        pytest.param(f"{MODEL}/labels/no-such-label:predict", {"instances": [{}]}, 400, id="unknown label"),
        pytest.param(f"{MODEL}:predict", b"{no json", 400, id="no JSON"),
        pytest.param(f"{MODEL}:predict", {}, 400, id="neither rows nor columns"),
        pytest.param(f"{MODEL}:predict", {"inputs": {}, "instances": []}, 400, id="rows and columns"),
        pytest.param(f"{MODEL}:predict", {"inputs": {"epsilon": [0.0]}}, 400, id="missing inputs"),
        pytest.param(f"{MODEL}:predict", {"signature_name": "x", "inputs": {}}, 400, id="unknown signature"),
        pytest.param(f"{MODEL}:predict", {"signature_name": 7, "inputs": {}}, 400, id="signature is a number"),
        pytest.param("/v1/models/hrlrec:dance", {}, 400, id="unknown method"),
        pytest.param("/v1/models/x", None, 404, id="status of an unknown model"),
        pytest.param(f"{MODEL}/versions/999", None, 404, id="status of an unknown version"),
        pytest.param("/v1/models/x/metadata", None, 404, id="metadata of an unknown model"),
    ],
)
def test_errors_are_json_with_a_status(rest, path, body, status):
    code, answer = http(rest, path, body)
    assert code == status
    assert list(answer) == ["error"] and answer["error"] and "Traceback" not in answer["error"]


@pytest.mark.parametrize("change", [{"epsilon": [2.0]}, {"timestamp": ["x"]}, {"surprise": [1]}, {"epsilon": [[0.0]]}])
def test_bad_values_are_refused(rest, channel, change):
    inputs = columns(call_of([OTHER], channel)) | change
    code, answer = http(rest, f"{MODEL}:predict", {"signature_name": "rank", "inputs": inputs})
    assert code == 400 and answer["error"]


@pytest.mark.parametrize("method", ["classify", "regress"])
def test_methods_that_no_signature_serves_are_refused(rest, method):
    code, answer = http(rest, f"{MODEL}:{method}", {"examples": [{"x": 1.0}]})
    assert code in (400, 501) and answer["error"]


def test_status(rest):
    code, answer = http(rest, MODEL)
    assert code == 200
    live = [status for status in answer["model_version_status"] if status["state"] == "AVAILABLE"]
    assert live and live[0]["status"] == {"error_code": "OK", "error_message": ""}
    code, one = http(rest, f"{MODEL}/versions/{live[0]['version']}")
    assert code == 200 and one["model_version_status"] == [live[0]]


def test_metadata(rest):
    code, answer = http(rest, f"{MODEL}/metadata")
    assert code == 200 and answer["model_spec"]["name"] == "hrlrec"
    found = answer["metadata"]["signature_def"]["signature_def"]
    assert {"rank", "serving_default", "score", "score_examples"} <= set(found)
    assert found["rank"]["inputs"]["epsilon"]["dtype"] == "DT_FLOAT"
    assert found["rank"]["method_name"] == "tensorflow/serving/predict"
