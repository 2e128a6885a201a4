"""What any server of an exported model must do over gRPC: TensorFlow Serving and the embedded server alike.

Status codes are TensorFlow Serving's. Where the embedded server differs on purpose, both stand here.
"""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from conformance import CANDIDATES, HISTORY, OTHER, REQUEST, arrays, call_of, predict, signatures
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.client import RankingClient, RankingError
from serving.messages import Candidate, RankRequest


@pytest.fixture
def client(serving_address: str) -> Iterator[RankingClient]:
    with RankingClient(serving_address, deadline_seconds=30) as client:
        yield client


@pytest.fixture
def channel(serving_address: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(serving_address) as channel:
        yield channel


@pytest.fixture
def labelled(served) -> None:
    """Skips a test where the server has no version labels."""
    if served.config is None and refusal(served, label="stable"):
        pytest.skip(f"{served.address} has no label stable; start it with serving/kit/models.config")


def refusal(served, label: str) -> str | None:
    """The status with which a call by label is refused, None if it is answered."""
    with grpc.insecure_channel(served.address) as channel:
        call = call_of([OTHER], channel)
        call.model_spec.version_label = label
        try:
            predict(channel, call)
        except grpc.RpcError as error:
            return error.code().name
    return None


def test_a_list_of_ten_from_eight_hundred(client):
    response = client.rank(REQUEST)
    assert [item.position for item in response.items] == list(range(1, 11))
    channel_of = {candidate.item_id: candidate.channel for candidate in CANDIDATES}
    assert len({item.item_id for item in response.items}) == 10
    assert all(channel_of[item.item_id] == item.channel for item in response.items)
    assert all(0 <= item.click_probability <= 1 for item in response.items)
    assert all(item.propensity_channel == item.propensity_item == 1 for item in response.items)
    assert not any(item.explored for item in response.items)
    assert response.model_version >= 1


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(RankRequest("nobody", 1, CANDIDATES[:20]), id="unknown user, empty history"),
        pytest.param(RankRequest("ユーザー", 1, [Candidate("новость-é", "новости", ("τ",))]), id="unicode"),
        pytest.param(RankRequest("u", 1, [Candidate("never seen", "nor this")]), id="unknown item and channel"),
        pytest.param(RankRequest("u", 1, CANDIDATES[:3]), id="fewer candidates than positions"),
        pytest.param(RankRequest("u", 1, CANDIDATES[:12] * 2), id="duplicated candidates"),
        pytest.param(RankRequest("", 0, CANDIDATES[:12], HISTORY * 3), id="longer history than the model reads"),
    ],
)
def test_unusual_requests_are_answered(client, request_):
    items = client.rank(request_).items
    assert len(items) == min(10, len(request_.candidates))
    assert {item.item_id for item in items} <= {candidate.item_id for candidate in request_.candidates}


def test_a_batch_gives_what_single_calls_give(client):
    requests = [REQUEST, RankRequest("u2", 5, CANDIDATES[:3]), RankRequest("u3", 6, CANDIDATES[5:30], HISTORY[:2])]
    batch = client.rank_many(requests)
    for together, request in zip(batch, requests, strict=True):
        alone = client.rank(request)
        assert [item.item_id for item in together.items] == [item.item_id for item in alone.items]
        assert [item.click_probability for item in together.items] == pytest.approx(
            [item.click_probability for item in alone.items], rel=1e-4, abs=1e-6
        )


def test_score_follows_the_order_of_candidates(client):
    scores = client.score(REQUEST)
    assert len(scores) == 800
    few = [799, 0, 17]
    again = client.score(RankRequest("u1", REQUEST.timestamp, [CANDIDATES[n] for n in few], HISTORY, REQUEST.profile))
    assert again == pytest.approx([scores[n] for n in few], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(RankRequest("u", 1, []), id="no candidates"),
        pytest.param(RankRequest("u", 1, CANDIDATES[:9], epsilon=-0.1), id="negative epsilon"),
        pytest.param(RankRequest("u", 1, CANDIDATES[:9], epsilon=1.1), id="epsilon above 1"),
    ],
)
def test_the_model_refuses_with_its_sentence(client, request_):
    with pytest.raises(RankingError, match="hrlrec: ") as refused:
        client.rank(request_)
    assert refused.value.status is grpc.StatusCode.INVALID_ARGUMENT


Change = Callable[[predict_pb2.PredictRequest], Any]


def put(name: str, values: Any, dtype: tf.DType) -> Change:
    return lambda request: request.inputs[name].CopyFrom(tf.make_tensor_proto(values, dtype))


