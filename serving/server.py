"""An embedded server with TensorFlow Serving's gRPC interface, for development, tests and small installations.

    with EmbeddedServer(model_base, port=0) as server:
        client = RankingClient(server.address)

It answers PredictionService (Predict, GetModelMetadata) and ModelService (GetModelStatus) from the newest version below
`model_base`, executed by TensorFlow's own runtime, with TensorFlow Serving's status codes. Everything else those
services offer is refused with UNIMPLEMENTED.
"""

import functools
import logging
import os
import types
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from hrlrec_tf.errors import ConfigError
from serving import versions
from serving.signatures import Refusal, invalid

MODEL_NAME = "hrlrec"
HOST = "127.0.0.1"
PORT = 8500
POLL_SECONDS = 1.0
THREADS = 16
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
GRACE_SECONDS = 5.0

_LOG = logging.getLogger(__name__)
_MAX_SENTENCE = 1000  # gRPC carries it in a header of limited size


class EmbeddedServer:
    """Serves the newest version below `model_base` until `stop`; usable as a context manager.

    Args:
      model_base: the folder of version folders.
      port: the gRPC port; 0 takes a free one.
      host: the interface to listen on; "0.0.0.0" opens the server to the network.
      model_name: the name that requests must state.
      poll_seconds: pause between two looks for new versions.
      threads: calls answered at a time.
      max_message_bytes: larger requests and answers are refused with RESOURCE_EXHAUSTED.
    """

    def __init__(
        self,
        model_base: str | os.PathLike[str],
        port: int = PORT,
        *,
        host: str = HOST,
        model_name: str = MODEL_NAME,
        poll_seconds: float = POLL_SECONDS,
        threads: int = THREADS,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self._host = host
        self._port = port
        self._versions = versions.ModelVersions(model_base, poll_seconds)
        options = [(f"grpc.max_{way}_message_length", max_message_bytes) for way in ("send", "receive")]
        # Without this a second server could share the port and take half of the calls.
        options.append(("grpc.so_reuseport", 0))
        self._server = grpc.server(futures.ThreadPoolExecutor(threads, thread_name_prefix="serve"), options=options)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _PredictionService(model_name, self._versions), self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            _ModelService(model_name, self._versions), self._server
        )

    @property
    def address(self) -> str:
        """The gRPC address, "HOST:PORT", once started."""
        return f"{self._host}:{self._port}"

    @property
    def version(self) -> int:
        """The version that answers now."""
        return self._versions.live.number

    def start(self) -> "EmbeddedServer":
        """Loads the newest version, then opens the port.

        Raises:
          ModelError: there is no version that can be served.
          ConfigError: the port cannot be opened.
        """
        self._versions.start()
        try:
            bound = self._server.add_insecure_port(f"{self._host}:{self._port}")
        except RuntimeError:
            bound = 0
        if not bound:
            self._versions.stop()
            raise ConfigError(f"cannot listen on {self.address}; it may be in use: choose another host or port")
        self._port = bound
        self._server.start()
        return self

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Takes no new calls, lets those in progress finish within `grace_seconds`, and closes the port."""
        self._server.stop(grace_seconds).wait()
        self._versions.stop()

    def __enter__(self) -> "EmbeddedServer":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.stop()


def _answered(handler: Callable[[Any, Any], Any]) -> Callable[[Any, Any, grpc.ServicerContext], Any]:
    """The handler as gRPC calls it: a refusal becomes its status; what was not foreseen is logged as INTERNAL."""

    @functools.wraps(handler)
    def answer(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return handler(self, request)
        except Refusal as refusal:
            status, sentence = refusal.status, refusal.sentence
        except Exception:
            _LOG.exception("%s failed", handler.__name__)
            status, sentence = grpc.StatusCode.INTERNAL, f"{handler.__name__} failed; the server's log says why"
        context.abort(status, sentence[:_MAX_SENTENCE])

    return answer


def _unimplemented(name: str) -> Callable[[Any, Any, grpc.ServicerContext], Any]:
    def refuse(self: Any, request: Any) -> Any:
        raise Refusal(grpc.StatusCode.UNIMPLEMENTED, f"there is no {name} here; tensorflow_model_server has it")

    refuse.__name__ = name
    return _answered(refuse)


class _OneModel:
    """What both services share: the one model and how a request names it."""

    def __init__(self, model_name: str, model_versions: versions.ModelVersions) -> None:
        self._model_name = model_name
        self._versions = model_versions

    def _check_name(self, spec: model_pb2.ModelSpec) -> None:
        if not spec.name:
            raise invalid(f"the request names no model; this server has {self._model_name!r}")
        if spec.name != self._model_name:
            sentence = f"there is no model {spec.name!r}; this server has {self._model_name!r}"
            raise Refusal(grpc.StatusCode.NOT_FOUND, sentence)
        if spec.HasField("version_label"):
            raise invalid(f"there is no version label {spec.version_label!r}; leave it out for the newest version")

    def _live(self, spec: model_pb2.ModelSpec) -> versions.ServedVersion:
        """The version that `spec` asks for, which must be the live one."""
        self._check_name(spec)
        live = self._versions.live
        if spec.HasField("version") and spec.version.value != live.number:
            sentence = f"version {spec.version.value} of {spec.name!r} is not served; version {live.number} is"
            raise Refusal(grpc.StatusCode.NOT_FOUND, sentence)
        return live


class _PredictionService(_OneModel, prediction_service_pb2_grpc.PredictionServiceServicer):
    @_answered
    def Predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        return self._live(request.model_spec).predict(request)

    @_answered
    def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        live = self._live(request.model_spec)
        if list(request.metadata_field) != ["signature_def"]:
            raise invalid(f"metadata_field is {list(request.metadata_field)} but must be ['signature_def']")
        response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=request.model_spec)
        response.model_spec.version.value = live.number
        response.metadata["signature_def"].Pack(live.signature_defs)
        return response

    Classify = _unimplemented("Classify")
    Regress = _unimplemented("Regress")
    MultiInference = _unimplemented("MultiInference")


class _ModelService(_OneModel, model_service_pb2_grpc.ModelServiceServicer):
    @_answered
    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        self._check_name(request.model_spec)
        statuses = self._versions.statuses()
        if request.model_spec.HasField("version"):
            wanted = request.model_spec.version.value
            statuses = [status for status in statuses if status.version == wanted]
            if not statuses:
                raise Refusal(grpc.StatusCode.NOT_FOUND, f"version {wanted} of {self._model_name!r} was never seen")
        return get_model_status_pb2.GetModelStatusResponse(model_version_status=statuses)

    HandleReloadConfigRequest = _unimplemented("HandleReloadConfigRequest")
