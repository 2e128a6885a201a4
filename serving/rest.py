"""TensorFlow Serving's REST paths. A call becomes a PredictRequest and takes the same way as one over gRPC.

    POST /v1/models/NAME[/versions/N | /labels/LABEL]:predict
    GET  /v1/models/NAME[/versions/N | /labels/LABEL]
    GET  /v1/models/NAME[/versions/N | /labels/LABEL]/metadata
    GET  the metrics' path, where a monitoring config enables it

An error is `{"error": "..."}` with the HTTP status that TensorFlow Serving gives its code.
"""

import http
import inspect
import json
import re
import urllib.parse
from typing import Any

import grpc
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2, predict_pb2
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus

from serving import json_tensors
from serving.calls import Caller, Calls, foreseen
from serving.feedback import REQUEST_ID_KEY
from serving.gate import Deadline
from serving.http_server import Answer, HttpServer, Request
from serving.metrics import CONTENT_TYPE, Metrics
from serving.services import metadata, unimplemented
from serving.signatures import Refusal, invalid
from serving.tls import Tls

_MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_CALL = re.compile(rf"{_MODEL}:(?P<method>classify|regress|predict)", re.IGNORECASE)
_SEEN = re.compile(rf"{_MODEL}(?P<metadata>/metadata)?", re.IGNORECASE)
_HTTP = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": http.HTTPStatus.BAD_REQUEST,
    "DEADLINE_EXCEEDED": http.HTTPStatus.GATEWAY_TIMEOUT,
    "NOT_FOUND": http.HTTPStatus.NOT_FOUND,
    "ALREADY_EXISTS": http.HTTPStatus.CONFLICT,
    "PERMISSION_DENIED": http.HTTPStatus.FORBIDDEN,
    "RESOURCE_EXHAUSTED": http.HTTPStatus.TOO_MANY_REQUESTS,
    "FAILED_PRECONDITION": http.HTTPStatus.BAD_REQUEST,
    "ABORTED": http.HTTPStatus.CONFLICT,
    "OUT_OF_RANGE": http.HTTPStatus.BAD_REQUEST,
    "UNIMPLEMENTED": http.HTTPStatus.NOT_IMPLEMENTED,
    "UNAVAILABLE": http.HTTPStatus.SERVICE_UNAVAILABLE,
    "UNAUTHENTICATED": http.HTTPStatus.UNAUTHORIZED,
}
_CODES = {status.value[0]: status.name for status in grpc.StatusCode}
# protobuf renamed the option that prints fields which hold their default.
_WITH_DEFAULTS = (
    {"always_print_fields_with_no_presence": True}
    if "always_print_fields_with_no_presence" in inspect.signature(json_format.MessageToDict).parameters
    else {"including_default_value_fields": True}
)


class RestServer(HttpServer):
    """Answers REST calls on a port of its own.

    Args:
      calls: answers Predict.
      host: the interface to listen on.
      port: 0 takes a free one.
      max_bytes: larger bodies are refused with 413.
      timeout_seconds: how long a call may wait for its turn.
      metrics_path: where metrics are shown; None shows none.
      metrics: what is shown there.
      tls: the server's identity; None speaks plain HTTP.
    """

    def __init__(
        self,
        calls: Calls,
        host: str,
        port: int,
        *,
        max_bytes: int,
        timeout_seconds: float,
        metrics_path: str | None,
        metrics: Metrics,
        tls: Tls | None,
    ) -> None:
        super().__init__(host, port, max_bytes=max_bytes, tls=tls)
        self._calls = calls
        self._timeout_seconds = timeout_seconds
        self._metrics_path = metrics_path
        self._metrics = metrics

    def answer(self, request: Request) -> Answer:
        """Answers one HTTP request."""
        if request.method == "GET" and request.path == self._metrics_path:
            return Answer(http.HTTPStatus.OK, self._metrics.page(), CONTENT_TYPE)
        if not request.path.lower().startswith("/v1/"):
            return Answer.error(
                http.HTTPStatus.NOT_FOUND, f"there is nothing at {request.path}; models are at /v1/models/"
            )
        try:
            with foreseen(f"{request.method} {request.path}"):
                return Answer(http.HTTPStatus.OK, _encoded(self._content(request)))
        except Refusal as refusal:
            status = _HTTP.get(refusal.status.name, http.HTTPStatus.INTERNAL_SERVER_ERROR)
            return Answer.error(status, refusal.sentence)

    def _content(self, request: Request) -> dict[str, Any]:
        if request.method == "POST" and (call := _CALL.fullmatch(request.path)):
            method = call["method"].lower()
            if method != "predict":
                raise unimplemented(method.capitalize())
            return self._predict(_spec(call), request)
        if request.method == "GET" and (seen := _SEEN.fullmatch(request.path)):
            return self._metadata(_spec(seen)) if seen["metadata"] else self._status(_spec(seen))
        raise invalid(f"malformed request: {request.method} {request.path}; the README lists the paths")

    def _predict(self, spec: model_pb2.ModelSpec, request: Request) -> dict[str, Any]:
        call = predict_pb2.PredictRequest(model_spec=spec)
        with self._calls.models.lease(spec) as version:  # to the end: the inputs are read as this version takes them
            to_json = json_tensors.fill(call, request.body, version.signature_inputs)
            caller = Caller("REST", Deadline(self._timeout_seconds), request.headers.get(REQUEST_ID_KEY))
            return to_json(self._calls.predict(call, caller, version))

    def _status(self, spec: model_pb2.ModelSpec) -> dict[str, Any]:
        return {"model_version_status": [_status(status) for status in self._calls.models.statuses(spec)]}

    def _metadata(self, spec: model_pb2.ModelSpec) -> dict[str, Any]:
        request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
        answer = metadata(self._calls.models, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        return {"model_spec": _plain(answer.model_spec), "metadata": {"signature_def": _plain(signatures)}}


def _spec(found: "re.Match[str]") -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=urllib.parse.unquote(found["name"]))
    if found["version"] is not None:
        if int(found["version"]) >= 2**63:
            raise invalid(f"the version {found['version']:.30} is no 64-bit integer; correct it")
        spec.version.value = int(found["version"])
    if found["label"] is not None:
        spec.version_label = urllib.parse.unquote(found["label"])
    return spec


def _status(status: ModelVersionStatus) -> dict[str, Any]:
    code = _CODES.get(status.status.error_code, "UNKNOWN")
    return {
        "version": str(status.version),
        "state": ModelVersionStatus.State.Name(status.state),
        "status": {"error_code": code, "error_message": status.status.error_message},
    }


def _plain(message: Any) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True, **_WITH_DEFAULTS)


def _encoded(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode()
