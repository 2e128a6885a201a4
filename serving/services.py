"""TensorFlow Serving's gRPC services: PredictionService and ModelService."""

import functools
from collections.abc import Callable
from typing import Any

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from hrlrec_tf.errors import ConfigError, ModelError
from serving import model_config
from serving.calls import Caller, Calls, foreseen
from serving.feedback import REQUEST_ID_KEY
from serving.gate import Deadline
from serving.models import Models
from serving.signatures import Refusal, invalid

_MAX_SENTENCE = 1000  # gRPC carries it in a header of limited size


def metadata(models: Models, request: get_model_metadata_pb2.GetModelMetadataRequest) -> Any:
    """Answers GetModelMetadata; raises `Refusal`."""
    with models.lease(request.model_spec) as version:
        if list(request.metadata_field) != ["signature_def"]:
            raise invalid(f"metadata_field is {list(request.metadata_field)} but must be ['signature_def']")
        response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=request.model_spec)
        response.model_spec.version.value = version.number
        response.metadata["signature_def"].Pack(version.signature_defs)
        return response


def _answered(handler: Callable[..., Any]) -> Callable[[Any, Any, grpc.ServicerContext], Any]:
    """The handler as gRPC calls it: a refusal becomes its status."""

    @functools.wraps(handler)
    def answer(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            with foreseen(handler.__name__):
                return handler(self, request, context)
        except Refusal as refusal:
            context.abort(refusal.status, refusal.sentence[:_MAX_SENTENCE])

    return answer


def _unimplemented(name: str) -> Callable[[Any, Any, grpc.ServicerContext], Any]:
    def refuse(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        raise unimplemented(name)

    refuse.__name__ = name
    return _answered(refuse)


def unimplemented(name: str) -> Refusal:
    """The refusal of a method that only TensorFlow Serving has."""
    return Refusal(grpc.StatusCode.UNIMPLEMENTED, f"there is no {name} here; tensorflow_model_server has it")


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata; Classify, Regress and MultiInference are refused."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    @_answered
    def Predict(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        sent = dict(context.invocation_metadata())
        caller = Caller("GRPC", Deadline(context.time_remaining()), sent.get(REQUEST_ID_KEY))
        return self._calls.predict(request, caller)

    @_answered
    def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        return metadata(self._calls.models, request)

    Classify = _unimplemented("Classify")
    Regress = _unimplemented("Regress")
    MultiInference = _unimplemented("MultiInference")


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus and HandleReloadConfigRequest."""

    def __init__(self, models: Models) -> None:
        self._models = models

    @_answered
    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        statuses = self._models.statuses(request.model_spec)
        return get_model_status_pb2.GetModelStatusResponse(model_version_status=statuses)

    @_answered
    def HandleReloadConfigRequest(
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.ServicerContext
    ) -> model_management_pb2.ReloadConfigResponse:
        try:
            configs = model_config.from_proto(request.config)
        except ConfigError as error:
            raise invalid(str(error)) from error
        try:
            self._models.reload(configs)
        except (ConfigError, ModelError) as error:
            raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, str(error)) from error
        return model_management_pb2.ReloadConfigResponse()
