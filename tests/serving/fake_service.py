"""A PredictionService without a model: it answers by rule, counts what it is asked, and fails when told to.

A list is the request's candidates in their order, or "r0", "r1", ... of the signature `recommend`; ids that begin with
"unknown" are left out by `rank_ids`. A call with the user "bad" is refused.
"""

import threading
import time
from collections.abc import Sequence
from concurrent import futures

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from hrlrec_tf import features
from hrlrec_tf.features import FeatureSpec, Kind

DTYPES = {Kind.STRING: tf.string, Kind.INT: tf.int64, Kind.FLOAT: tf.float32}
SPEC = FeatureSpec(optional={"user_age": Kind.FLOAT, "context_device": Kind.STRING, "item_length": Kind.FLOAT})
LENGTH = 10


def inputs_of(signature: str, spec: FeatureSpec = SPEC) -> dict[str, tuple[Kind, int]]:
    """The inputs of a signature: name -> (kind, rank)."""
    inputs = spec.serving_inputs()
    of_catalogue = {"channel", "tags", *spec.columns(features.ITEM_PREFIX)}
    left_out = {
        "rank": set(),
        "score": {"epsilon"},
        "rank_ids": {prefix + name for prefix in (features.CANDIDATE, features.HISTORY) for name in of_catalogue},
    }
    left_out["recommend"] = left_out["rank_ids"] | {features.CANDIDATE + "item_id"}
    return {name: value for name, value in inputs.items() if name not in left_out[signature]}


class FakeService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """See the module docstring.

    Attributes:
      fail_with, failures: how many Predict calls still fail, and with which status.
      delay_seconds: how long a Predict call takes.
      predicted: the Predict requests answered or refused; asked: how many metadata requests came.
      peers: who connected. ids: `x-request-id` of each Predict call. most_at_once: Predict calls answered at a time.
    """

    def __init__(self, signatures: Sequence[str] = ("rank", "score", "rank_ids", "recommend")) -> None:
        self.signatures = signatures
        self.fail_with, self.failures, self.delay_seconds = grpc.StatusCode.UNAVAILABLE, 0, 0.0
        self.predicted: list[predict_pb2.PredictRequest] = []
        self.asked, self.most_at_once, self._at_once = 0, 0, 0
        self.peers: set[str] = set()
        self.ids: list[str] = []
        self._lock = threading.Lock()

    def GetModelMetadata(self, request, context):
        self.asked += 1
        found = get_model_metadata_pb2.SignatureDefMap()
        for signature in self.signatures:
            for name, (kind, rank) in inputs_of(signature).items():
                info = found.signature_def[signature].inputs[name]
                info.dtype = DTYPES[kind].as_datatype_enum
                info.tensor_shape.CopyFrom(tf.TensorShape([None] * rank).as_proto())
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(found)
        return response

    def Predict(self, request, context):
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            self.predicted.append(request)
            self.peers.add(context.peer())
            self.ids += [value for key, value in context.invocation_metadata() if key == "x-request-id"]
            fails, self.failures = self.failures > 0, max(self.failures - 1, 0)
        try:
            time.sleep(self.delay_seconds)
            if fails:
                context.abort(self.fail_with, "told to fail")
            return self._answer(request, context)
        finally:
            with self._lock:
                self._at_once -= 1

    def _answer(self, request, context):
        users = request.inputs["user_id"].string_val
        if b"bad" in users:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "hrlrec: a user is bad; correct it")
        signature = request.model_spec.signature_name
        response = predict_pb2.PredictResponse()
        response.model_spec.version.value = request.model_spec.version.value or 7
        outputs = {"item_id": np.full([len(users), LENGTH], b"", object)}
        unknown = np.zeros(len(users), np.int64)
        if signature == "recommend":
            outputs["item_id"][:] = [b"r%d" % n for n in range(LENGTH)]
        else:
            for row, ids in enumerate(tf.make_ndarray(request.inputs["candidate_item_id"])):
                known = [item for item in ids if item and not item.startswith(b"unknown")][:LENGTH]
                outputs["item_id"][row, : len(known)] = known
                unknown[row] = sum(item.startswith(b"unknown") for item in ids)
        filled = outputs["item_id"] != b""
        outputs["channel"] = np.where(filled, b"news", b"").astype(object)
        if signature == "score":
            response.outputs["click_probability"].CopyFrom(tf.make_tensor_proto(np.zeros(filled.shape, np.float32)))
            return response
        for name in ("click_probability", "q_channel", "q_item", "propensity_channel", "propensity_item"):
            outputs[name] = filled.astype(np.float32) / 2
        outputs["explored"] = np.zeros(filled.shape, np.int64)
        if signature in ("rank_ids", "recommend"):
            outputs["unknown_candidates"] = unknown
        for name, values in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(values))
        return response


class Served:
    """A fake service behind a port, until the context ends; `address` is its address."""

    def __init__(self, service: FakeService, credentials: grpc.ServerCredentials | None = None, port: int = 0) -> None:
        self.service = service
        self._server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, self._server)
        address = f"127.0.0.1:{port}"
        if credentials is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, credentials)
        self.address = f"localhost:{self.port}" if credentials else f"127.0.0.1:{self.port}"

    def __enter__(self) -> "Served":
        self._server.start()
        return self

    def __exit__(self, *_) -> None:
        self._server.stop(None).wait()
