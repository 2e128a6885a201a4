"""What any server of an exported model must do: TensorFlow Serving and the embedded server alike."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving import tensors
from serving.client import RankingClient, RankingError
from serving.messages import Candidate, Counts, Profile, RankRequest, Row

CHANNELS = ("news", "article", "long_video", "short_video")
CANDIDATES = tuple(Candidate(f"i{n}", CHANNELS[n % 4], ("a", f"t{n % 7}")) for n in range(800))
HISTORY = tuple(Row(f"i{n}", CHANNELS[n % 4], clicks=n % 2, dwell_seconds=1.5, timestamp=n + 1) for n in range(41))
REQUEST = RankRequest("u1", 1_700_000_000_000, CANDIDATES, HISTORY, Profile({"news": Counts(9, 2)}))


@pytest.fixture
def client(serving_address: str) -> Iterator[RankingClient]:
    with RankingClient(serving_address, deadline_seconds=30) as client:
        yield client


@pytest.fixture
def channel(serving_address: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(serving_address) as channel:
        yield channel


@pytest.fixture
def metadata(channel: grpc.Channel) -> get_model_metadata_pb2.SignatureDefMap:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "hrlrec"
    response = prediction_service_pb2_grpc.PredictionServiceStub(channel).GetModelMetadata(request)
    assert response.model_spec.version.value >= 1
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    return signatures


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
        pytest.param(lambda r: setattr(r.model_spec, "signature_name", "x"), "INVALID_ARGUMENT", id="signature"),
        pytest.param(lambda r: r.model_spec.ClearField("name"), "INVALID_ARGUMENT", id="no model named"),
        pytest.param(lambda r: setattr(r.model_spec, "name", "x"), "NOT_FOUND", id="unknown model"),
        pytest.param(lambda r: setattr(r.model_spec.version, "value", 999), "NOT_FOUND", id="unknown version"),
    ],
)
def test_bad_tensors_are_refused(channel, metadata, change, status):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "hrlrec"
    request.model_spec.signature_name = "rank"
    inputs = metadata.signature_def["rank"].inputs
    for name, tensor in tensors.to_tensors([RankRequest("u", 1, CANDIDATES[:1])], inputs).items():
        request.inputs[name].CopyFrom(tensor)
    change(request)
    with pytest.raises(grpc.RpcError) as refused:
        prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request)
    assert refused.value.code().name == status
    assert refused.value.details() and "Traceback" not in refused.value.details()


def test_metadata_lists_the_signatures(metadata):
    assert {"rank", "serving_default", "score", "score_examples"} <= set(metadata.signature_def)
    outputs = {"item_id", "channel", "click_probability", "q_channel", "q_item"}
    outputs |= {"propensity_channel", "propensity_item", "explored"}
    assert set(metadata.signature_def["rank"].outputs) == outputs
    assert "epsilon" not in metadata.signature_def["score"].inputs


def test_other_metadata_is_refused(channel):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["weather"])
    request.model_spec.name = "hrlrec"
    with pytest.raises(grpc.RpcError) as refused:
        prediction_service_pb2_grpc.PredictionServiceStub(channel).GetModelMetadata(request)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_status_of_the_live_version(channel):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "hrlrec"
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    states = [status.state for status in stub.GetModelStatus(request).model_version_status]
    assert get_model_status_pb2.ModelVersionStatus.AVAILABLE in states
    request.model_spec.version.value = 999
    with pytest.raises(grpc.RpcError) as refused:
        stub.GetModelStatus(request)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