def cut_short(request: predict_pb2.PredictRequest) -> None:
    wrong = tensor_pb2.TensorProto(dtype=tf.int64.as_datatype_enum, tensor_content=b"abc")
    wrong.tensor_shape.dim.add(size=1)
    request.inputs["timestamp"].CopyFrom(wrong)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param(lambda r: r.inputs["epsilon"].Clear(), "INVALID_ARGUMENT", id="empty tensor"),
        pytest.param(lambda r: r.inputs.pop("epsilon"), "INVALID_ARGUMENT", id="missing input"),
        pytest.param(put("surprise", [1], tf.int64), "INVALID_ARGUMENT", id="extra input"),
        pytest.param(put("timestamp", [1.0], tf.float32), "INVALID_ARGUMENT", id="wrong dtype"),
        pytest.param(put("timestamp", [[1]], tf.int64), "INVALID_ARGUMENT", id="rank too high"),
        pytest.param(put("candidate_item_id", ["a"], tf.string), "INVALID_ARGUMENT", id="rank too low"),
        pytest.param(put("candidate_channel", [["a", "b"]], tf.string), "INVALID_ARGUMENT", id="rows differ"),
        pytest.param(cut_short, "INVALID_ARGUMENT", id="data cut short"),
        pytest.param(
            lambda r: setattr(r.model_spec, "signature_name", "x"),
            "FAILED_PRECONDITION or INVALID_ARGUMENT",
            id="signature",
        ),
        pytest.param(lambda r: r.model_spec.ClearField("name"), "INVALID_ARGUMENT", id="no model named"),
        pytest.param(lambda r: setattr(r.model_spec, "name", "x"), "NOT_FOUND", id="unknown model"),
        pytest.param(lambda r: setattr(r.model_spec.version, "value", 999), "NOT_FOUND", id="unknown version"),
    ],
)
def test_bad_tensors_are_refused(channel, change, status):
    request = call_of([RankRequest("u", 1, CANDIDATES[:1])], channel)
    change(request)
    with pytest.raises(grpc.RpcError) as refused:
        predict(channel, request)
    assert refused.value.code().name in status.split(" or ")
    assert refused.value.details() and "Traceback" not in refused.value.details()


@pytest.mark.parametrize("size", [1, 2, 5, 16])
def test_batches_of_any_size(channel, size):
    requests = [RankRequest(f"u{n}", n + 1, CANDIDATES[n : n + 20], HISTORY) for n in range(size)]
    outputs = arrays(predict(channel, call_of(requests, channel)))
    assert {values.shape for values in outputs.values()} == {(size, 10)}
    assert not {b""} & set(outputs["item_id"].ravel().tolist())


def test_an_empty_batch_is_an_empty_answer_or_refused(channel):
    call = call_of([OTHER], channel)
    for tensor in call.inputs.values():
        tensor.CopyFrom(tf.make_tensor_proto(tf.make_ndarray(tensor)[:0]))
    try:
        outputs = arrays(predict(channel, call))
    except grpc.RpcError as refused:  # a batching server has nothing to join
        assert refused.code() is grpc.StatusCode.INVALID_ARGUMENT
    else:
        assert {values.shape for values in outputs.values()} == {(0, 10)}


def test_every_signature_is_answered(channel):
    known = signatures(channel)
    default, rank = (arrays(predict(channel, call_of([OTHER], channel, name))) for name in ("serving_default", "rank"))
    for name, values in rank.items():
        np.testing.assert_array_equal(default[name], values)
    score = predict(channel, call_of([OTHER], channel, "score"))
    assert arrays(score)["click_probability"].shape == (1, len(OTHER.candidates))
    examples = predict_pb2.PredictRequest()
    examples.model_spec.name, examples.model_spec.signature_name = "hrlrec", "score_examples"
    examples.inputs["examples"].CopyFrom(tf.make_tensor_proto([], tf.string, [0]))
    assert set(predict(channel, examples).outputs) == set(known["score_examples"].outputs)


def test_answers_have_the_types_that_metadata_states(channel):
    outputs = signatures(channel)["rank"].outputs
    answer = predict(channel, call_of([OTHER], channel))
    assert {name: tensor.dtype for name, tensor in answer.outputs.items()} == {
        name: info.dtype for name, info in outputs.items()
    }
    assert answer.model_spec.name == "hrlrec" and answer.model_spec.signature_name == "rank"
    assert answer.model_spec.version.value >= 1


