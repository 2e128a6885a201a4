"""A SavedModel that loads in a moment, with signatures of several shapes, for tests of the server itself.

* `serving_default`: x float32 [any, any] -> y = factor * x; refuses negative x with a sentence of its own
* `text`: text string [any], -> size int64 [any], text and text_bytes string [any]
* `many`: x float32 [any, any], n int64 [any] -> y = factor * (sum of x + n), first [any] string of n
* `whole`: x float32 [any, any] -> total float32 [], which has no batch dimension
"""

import json
import pathlib
import urllib.error
import urllib.request
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

NAME = "toy"


class Toy(tf.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor = tf.Variable(float(factor))

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, "x")])
    def scaled(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        tf.debugging.Assert(tf.reduce_all(x >= 0), ["hrlrec: x must not be negative; correct it"])
        return {"y": self._factor * x}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def sized(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"size": tf.cast(tf.strings.length(text), tf.int64), "text": text, "text_bytes": text}

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, "x"), tf.TensorSpec([None], tf.int64, "n")])
    def summed(self, x: tf.Tensor, n: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": self._factor * (tf.reduce_sum(x, axis=1) + tf.cast(n, tf.float32)), "n": tf.strings.as_string(n)}

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, "x")])
    def totalled(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"total": tf.reduce_sum(x)}


def write(folder: pathlib.Path, factor: float = 1.0) -> pathlib.Path:
    """Writes the model to `folder` (temporary name, then rename) and returns it."""
    module = Toy(factor)
    temporary = folder.parent / f".{folder.name}.partial"
    signatures = {
        "serving_default": module.scaled,
        "text": module.sized,
        "many": module.summed,
        "whole": module.totalled,
    }
    tf.saved_model.save(module, str(temporary), signatures=signatures)
    temporary.rename(folder)
    return folder


def request(signature: str = "", name: str = NAME, **inputs: Any) -> predict_pb2.PredictRequest:
    """A Predict request; inputs are arrays or (values, dtype)."""
    made = predict_pb2.PredictRequest()
    made.model_spec.name = name
    made.model_spec.signature_name = signature
    for key, value in inputs.items():
        values, dtype = value if isinstance(value, tuple) else (value, None)
        made.inputs[key].CopyFrom(tf.make_tensor_proto(values, dtype))
    return made


def scaling(*rows: list[float], **spec: Any) -> predict_pb2.PredictRequest:
    """A request of the default signature; `spec` states a version or a label."""
    made = request(x=np.array(rows, np.float32))
    if "version" in spec:
        made.model_spec.version.value = spec["version"]
    if "label" in spec:
        made.model_spec.version_label = spec["label"]
    return made


def y(answer: predict_pb2.PredictResponse) -> list[Any]:
    """The output y."""
    return tf.make_ndarray(answer.outputs["y"]).tolist()


def stub(channel: grpc.Channel) -> prediction_service_pb2_grpc.PredictionServiceStub:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def http(address: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Status and JSON of a REST call: a POST where there is a body (bytes are sent as they are)."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    call = urllib.request.Request(f"http://{address}{path}", data=data, headers=headers)
    try:
        with urllib.request.urlopen(call, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
