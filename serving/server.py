"""An embedded server with TensorFlow Serving's interfaces, for development, tests and small installations.

    with EmbeddedServer(model_base, port=0) as server:
        client = RankingClient(server.address)

It answers PredictionService (Predict, GetModelMetadata) and ModelService over gRPC, and on request TensorFlow Serving's
REST paths, from SavedModels executed by TensorFlow's own runtime, with TensorFlow Serving's configuration files and
status codes. Classify, Regress and MultiInference are refused with UNIMPLEMENTED.
"""

import contextlib
import gc
import importlib
import os
import pathlib
import types
from concurrent import futures

import grpc
from google.protobuf import descriptor_pool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from hrlrec_tf.errors import ConfigError
from serving import batch_parameters, metrics, model_config, tls
from serving.batch_parameters import BatchParameters
from serving.batching import Batcher
from serving.call_log import CallLog
from serving.calls import Calls
from serving.config_file import ConfigFile
from serving.feedback import ImpressionLog
from serving.gate import Gate
from serving.model_config import ModelConfig
from serving.models import Models
from serving.rest import RestServer
from serving.services import ModelService, PredictionService

MODEL_NAME = "hrlrec"
HOST = "127.0.0.1"
PORT = 8500
POLL_SECONDS = 1.0
THREADS = 16
MAX_QUEUED = 64
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
REST_TIMEOUT_SECONDS = 30.0
GRACE_SECONDS = 5.0

_SPARE_THREADS = 8  # for calls that do not run a model: health, status, refusals
_MAX_BATCH_THREADS = 256
_SERVICES = ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")
_SERVICE_FILES = ("tensorflow_serving.apis.prediction_service_pb2", "tensorflow_serving.apis.model_service_pb2")
# As tensorflow_model_server names them; the full names are gRPC's own custom.
_HEALTH = ("", "PredictionService", "ModelService", *_SERVICES)


def _describe_services() -> None:
    """Brings the services' descriptions into protobuf's pool, where reflection finds them.

    Modules of tensorflow-serving-api (2.19 as well) bring theirs first and then set an attribute that protobuf 4 and
    newer refuse; nothing but the pool is used of them.
    """
    for name in _SERVICE_FILES:
        with contextlib.suppress(AttributeError):
            importlib.import_module(name)
    for name in _SERVICES:
        descriptor_pool.Default().FindServiceByName(name)