def test_output_filter(channel):
    call = call_of([OTHER], channel)
    whole = arrays(predict(channel, call))
    call.output_filter.extend(["q_item", "item_id"])
    some = arrays(predict(channel, call))
    assert set(some) == {"q_item", "item_id"}
    assert all((values == whole[name]).all() for name, values in some.items())
    call.output_filter.append("q_itme")
    with pytest.raises(grpc.RpcError) as refused:
        predict(channel, call)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT and "q_itme" in refused.value.details()


def test_a_version_by_its_number(channel):
    newest = predict(channel, call_of([OTHER], channel)).model_spec.version.value
    call = call_of([OTHER], channel)
    call.model_spec.version.value = newest
    assert predict(channel, call).model_spec.version.value == newest
    call.model_spec.version.value = newest + 1000
    with pytest.raises(grpc.RpcError) as refused:
        predict(channel, call)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_versions_by_label(served, channel, labelled):
    answers = {}
    for label in ("stable", "canary"):
        call = call_of([OTHER], channel)
        call.model_spec.version_label = label
        answers[label] = predict(channel, call)
    if served.config is not None:
        assert {label: answer.model_spec.version.value for label, answer in answers.items()} == {
            "stable": 1,
            "canary": 2,
        }
        stable, canary = (arrays(answers[label])["click_probability"] for label in ("stable", "canary"))
        np.testing.assert_allclose(canary, stable / 2, rtol=1e-6)  # as the fakes were made


def test_an_unknown_label_is_refused(served):
    assert refusal(served, label="no-such-label") == "INVALID_ARGUMENT"


def test_a_label_moves_with_the_config_and_back(served, channel):
    if served.config is None:
        pytest.skip("the config of a server that the tests did not start is left alone")
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    call = call_of([OTHER], channel)
    call.model_spec.version_label = "canary"
    for version in (1, 2):
        request = model_management_pb2.ReloadConfigRequest()
        request.config.CopyFrom(served.config)
        request.config.model_config_list.config[0].version_labels["canary"] = version
        assert stub.HandleReloadConfigRequest(request, timeout=30).status.error_code == 0
        assert predict(channel, call).model_spec.version.value == version


def test_metadata_lists_the_signatures(channel):
    found = signatures(channel)
    assert {"rank", "serving_default", "score", "score_examples"} <= set(found)
    outputs = {"item_id", "channel", "click_probability", "q_channel", "q_item"}
    outputs |= {"propensity_channel", "propensity_item", "explored"}
    assert set(found["rank"].outputs) == outputs
    assert "epsilon" not in found["score"].inputs
    assert found["rank"].method_name == "tensorflow/serving/predict"


@pytest.mark.parametrize(
    ("field", "name", "status"), [("weather", "hrlrec", "INVALID_ARGUMENT"), ("signature_def", "x", "NOT_FOUND")]
)
def test_other_metadata_is_refused(channel, field, name, status):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=[field])
    request.model_spec.name = name
    with pytest.raises(grpc.RpcError) as refused:
        prediction_service_pb2_grpc.PredictionServiceStub(channel).GetModelMetadata(request)
    assert refused.value.code().name == status


def test_status_of_the_live_version(channel):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "hrlrec"
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    statuses = stub.GetModelStatus(request).model_version_status
    live = [status for status in statuses if status.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE]
    assert live and all(status.status.error_code == 0 for status in live)
    request.model_spec.version.value = live[0].version
    assert [status.version for status in stub.GetModelStatus(request).model_version_status] == [live[0].version]
    request.model_spec.version.value = 999
    with pytest.raises(grpc.RpcError) as refused:
        stub.GetModelStatus(request)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_status_of_an_unknown_model(channel):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "x"
    with pytest.raises(grpc.RpcError) as refused:
        model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Classify", classification_pb2.ClassificationRequest()),
        ("Regress", regression_pb2.RegressionRequest()),
        ("MultiInference", inference_pb2.MultiInferenceRequest()),
    ],
)
def test_methods_that_no_signature_serves_are_refused(channel, method, request_):
    # TensorFlow Serving finds no signature of that method; the embedded server does not have the method.
    if method != "MultiInference":
        request_.model_spec.name = "hrlrec"
        request_.input.example_list.examples.add()
    with pytest.raises(grpc.RpcError) as refused:
        getattr(prediction_service_pb2_grpc.PredictionServiceStub(channel), method)(request_)
    assert refused.value.code().name in {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "UNIMPLEMENTED"}


def test_health(served, channel):
    try:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
    except grpc.RpcError as refused:
        if refused.code() is grpc.StatusCode.UNIMPLEMENTED and served.config is None:
            pytest.skip("the server has no gRPC health service; start it with --enable_grpc_healthcheck_service")
        raise
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
