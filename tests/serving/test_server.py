"""What the embedded server says and does beyond the conformance tests."""

import threading
from collections.abc import Iterator

import fakes
import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from hrlrec_tf.errors import ConfigError, ModelError
from serving import signatures, versions
from serving.client import RankingClient, RankingError
from serving.messages import Candidate, RankRequest
from serving.server import EmbeddedServer

REQUEST = RankRequest("u", 1, [Candidate("a", "news"), Candidate("b", "video")])


@pytest.fixture
def channel(embedded: EmbeddedServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(embedded.address) as channel:
        yield channel


def rank_call() -> predict_pb2.PredictRequest:
    """A Predict call of `score_examples`, which has one input and is easy to spoil."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "hrlrec"
    request.model_spec.signature_name = "score_examples"
    features = {"item_id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"a"] * 10))}
    example = tf.train.Example(features=tf.train.Features(feature=features))
    request.inputs["examples"].CopyFrom(tf.make_tensor_proto([example.SerializeToString()]))
    return request


def refusal(channel: grpc.Channel, request: predict_pb2.PredictRequest) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as refused:
        prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request)
    return refused.value.code().name, refused.value.details()


def test_answers_say_which_version_and_signature(channel):
    response = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(rank_call())
    assert response.model_spec.version.value == 1
    assert response.model_spec.signature_name == "score_examples"
    assert set(response.outputs) == {"click_probability", "q_channel", "q_item"}


def test_output_filter(channel):
    request = rank_call()
    request.output_filter.append("q_item")
    response = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request)
    assert set(response.outputs) == {"q_item"}
    request.output_filter.append("q_itme")
    status, sentence = refusal(channel, request)
    assert status == "INVALID_ARGUMENT" and "no output 'q_itme'; it has: click_probability" in sentence


def test_sentences_name_what_came_and_what_is_expected(channel):
    request = rank_call()
    request.inputs["examples"].CopyFrom(tf.make_tensor_proto([[1, 2]], tf.int32))
    sentence = "the input 'examples' is int32 of rank 2, [1, 2] but must be string of rank 1, [any]"
    assert refusal(channel, request) == ("INVALID_ARGUMENT", sentence)
    del request.inputs["examples"]
    sentence = "the signature 'score_examples' needs inputs that the request lacks: examples (string of rank 1, [any])"
    assert refusal(channel, request) == ("INVALID_ARGUMENT", sentence)
    request = rank_call()
    request.inputs["exmaples"].CopyFrom(request.inputs["examples"])
    sentence = "the signature 'score_examples' takes no input exmaples; it takes: examples"
    assert refusal(channel, request) == ("INVALID_ARGUMENT", sentence)
    request.model_spec.signature_name = "rnak"
    sentence = "the model has no signature 'rnak'; it has: rank, score, score_examples, serving_default"
    assert refusal(channel, request) == ("INVALID_ARGUMENT", sentence)
    request.model_spec.version_label = "canary"
    sentence = "there is no version label 'canary'; leave it out for the newest version"
    assert refusal(channel, request) == ("INVALID_ARGUMENT", sentence)


def test_a_stated_shape_takes_no_memory(channel):
    request = rank_call()
    request.inputs["examples"].tensor_shape.dim[0].size = 2**40
    status, sentence = refusal(channel, request)
    assert status == "INVALID_ARGUMENT" and f"has {2**40} values; at most {signatures.MAX_ELEMENTS}" in sentence


def test_errors_of_the_graph_come_without_its_noise(channel):
    request = rank_call()
    request.inputs["examples"].CopyFrom(tf.make_tensor_proto([b"no example"]))
    status, sentence = refusal(channel, request)
    assert status == "INVALID_ARGUMENT"
    assert "parse" in sentence and "node" not in sentence and "\n" not in sentence


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            "Graph execution error:\n\nassertion failed: [hrlrec: [B, N] differ] [x = ] [1]\n\t [[{{node A}}]]",
            "[B, N] differ",
        ),
        ("assertion failed: [hrlrec: send one]\n\t [[{{node A}}]] [Op:__inference_1]", "send one"),
        ("{{function_node f}} hrlrec: send one [Op:Check]", "send one"),
    ],
)
def test_the_models_sentence_is_cut_out(message, sentence):
    error = tf.errors.InvalidArgumentError(None, None, message)
    assert signatures.of_error(error).sentence == f"hrlrec: {sentence}"


def test_the_unforeseen_is_internal_and_keeps_its_details_to_the_log(client, monkeypatch, caplog):
    def fail(self, request):
        raise RuntimeError("secret")

    monkeypatch.setattr(versions.ServedVersion, "predict", fail)
    with pytest.raises(RankingError) as failed:
        client.rank(REQUEST)
    assert failed.value.status is grpc.StatusCode.INTERNAL
    assert "secret" not in str(failed.value) and "secret" in caplog.text


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Classify", classification_pb2.ClassificationRequest()),
        ("Regress", regression_pb2.RegressionRequest()),
        ("MultiInference", inference_pb2.MultiInferenceRequest()),
    ],
)
def test_other_methods_are_unimplemented(channel, method, request_):
    with pytest.raises(grpc.RpcError) as refused:
        getattr(prediction_service_pb2_grpc.PredictionServiceStub(channel), method)(request_)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert refused.value.details() == f"there is no {method} here; tensorflow_model_server has it"


def test_too_large_requests_are_refused(model_base):
    many = RankRequest("u", 1, [Candidate("x" * 1000, "news")] * 20)
    with (
        EmbeddedServer(model_base, port=0, max_message_bytes=10_000) as server,
        RankingClient(server.address) as client,
    ):
        assert client.rank(REQUEST).items
        with pytest.raises(RankingError) as refused:
            client.rank(many)
        assert refused.value.status is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert client.rank(REQUEST).items


def test_a_taken_port(model_base, embedded):
    port = int(embedded.address.rpartition(":")[2])
    with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
        EmbeddedServer(model_base, port=port).start()


def test_nothing_to_serve(tmp_path):
    with pytest.raises(ModelError, match="no such folder"):
        EmbeddedServer(tmp_path / "absent", port=0).start()
    with pytest.raises(ModelError, match="holds no version.*hrlrec export"):
        EmbeddedServer(tmp_path, port=0).start()


def test_stop_lets_calls_finish(model_base, monkeypatch):
    entered, leave = threading.Event(), threading.Event()
    predict = versions.ServedVersion.predict

    def slow(self, request):
        entered.set()
        assert leave.wait(10)
        return predict(self, request)

    monkeypatch.setattr(versions.ServedVersion, "predict", slow)
    answers: list[int] = []
    server = EmbeddedServer(model_base, port=0).start()
    with RankingClient(server.address) as client:
        caller = threading.Thread(target=lambda: answers.append(len(client.rank(REQUEST).items)))
        caller.start()
        assert entered.wait(10)
        stopper = threading.Thread(target=server.stop)
        stopper.start()
        leave.set()
        caller.join(10)
        stopper.join(10)
    assert answers == [2]


def test_a_swap_under_load_fails_no_request(tmp_path):
    fakes.write_saved_model(tmp_path / "1", scale=1.0)
    seen: dict[int, float] = {}
    with (
        EmbeddedServer(tmp_path, port=0, poll_seconds=0.05) as server,
        RankingClient(server.address, deadline_seconds=20) as client,
    ):
        writer = threading.Thread(target=fakes.write_saved_model, args=(tmp_path / "2", None, 0.5))
        writer.start()
        for _ in range(10_000):
            response = client.rank(REQUEST)
            seen[response.model_version] = response.items[0].click_probability
            if 2 in seen:
                break
        writer.join()
        assert server.version == 2
    best = max(fakes.click_probability(["a", "b"]))
    assert seen == pytest.approx({1: best, 2: best / 2})
