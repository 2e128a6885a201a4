"""Requests of the conformance tests, and calls of a server without this package's client."""

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from serving import tensors
from serving.client_calls import HISTORY_LENGTH
from serving.messages import Candidate, Counts, Profile, RankRequest, Row

CHANNELS = ("news", "article", "long_video", "short_video")
CANDIDATES = tuple(Candidate(f"i{n}", CHANNELS[n % 4], ("a", f"t{n % 7}")) for n in range(800))
HISTORY = tuple(Row(f"i{n}", CHANNELS[n % 4], clicks=n % 2, dwell_seconds=1.5, timestamp=n + 1) for n in range(41))
REQUEST = RankRequest("u1", 1_700_000_000_000, CANDIDATES, HISTORY, Profile({"news": Counts(9, 2)}))
OTHER = RankRequest("u2", 1_700_000_000_001, CANDIDATES[30:70], HISTORY[:5])

MODEL = "hrlrec"
SECONDS = 30


def signatures(channel: grpc.Channel) -> dict[str, Any]:
    """Signature name -> SignatureDef of the default version."""
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = MODEL
    answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).GetModelMetadata(request, timeout=SECONDS)
    assert answer.model_spec.version.value >= 1
    found = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(found)
    return dict(found.signature_def)


def call_of(
    requests: Sequence[RankRequest], channel: grpc.Channel, signature: str = "rank"
) -> predict_pb2.PredictRequest:
    """A Predict call of a signature that takes requests."""
    call = predict_pb2.PredictRequest()
    call.model_spec.name, call.model_spec.signature_name = MODEL, signature
    inputs = signatures(channel)[signature].inputs
    for name, tensor in tensors.to_tensors(requests, inputs, history_length=HISTORY_LENGTH).items():
        call.inputs[name].CopyFrom(tensor)
    return call


def predict(channel: grpc.Channel, call: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
    """The answer to a Predict call."""
    return prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(call, timeout=SECONDS)


def arrays(answer: predict_pb2.PredictResponse) -> dict[str, np.ndarray]:
    """The outputs of an answer."""
    return {name: tf.make_ndarray(tensor) for name, tensor in answer.outputs.items()}


def columns(call: predict_pb2.PredictRequest) -> dict[str, list]:
    """The inputs of a call as JSON has them."""
    return {name: _texts(tf.make_ndarray(tensor).tolist()) for name, tensor in call.inputs.items()}


def http(address: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and JSON body of a GET, or of a POST where there is a body: JSON, or bytes as they are."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{address}{path}", data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        text = error.read()
        return error.code, json.loads(text) if text.lstrip().startswith(b"{") else text.decode()


def _texts(value: Any) -> Any:
    if isinstance(value, list):
        return [_texts(each) for each in value]
    return value.decode("utf-8") if isinstance(value, bytes) else value
