"""Warm-up requests inside a SavedModel, as TensorFlow Serving replays them before a version takes traffic."""

import pathlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from hrlrec_tf import features
from hrlrec_tf.data.input import SessionReader

FILE_NAME = "assets.extra/tf_serving_warmup_requests"

COUNTS = (100, 800)  # candidates of the requests: memory is found for small ones and for those of the design

_TIMESTAMP = 1_700_000_000_000


def canned_inputs(
    reader: SessionReader, candidates: int = 800, items: Sequence[str] | None = None
) -> dict[str, np.ndarray]:
    """Inputs of one `rank` call: a full history, and known items as candidates spread over all known channels.

    Args:
      reader: whose vocabularies name the items and channels.
      candidates: how many; fewer if there are fewer items.
      items: ids to take instead of the vocabulary's.
    """
    spec = reader.spec
    items = (reader.vocabulary("item_id") if items is None else items)[:candidates] or ["item"]
    channels = reader.vocabulary("channel") or ["channel"]
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
    saved_model: str,
    reader: SessionReader,
    signatures: Mapping[str, Collection[str]],
    items: Sequence[str] | None = None,
    model_name: str = "hrlrec",
) -> None:
    """Adds requests for each signature to a SavedModel's extra assets, of several numbers of candidates.

    Args:
      signatures: name -> names of its inputs, which are some of those of `rank`.
      items: as in `canned_inputs`.
    """
    path = pathlib.Path(saved_model) / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for candidates in COUNTS:
            inputs = canned_inputs(reader, candidates, items)
            for signature, names in signatures.items():
                request = predict_pb2.PredictRequest()
                request.model_spec.name = model_name
                request.model_spec.signature_name = signature
                for name in names:
                    request.inputs[name].CopyFrom(tf.make_tensor_proto(inputs[name]))
                log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
                writer.write(log.SerializeToString())
