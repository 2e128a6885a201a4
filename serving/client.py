"""A typed ranking client for the embedded server and TensorFlow Serving alike.

    with RankingClient("localhost:8500") as client:
        response = client.rank(RankRequest.from_json("request.json"))

The client learns from the server which inputs the model takes, so it fits every log's optional columns.
"""

import types
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import message
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from hrlrec_tf.errors import HrlrecError
from serving import tensors
from serving.messages import RankedItem, RankRequest, RankResponse, RequestError

RANK = "rank"
SCORE = "score"
DEADLINE_SECONDS = 5.0
MAX_MESSAGE_BYTES = 64 * 1024 * 1024


class RankingError(HrlrecError):
    """A call failed; `status` is its gRPC status, `sentence` says why."""

    def __init__(self, status: grpc.StatusCode, sentence: str) -> None:
        super().__init__(f"{sentence} ({status.name})")
        self.status = status
        self.sentence = sentence


class RankingClient:
    """Ranks and scores candidates through one gRPC connection, which threads may share.

    Args:
      address: "HOST:PORT" of the server's gRPC port.
      model_name: the name the server knows the model by.
      deadline_seconds: how long a call may take; each call can state its own.
    """

    def __init__(self, address: str, model_name: str = "hrlrec", *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._address = address
        self._model_name = model_name
        self._deadline_seconds = deadline_seconds
        options = [(f"grpc.max_{way}_message_length", MAX_MESSAGE_BYTES) for way in ("send", "receive")]
        self._channel = grpc.insecure_channel(address, options=options)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._inputs: dict[str, Mapping[str, meta_graph_pb2.TensorInfo]] = {}

    def __enter__(self) -> "RankingClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def rank(self, request: RankRequest, *, deadline_seconds: float | None = None) -> RankResponse:
        """The ranked list of one request.

        Raises:
          RequestError: a field is unknown to the model or has the wrong type.
          RankingError: the server refused the request or did not answer in time.
        """
        return self.rank_many([request], deadline_seconds=deadline_seconds)[0]

    def rank_many(
        self, requests: Sequence[RankRequest], *, deadline_seconds: float | None = None
    ) -> list[RankResponse]:
        """The ranked lists of several requests, in one call; raises as `rank` does."""
        if not requests:
            return []
        version, outputs = self._predict(RANK, requests, deadline_seconds)
        return [RankResponse(_items(outputs, index), version) for index in range(len(requests))]

    def score(self, request: RankRequest, *, deadline_seconds: float | None = None) -> list[float]:
        """Click probability of each candidate, in the request's order, as if placed first; raises as `rank` does."""
        _, outputs = self._predict(SCORE, [request], deadline_seconds)
        return outputs["click_probability"][0, : len(request.candidates)].tolist()

    def _predict(
        self, signature: str, requests: Sequence[RankRequest], deadline_seconds: float | None
    ) -> tuple[int, dict[str, np.ndarray]]:
        learnt = self._learnt_inputs(signature, deadline_seconds)
        try:
            return self._predict_with(learnt, signature, requests, deadline_seconds)
        except (RequestError, RankingError) as error:
            if isinstance(error, RankingError) and error.status is not grpc.StatusCode.INVALID_ARGUMENT:
                raise
            # A new version may take other inputs than the one these were learnt from; otherwise the refusal stands.
            self._inputs.clear()
            relearnt = self._learnt_inputs(signature, deadline_seconds)
            if relearnt == learnt:
                raise
        return self._predict_with(relearnt, signature, requests, deadline_seconds)

    def _predict_with(
        self,
        inputs: Mapping[str, meta_graph_pb2.TensorInfo],
        signature: str,
        requests: Sequence[RankRequest],
        deadline_seconds: float | None,
    ) -> tuple[int, dict[str, np.ndarray]]:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._model_name
        request.model_spec.signature_name = signature
        for name, tensor in tensors.to_tensors(requests, inputs).items():
            request.inputs[name].CopyFrom(tensor)
        response = self._call(self._stub.Predict, request, deadline_seconds)
        return response.model_spec.version.value, {k: tf.make_ndarray(v) for k, v in response.outputs.items()}

    def _learnt_inputs(self, signature: str, deadline_seconds: float | None) -> Mapping[str, meta_graph_pb2.TensorInfo]:
        if signature not in self._inputs:
            request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
            request.model_spec.name = self._model_name
            answer = self._call(self._stub.GetModelMetadata, request, deadline_seconds)
            signatures = get_model_metadata_pb2.SignatureDefMap()
            answer.metadata["signature_def"].Unpack(signatures)
            if signature not in signatures.signature_def:
                raise RankingError(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"the model {self._model_name!r} at {self._address} has no signature {signature!r}; "
                    "serve one that `hrlrec export` wrote",
                )
            self._inputs[signature] = dict(signatures.signature_def[signature].inputs)
        return self._inputs[signature]

    def _call(
        self, method: grpc.UnaryUnaryMultiCallable, request: message.Message, deadline_seconds: float | None
    ) -> Any:
        timeout = self._deadline_seconds if deadline_seconds is None else deadline_seconds
        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as error:
            raise RankingError(error.code(), self._sentence(error, timeout)) from error

    def _sentence(self, error: grpc.RpcError, timeout: float) -> str:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return f"no server answers at {self._address}; start one with `hrlrec serve` or correct the address"
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"{self._address} gave no answer within {timeout:g} s; allow a longer deadline"
        return " ".join((error.details() or "the server gave no reason").split())


def _items(outputs: Mapping[str, np.ndarray], index: int) -> tuple[RankedItem, ...]:
    """The filled positions of one request's list."""
    rows = {name: values[index].tolist() for name, values in outputs.items()}
    return tuple(
        RankedItem(
            position=t + 1,
            item_id=item_id.decode("utf-8"),
            channel=rows["channel"][t].decode("utf-8"),
            click_probability=rows["click_probability"][t],
            q_channel=rows["q_channel"][t],
            q_item=rows["q_item"][t],
            propensity_channel=rows["propensity_channel"][t],
            propensity_item=rows["propensity_item"][t],
            explored=bool(rows["explored"][t]),
        )
        for t, item_id in enumerate(rows["item_id"])
        if item_id
    )
