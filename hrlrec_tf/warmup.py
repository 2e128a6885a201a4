"""Warm-up requests inside a SavedModel, as TensorFlow Serving replays them before a version takes traffic."""

import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from hrlrec_tf import features
from hrlrec_tf.data.input import SessionReader

FILE_NAME = "assets.extra/tf_serving_warmup_requests"

_TIMESTAMP = 1_700_000_000_000


def canned_inputs(reader: SessionReader, candidates: int = 800) -> dict[str, np.ndarray]:
    """Inputs of one `rank` call: a full history, and known items as candidates spread over all known channels.

    Args:
      reader: whose vocabularies name the items and channels.
      candidates: how many; fewer if the vocabulary holds fewer items.
    """
    spec = reader.spec
    items, channels = reader.vocabulary("item_id")[:candidates] or ["item"], reader.vocabulary("channel") or ["channel"]
    inputs: dict[str, np.ndarray] = {}
    for name, (kind, rank) in spec.serving_inputs().items():
        rows = {features.CANDIDATE: len(items), features.HISTORY: spec.history_length}.get(f"{name.split('_')[0]}_", 1)
        inputs[name] = np.full([1, rows][:rank], kind.absent, kind.dtype)
    inputs["timestamp"][:] = _TIMESTAMP
    for prefix in (features.CANDIDATE, features.HISTORY):
        rows = inputs[f"{prefix}item_id"].shape[1]
        inputs[f"{prefix}item_id"][0] = [items[row % len(items)] for row in range(rows)]
        inputs[f"{prefix}channel"][0] = [channels[row % len(channels)] for row in range(rows)]
    inputs["history_timestamp"][:] = _TIMESTAMP - 1000
    inputs["history_position"][:] = 1
    return inputs


def write_warmup(
    saved_model: str, reader: SessionReader, signatures: Sequence[str], model_name: str = "hrlrec"
) -> None:
    """Adds one request for each of `signatures` (`rank`, `score`) to a SavedModel's extra assets."""
    inputs = canned_inputs(reader)
    path = pathlib.Path(saved_model) / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature in signatures:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model_name
            request.model_spec.signature_name = signature
            for name, values in inputs.items():
                if name != "epsilon" or signature == "rank":
                    request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