class EmbeddedServer:
    """Serves SavedModels until `stop`; usable as a context manager.

    Args:
      model_base: the folder of version folders of the one model; None where `model_config_file` names the models.
      port: the gRPC port; 0 takes a free one.
      host: the interface to listen on; "0.0.0.0" opens the server to the network.
      model_name: the name that requests must state, of the one model.
      poll_seconds: pause between two looks for new versions; 0 looks only at the start.
      threads: calls answered at a time; where calls are batched at least as many as all batches hold.
      max_queued: calls that may wait for their turn; further ones are refused with RESOURCE_EXHAUSTED.
      max_message_bytes: larger requests and answers are refused with RESOURCE_EXHAUSTED, over REST with 413.
      rest_port: the REST port; 0 takes a free one, None opens none.
      rest_timeout_seconds: how long a REST call may wait for its turn.
      model_config_file: TensorFlow Serving's model config: several models, version policies, labels.
      model_config_poll_seconds: pause between two looks at that file; 0 reads it only once.
      allow_labels_for_unavailable: lets a new label name a version that is not live yet.
      enable_batching: joins calls into batches.
      batching_parameters_file: TensorFlow Serving's batching parameters; it enables batching, too.
      monitoring_config_file: TensorFlow Serving's monitoring config: Prometheus metrics on the REST port.
      ssl_config_file: TensorFlow Serving's TLS config, for both ports.
      log_calls: share of calls that are logged, one JSON line each, on the logger `serving.call_log`.
      impression_log: where answered lists go, with their propensities (see `feedback`); its owner closes it.

    Raises:
      ConfigError: options contradict each other, or a file cannot be read or is wrong.
    """

    def __init__(
        self,
        model_base: str | os.PathLike[str] | None = None,
        port: int = PORT,
        *,
        host: str = HOST,
        model_name: str = MODEL_NAME,
        poll_seconds: float = POLL_SECONDS,
        threads: int = THREADS,
        max_queued: int = MAX_QUEUED,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        rest_port: int | None = None,
        rest_timeout_seconds: float = REST_TIMEOUT_SECONDS,
        model_config_file: str | os.PathLike[str] | None = None,
        model_config_poll_seconds: float = 0.0,
        allow_labels_for_unavailable: bool = False,
        enable_batching: bool = False,
        batching_parameters_file: str | os.PathLike[str] | None = None,
        monitoring_config_file: str | os.PathLike[str] | None = None,
        ssl_config_file: str | os.PathLike[str] | None = None,
        log_calls: float = 0.0,
        impression_log: ImpressionLog | None = None,
    ) -> None:
        if (model_base is None) == (model_config_file is None):
            raise ConfigError("give either the model's base folder or a model config file, one of the two")
        self._host = host
        self._port = port
        self.metrics = metrics.Metrics()
        metrics_path = None if monitoring_config_file is None else metrics.read_path(monitoring_config_file)
        if metrics_path is not None and rest_port is None:
            raise ConfigError(f"{monitoring_config_file}: metrics are served on the REST port; give one")
        self._tls = None if ssl_config_file is None else tls.read(ssl_config_file)
        if model_config_file is None:
            configs = [ModelConfig(model_name, pathlib.Path(os.fspath(model_base or "")))]
        else:
            configs = model_config.read(model_config_file)
        self._models = Models(configs, poll_seconds, self.metrics, allow_unavailable=allow_labels_for_unavailable)
        self._config_file = (
            None
            if model_config_file is None
            else ConfigFile(model_config_file, configs, self._models, model_config_poll_seconds)
        )
        parameters = None
        if batching_parameters_file is not None:
            parameters = batch_parameters.read(batching_parameters_file)
        elif enable_batching:
            parameters = BatchParameters()
        if parameters is not None:
            in_batches = (parameters.max_enqueued_batches + parameters.num_batch_threads) * parameters.max_batch_size
            threads = max(threads, min(in_batches, _MAX_BATCH_THREADS))
        self._batcher = None if parameters is None else Batcher(parameters, self.metrics)
        gate = Gate(threads, max_queued, self.metrics)
        calls = Calls(self._models, gate, self._batcher, self.metrics, CallLog(log_calls), impression_log)
        self._health = health.HealthServicer()
        self._server = self._grpc_server(calls, threads + max_queued + _SPARE_THREADS, max_message_bytes)
        self._rest = None
        if rest_port is not None:
            self._rest = RestServer(
                calls,
                host,
                rest_port,
                max_bytes=max_message_bytes,
                timeout_seconds=rest_timeout_seconds,
                metrics_path=metrics_path,
                metrics=self.metrics,
                tls=self._tls,
            )

    @property
    def address(self) -> str:
        """The gRPC address, "HOST:PORT", once started."""
        return f"{self._host}:{self._port}"

    @property
    def rest_address(self) -> str:
        """The REST address, "HOST:PORT", once started."""
        if self._rest is None:
            raise ConfigError("the server has no REST port; give it one")
        return f"{self._host}:{self._rest.port}"

    @property
    def model_names(self) -> list[str]:
        """The models that are served, in the config's order."""
        return self._models.names

    @property
    def version(self) -> int:
        """The newest version of the first model that answers now."""
        return self.versions(self.model_names[0])[-1]

    def versions(self, model_name: str) -> list[int]:
        """The versions of a model that answer now, oldest first."""
        return self._models.numbers(model_name)

    def start(self) -> "EmbeddedServer":
        """Loads the models, then opens the ports.

        Raises:
          ModelError: a model has no version that can be served.
          ConfigError: a label names a version that is not live, or a port cannot be opened.
        """
        if not gc.get_freeze_count():
            # What is there before any model stays: a collection after a swap then looks at little and is short.
            gc.collect()
            gc.freeze()
        self._models.start()
        try:
            self._port = self._bound()
            if self._rest is not None:
                self._rest.bind()
        except ConfigError:
            self._server.stop(None)
            self._models.stop()
            raise
        if self._batcher is not None:
            self._batcher.start()
        self._server.start()
        if self._rest is not None:
            self._rest.start()
        if self._config_file is not None:
            self._config_file.start()
        for name in _HEALTH:
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return self

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Says NOT_SERVING, takes no new calls, lets those in progress end within `grace_seconds`, closes the ports."""
        self._health.enter_graceful_shutdown()
        stopped = self._server.stop(grace_seconds)
        if self._rest is not None:
            self._rest.stop(grace_seconds)
        stopped.wait()
        if self._config_file is not None:
            self._config_file.stop()
        self._models.stop()
        if self._batcher is not None:
            self._batcher.stop()

    def __enter__(self) -> "EmbeddedServer":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.stop()

    def _grpc_server(self, calls: Calls, threads: int, max_message_bytes: int) -> grpc.Server:
        options = [(f"grpc.max_{way}_message_length", max_message_bytes) for way in ("send", "receive")]
        # Without this a second server could share the port and take half of the calls.
        options.append(("grpc.so_reuseport", 0))
        server = grpc.server(futures.ThreadPoolExecutor(threads, thread_name_prefix="serve"), options=options)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(calls), server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(calls.models), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        _describe_services()
        reflection.enable_server_reflection((*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        return server

    def _bound(self) -> int:
        try:
            if self._tls is None:
                bound = self._server.add_insecure_port(self.address)
            else:
                bound = self._server.add_secure_port(self.address, self._tls.grpc_credentials())
        except RuntimeError:
            bound = 0
        if not bound:
            raise ConfigError(f"cannot listen on {self.address}; it may be in use: choose another host or port")
        return bound
