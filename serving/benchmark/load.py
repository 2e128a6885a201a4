"""A load generator for any server with TensorFlow Serving's gRPC interface.

*Closed loop*: each of some callers sends its next request when the one before is answered; with one caller that is the
floor of latency. *Open loop*: requests arrive as users do, whether or not those before were answered; the gaps are
exponential (a Poisson process). A latency counts from the moment at which a request was due, so that a server that
stalls is charged for every request that was due meanwhile, and a late load generator is charged to the result too.
"""

import dataclasses
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from hrlrec_tf.benchmark.timing import percentiles
from serving import tensors
from serving.client_calls import HISTORY_LENGTH
from serving.messages import RankRequest
from serving.transport import MAX_MESSAGE_BYTES

DEADLINE_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class Samples:
    """What became of N calls, in the order in which they were due.

    Attributes:
      due, sent, done: [N] seconds of the system's monotonic clock.
      status: of each call; "OK" where it was answered.
    """

    due: npt.NDArray
    sent: npt.NDArray
    done: npt.NDArray
    status: list[str]

    @property
    def answered(self) -> npt.NDArray:
        """Which calls were answered: [N] bool."""
        return np.array([status == "OK" for status in self.status], bool)

    def between(self, start: float, end: float) -> "Samples":
        """The calls that were due in [start, end)."""
        chosen = (self.due >= start) & (self.due < end)
        return Samples(
            self.due[chosen],
            self.sent[chosen],
            self.done[chosen],
            [status for status, keep in zip(self.status, chosen, strict=True) if keep],
        )

    def summary(self) -> dict[str, Any]:
        """Percentiles of the answered calls' latency.

        Also: `rate` of answers per second from the first call that was due to the last that was answered; `errors` by
        status; `late_p99_ms`: how late the generator itself was.
        """
        answered = self.answered
        errors = Counter(status for status in self.status if status != "OK")
        span = self.done[answered].max() - self.due.min() if answered.any() else np.inf
        return {
            **percentiles((self.done - self.due)[answered]),
            "rate": float(answered.sum() / span),
            "errors": dict(errors),
            "late_p99_ms": percentiles(self.sent - self.due)["p99_ms"],
        }


class LoadGenerator:
    """Sends prepared requests in turn to one server; leave the context to end it.

    Args:
      address: "HOST:PORT" of the gRPC port.
      messages: what is sent, over and over.
      deadline_seconds: of each call.
    """

    def __init__(
        self, address: str, messages: Sequence[predict_pb2.PredictRequest], deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        self._messages, self._deadline = messages, deadline_seconds
        self._channel = _channel(address)
        self._predict = prediction_service_pb2_grpc.PredictionServiceStub(self._channel).Predict

    def __enter__(self) -> "LoadGenerator":
        return self

    def __exit__(self, *_: Any) -> None:
        self._channel.close()

    def closed_loop(self, callers: int = 1, *, calls: int | None = None, seconds: float | None = None) -> Samples:
        """Each caller sends `calls` requests, or as many as it can in `seconds`; one thread each."""
        records: list[tuple[float, float, float, str]] = []
        end = None if seconds is None else time.monotonic() + seconds

        def run(caller: int) -> None:
            number = 0
            while (calls is None or number < calls) and (end is None or time.monotonic() < end):
                message = self._messages[(caller + number * callers) % len(self._messages)]
                start = time.monotonic()
                try:
                    self._predict(message, timeout=self._deadline)
                    status = "OK"
                except grpc.RpcError as error:
                    status = error.code().name
                records.append((start, start, time.monotonic(), status))
                number += 1

        threads = [threading.Thread(target=run, args=(caller,), daemon=True) for caller in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        due, sent, done, status = zip(*sorted(records), strict=True) if records else ((), (), (), ())
        return Samples(np.array(due), np.array(sent), np.array(done), list(status))

    def open_loop(self, rate: float, seconds: float, seed: int = 0) -> Samples:
        """Requests due at random moments of a Poisson process with `rate` per second, for `seconds`.

        Returns when all are answered or past their deadline.
        """
        offsets = arrivals(rate, seconds, seed)
        sent, done, status = np.zeros(len(offsets)), np.zeros(len(offsets)), [""] * len(offsets)
        left = threading.Semaphore(0)

        def record(number: int) -> Callable[[grpc.Future], None]:
            def finish(call: grpc.Future) -> None:
                done[number], status[number] = time.monotonic(), call.code().name
                left.release()

            return finish

        due = time.monotonic() + offsets
        for number, moment in enumerate(due.tolist()):
            pause = moment - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            sent[number] = time.monotonic()
            call = self._predict.future(self._messages[number % len(self._messages)], timeout=self._deadline)
            call.add_done_callback(record(number))
        for _ in offsets:
            left.acquire()
        return Samples(due, sent, done, status)


def arrivals(rate: float, seconds: float, seed: int) -> npt.NDArray:
    """Moments of a Poisson process in [0, seconds), ascending: a Poisson number of uniform ones."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.uniform(0, seconds, rng.poisson(rate * seconds)))


def signature_inputs(address: str, model: str, signature: str) -> dict[str, Any] | None:
    """Name -> TensorInfo of a served signature's inputs; None where the model has no such signature.

    Raises:
      grpc.RpcError: the server does not answer, or has no such model.
    """
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = model
    with _channel(address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        answer = stub.GetModelMetadata(request, timeout=DEADLINE_SECONDS, wait_for_ready=True)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    answer.metadata["signature_def"].Unpack(signatures)
    if signature not in signatures.signature_def:
        return None
    return dict(signatures.signature_def[signature].inputs)


def message(
    requests: Sequence[RankRequest], model: str, signature: str, inputs: dict[str, Any]
) -> predict_pb2.PredictRequest:
    """One Predict call with a batch of requests."""
    predict = predict_pb2.PredictRequest()
    predict.model_spec.name, predict.model_spec.signature_name = model, signature
    for name, tensor in tensors.to_tensors(requests, inputs, history_length=HISTORY_LENGTH).items():
        predict.inputs[name].CopyFrom(tensor)
    return predict


def _channel(address: str) -> grpc.Channel:
    options = [(f"grpc.max_{way}_message_length", MAX_MESSAGE_BYTES) for way in ("send", "receive")]
    return grpc.insecure_channel(address, options=options)
