"""A typed ranking client for the embedded server and TensorFlow Serving alike.

    with RankingClient("localhost:8500") as client:
        response = client.rank(RankRequest.from_json("request.json"))

The client learns from the server which inputs the model takes, so it fits every log's optional columns. It needs gRPC
and NumPy, no TensorFlow. `AsyncRankingClient` is the same for asyncio.
"""

import time
import types
from collections.abc import Sequence
from concurrent import futures
from typing import Any

import grpc

from serving import client_calls, wire
from serving.batches import RECOMMEND, Batch, Labels, in_order
from serving.client_calls import Call, Pause, RankingCalls, RankingError, Result, Steps
from serving.feedback import ImpressionLog
from serving.messages import RankRequest, RankResponse
from serving.transport import Retries, TlsCredentials, channel_options

__all__ = ["RankingClient", "RankingError", "Retries", "TlsCredentials"]

_RESPONSES = {wire.PREDICT: wire.PredictResponse, wire.GET_MODEL_METADATA: wire.GetModelMetadataResponse}


class Client:
    """What both clients are made of.

    Args:
      address: "HOST:PORT" of the server's gRPC port.
      model_name: the name the server knows the model by.
      deadline_seconds: how long a call may take, further attempts and what the client must learn included; each method
        can state its own, and `rank_many` grants it to each of its calls.
      retries: when a call that found no server (UNAVAILABLE) is made again; nothing else ever is.
      tls: transport security; without it the connection is plain text.
      version, version_label: which version answers: a number, a label, or what gives a user's label (for instance
        `functools.partial(canary.label_of, canary_share=0.05)`); by default the newest. Each method can state its own.
      history_length: history rows that every call carries: shorter histories are padded on the left, longer ones cut to
        the newest. Calls of one width can be batched by a server, which knows nothing of left padding: give what
        `prepare` gave the model (H; 41 with its default settings). None sends histories as they are.
      impression_log: where ranked lists are written to.
    """

    _transport: Any = grpc  # or grpc.aio

    def __init__(
        self,
        address: str,
        model_name: str = "hrlrec",
        *,
        deadline_seconds: float = client_calls.DEADLINE_SECONDS,
        retries: Retries | None = None,
        tls: TlsCredentials | None = None,
        version: int | None = None,
        version_label: Labels = None,
        history_length: int | None = client_calls.HISTORY_LENGTH,
        impression_log: ImpressionLog | None = None,
    ) -> None:
        self._calls = RankingCalls(
            address,
            model_name,
            deadline_seconds=deadline_seconds,
            retries=retries or Retries(),
            version=version,
            version_label=version_label,
            history_length=history_length,
            impression_log=impression_log,
        )
        if tls is None:
            self._channel = self._transport.insecure_channel(address, channel_options(tls))
        else:
            self._channel = self._transport.secure_channel(address, tls.channel_credentials(), channel_options(tls))
        self._methods = {
            path: self._channel.unary_unary(
                path, request_serializer=_serialized, response_deserializer=response.FromString
            )
            for path, response in _RESPONSES.items()
        }


class RankingClient(Client):
    """Ranks and scores candidates through one gRPC connection, which threads may share; make one and keep it.

    Arguments are `Client`'s.
    """

    def __enter__(self) -> "RankingClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def rank(
        self,
        request: RankRequest,
        *,
        deadline_seconds: float | None = None,
        version: int | None = None,
        version_label: Labels = None,
    ) -> RankResponse:
        """The ranked list of one request; candidates sent by id alone take the rest from the model's item catalogue.

        Raises:
          RequestError: a field is unknown to the model or has the wrong type.
          RankingError: the server refused the request or did not answer in time.
          FeedbackError: the list could not be logged.
        """
        (batch,) = self._calls.versions.batches([request], 1, version, version_label)
        return self._do(self._calls.rank(batch, deadline_seconds))[0]

    def rank_many(
        self,
        requests: Sequence[RankRequest],
        *,
        batch_size: int = client_calls.BATCH_SIZE,
        in_flight: int = client_calls.IN_FLIGHT,
        deadline_seconds: float | None = None,
        version: int | None = None,
        version_label: Labels = None,
    ) -> list[RankResponse]:
        """The ranked lists of several requests, in their order; raises as `rank` does, naming the request at fault.

        Args:
          requests: any number.
          batch_size: requests per call.
          in_flight: calls at a time.
          deadline_seconds, version, version_label: of each call.
        """
        batches = self._calls.versions.batches(requests, batch_size, version, version_label)

        def rank(batch: Batch) -> list[RankResponse]:
            return self._do(self._calls.rank(batch, deadline_seconds))

        if len(batches) <= 1 or in_flight <= 1:
            return in_order(batches, [rank(batch) for batch in batches])
        with futures.ThreadPoolExecutor(min(in_flight, len(batches)), thread_name_prefix="rank") as pool:
            ranking = [pool.submit(rank, batch) for batch in batches]
            try:
                return in_order(batches, [answer.result() for answer in ranking])
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def recommend(
        self,
        request: RankRequest,
        *,
        deadline_seconds: float | None = None,
        version: int | None = None,
        version_label: Labels = None,
    ) -> RankResponse:
        """The list of a request without candidates: the model retrieves them from its catalogue. Raises as `rank`."""
        (batch,) = self._calls.versions.batches([request], 1, version, version_label, RECOMMEND)
        return self._do(self._calls.rank(batch, deadline_seconds))[0]

    def score(
        self,
        request: RankRequest,
        *,
        deadline_seconds: float | None = None,
        version: int | None = None,
        version_label: Labels = None,
    ) -> list[float]:
        """Click probability of each candidate, in the request's order, as if placed first; raises as `rank` does."""
        target = self._calls.versions.target_of(request.user_id, version, version_label)
        return self._do(self._calls.score(request, target, deadline_seconds))

    def _do(self, steps: Steps[Result]) -> Result:
        """Does the steps, one after the other, and returns the answer."""
        try:
            step = next(steps)
            while True:
                try:
                    result = self._do_one(step)
                except grpc.RpcError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as done:
            return done.value

    def _do_one(self, step: Call | Pause | client_calls.Work) -> Any:
        if isinstance(step, Call):
            return self._methods[step.method](step.request, timeout=step.timeout, metadata=step.metadata)
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        return step.run()


def _serialized(message: Any) -> bytes:
    return message.SerializeToString()
