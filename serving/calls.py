"""The way of a Predict call, the same for gRPC and REST: its turn, its version, the run, and what is recorded of it."""

import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterator

import grpc
from tensorflow_serving.apis import predict_pb2

from serving import feedback
from serving.batching import Batcher
from serving.call_log import CallLog
from serving.feedback import REQUEST_ID_KEY, ImpressionLog
from serving.gate import Deadline, Gate
from serving.loaded import ServedVersion
from serving.metrics import Metrics
from serving.models import Models
from serving.signatures import Refusal

_LOG = logging.getLogger(__name__)
_UNKNOWN_MODEL = "(unknown)"  # a client must not make up label values


@dataclasses.dataclass(frozen=True)
class Caller:
    """Where a call came from.

    Attributes:
      entrypoint: "GRPC" or "REST", as TensorFlow Serving's metrics say.
      deadline: when its answer is of no use any more.
      request_id: what the client calls it, if it said so.
    """

    entrypoint: str
    deadline: Deadline
    request_id: str | None = None


class Calls:
    """Answers Predict calls.

    Args:
      models: what is served.
      gate: who may run.
      batcher: joins calls; None runs each alone.
      metrics: where calls are counted.
      log: where they are written.
      impressions: where the lists that are answered go; None keeps none.
    """

    def __init__(
        self,
        models: Models,
        gate: Gate,
        batcher: Batcher | None,
        metrics: Metrics,
        log: CallLog,
        impressions: ImpressionLog | None = None,
    ) -> None:
        self.models = models
        self._gate = gate
        self._batcher = batcher
        self._metrics = metrics
        self._log = log
        self._impressions = impressions

    def predict(
        self, request: predict_pb2.PredictRequest, caller: Caller, version: ServedVersion | None = None
    ) -> predict_pb2.PredictResponse:
        """Answers a Predict call; raises `Refusal`, also for what was not foreseen.

        Args:
          request: the call.
          caller: where it came from.
          version: what runs it, held by the caller; None takes what the request means when its turn comes.
        """
        start = time.perf_counter()
        status, answer = "OK", None
        try:
            with foreseen("Predict"):
                if version is None:
                    self.models.model(request.model_spec)  # what is unknown is refused without a turn
                with self._gate.turn(caller.deadline), self._held(version, request) as held:
                    answer = self._run(held, request, caller.deadline)
            self._keep(request, answer, caller)
            return answer
        except Refusal as refusal:
            status = refusal.status.name
            raise
        finally:
            self._record(request, answer, caller, status, time.perf_counter() - start)

    def _held(
        self, version: ServedVersion | None, request: predict_pb2.PredictRequest
    ) -> contextlib.AbstractContextManager[ServedVersion]:
        return self.models.lease(request.model_spec) if version is None else contextlib.nullcontext(version)

    def _run(
        self, version: ServedVersion, request: predict_pb2.PredictRequest, deadline: Deadline
    ) -> predict_pb2.PredictResponse:
        if self._batcher is None:
            return version.predict(request)
        call = version.read(request)
        return version.respond(request, call, self._batcher.run(version, call, deadline))

    def _keep(self, request: predict_pb2.PredictRequest, answer: predict_pb2.PredictResponse, caller: Caller) -> None:
        """Writes the lists of an answer; one that cannot be written is told and does not cost the user the list."""
        if self._impressions is None:
            return
        try:
            feedback.log_predict(self._impressions, request, answer, [(REQUEST_ID_KEY, caller.request_id or "")])
        except Exception:
            self._metrics.unlogged.inc()
            _LOG.exception("a list was answered and not logged")

    def _record(
        self,
        request: predict_pb2.PredictRequest,
        answer: predict_pb2.PredictResponse | None,
        caller: Caller,
        status: str,
        seconds: float,
    ) -> None:
        spec = request.model_spec
        name = spec.name if spec.name in self.models.names else _UNKNOWN_MODEL
        self._metrics.requests.labels(name, status).inc()
        if status == "OK":
            self._metrics.latency.labels(name, "Predict", caller.entrypoint).observe(seconds * 1e6)
        tensor = next(iter(request.inputs.values()), None)
        self._log.write(
            model=spec.name,
            version=answer.model_spec.version.value if answer else None,
            signature=spec.signature_name,
            batch=tensor.tensor_shape.dim[0].size if tensor is not None and tensor.tensor_shape.dim else None,
            entrypoint=caller.entrypoint,
            status=status,
            milliseconds=seconds * 1e3,
            request_id=caller.request_id,
        )


@contextlib.contextmanager
def foreseen(what: str) -> Iterator[None]:
    """Turns whatever is no `Refusal` into INTERNAL; its details stay in the server's log."""
    try:
        yield
    except Refusal:
        raise
    except Exception as error:
        _LOG.exception("%s failed", what)
        raise Refusal(grpc.StatusCode.INTERNAL, f"{what} failed; the server's log says why") from error
