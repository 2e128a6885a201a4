"""What a ranking client says to a server, whatever carries its calls.

Each method is a generator of steps: it yields what is to be done (a call, a pause, a piece of blocking work), is sent
the result, or has the call's `grpc.RpcError` thrown in, and returns its answer. `RankingClient` does the steps,
`AsyncRankingClient` awaits them; all else is here.
"""

import functools
import logging
import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import grpc
import numpy.typing as npt

from hrlrec_tf.errors import HrlrecError
from hrlrec_tf.features import FeatureSpec
from serving import tensor_values, tensors, wire
from serving.batches import RANK, RANK_IDS, RECOMMEND, SCORE, Batch, Labels, Target, Versions, named
from serving.feedback import REQUEST_ID_KEY, ImpressionLog
from serving.messages import RankRequest, RankResponse, RequestError
from serving.transport import Retries

DEADLINE_SECONDS = 5.0
HISTORY_LENGTH = FeatureSpec().history_length
BATCH_SIZE = 32
IN_FLIGHT = 4
_MAX_ID_BYTES = 4096  # gRPC bounds what may travel beside a call

_LOG = logging.getLogger(__name__)
# What gRPC's own words for a connection that failed have in common; other sentences are the server's.
_NO_CONNECTION = re.compile(r"connect|socket|handshake|resol|GOAWAY|stream removed|recvmsg|peer", re.IGNORECASE)

Signatures: TypeAlias = Mapping[str, Mapping[str, tensors.Input]]
Outputs: TypeAlias = Mapping[str, npt.NDArray[Any]]
Result = TypeVar("Result")


class RankingError(HrlrecError):
    """A call failed; `status` is its gRPC status, `sentence` says why."""

    def __init__(self, status: grpc.StatusCode, sentence: str) -> None:
        super().__init__(f"{sentence} ({status.name})")
        self.status = status
        self.sentence = sentence


class Call(NamedTuple):
    """A gRPC call to be made."""

    method: str
    request: Any
    timeout: float
    metadata: tuple[tuple[str, str], ...] = ()


class Pause(NamedTuple):
    """Seconds to wait."""

    seconds: float


class Work(NamedTuple):
    """Something that may block, for instance on a disk."""

    run: Callable[[], None]


Steps: TypeAlias = Generator[Call | Pause | Work, Any, Result]


class RankingCalls:
    """See the module docstring; arguments are `RankingClient`'s."""

    def __init__(
        self,
        address: str,
        model_name: str,
        *,
        deadline_seconds: float,
        retries: Retries,
        version: int | None,
        version_label: Labels,
        history_length: int | None,
        impression_log: ImpressionLog | None,
    ) -> None:
        self._address, self._model_name = address, model_name
        self._deadline_seconds, self._retries = deadline_seconds, retries
        self.versions = Versions(version, version_label)
        self._history_length, self._impressions = history_length, impression_log
        self._signatures: dict[Target, Signatures] = {}
        self._told_of_cut = False

    def rank(self, batch: Batch, deadline_seconds: float | None) -> Steps[list[RankResponse]]:
        """The lists of one batch. A refusal names the request at fault: the batch is halved until it is alone."""
        try:
            version, outputs, numeric = yield from self._predict(batch, deadline_seconds)
        except RankingError as error:
            if error.status is not grpc.StatusCode.INVALID_ARGUMENT or len(batch.requests) == 1:
                raise
            middle = len(batch.requests) // 2
            first = yield from self.rank(batch[:middle], deadline_seconds)
            return first + (yield from self.rank(batch[middle:], deadline_seconds))
        responses = [
            tensor_values.to_response(outputs, place, version, request.request_id)
            for place, request in enumerate(batch.requests)
        ]
        log = self._impressions
        if log is not None:
            for request, response in zip(batch.requests, responses, strict=True):
                yield Work(functools.partial(log.served, request, response, numeric))
        return responses

    def score(self, request: RankRequest, target: Target, deadline_seconds: float | None) -> Steps[list[float]]:
        """Click probability of each candidate."""
        _, outputs, _ = yield from self._predict(Batch(SCORE, target, [0], [named(request)]), deadline_seconds)
        return outputs["click_probability"][0, : len(request.candidates)].tolist()

    def _predict(self, batch: Batch, deadline_seconds: float | None) -> Steps[tuple[int, Outputs, set[str]]]:
        """The version that answered, its outputs, and which optional columns it takes as numbers."""
        seconds = self._deadline_seconds if deadline_seconds is None else deadline_seconds
        until = time.monotonic() + seconds
        learnt = yield from self._learn(batch, seconds, until)
        try:
            return (yield from self._predict_with(learnt, batch, seconds, until))
        except (RequestError, RankingError) as error:
            if isinstance(error, RankingError) and error.status is not grpc.StatusCode.INVALID_ARGUMENT:
                raise
            # A new version may take other inputs than the one these were learnt from; otherwise the refusal stands.
            self._signatures.pop(batch.target, None)
            relearnt = yield from self._learn(batch, seconds, until)
            if relearnt[batch.signature] == learnt[batch.signature]:
                raise _with_number(error, batch) from error.__cause__
        return (yield from self._predict_with(relearnt, batch, seconds, until))

    def _predict_with(
        self, signatures: Signatures, batch: Batch, seconds: float, until: float
    ) -> Steps[tuple[int, Outputs, set[str]]]:
        request = wire.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = self._model_name, batch.signature
        batch.target.name_in(request.model_spec)
        self._tell_of_cut(batch.requests)
        inputs = signatures[batch.signature]
        # Where the catalogue brings what describes items, a request may still carry it, as a user's state does.
        known = signatures[RANK] if batch.signature in (RANK_IDS, RECOMMEND) else {}
        tensors.fill(
            request.inputs,
            batch.requests,
            inputs,
            history_length=self._history_length,
            numbers=batch.numbers,
            known=known,
        )
        response = yield from self._call(wire.PREDICT, request, seconds, until, _metadata(batch.requests))
        outputs = {name: tensor_values.to_array(proto) for name, proto in response.outputs.items()}
        return response.model_spec.version.value, outputs, tensors.numeric_columns({**known, **inputs})

    def _learn(self, batch: Batch, seconds: float, until: float) -> Steps[Signatures]:
        """The signatures of the batch's version, asked for once; the batch's own is among them."""
        known = self._signatures.get(batch.target)
        if known is None or batch.signature not in known:  # a version that has it may have come meanwhile
            request = wire.GetModelMetadataRequest(metadata_field=["signature_def"])
            request.model_spec.name = self._model_name
            batch.target.name_in(request.model_spec)
            answer = yield from self._call(wire.GET_MODEL_METADATA, request, seconds, until)
            found = wire.SignatureDefMap.FromString(answer.metadata["signature_def"].value)
            known = {name: tensors.inputs_of(signature.inputs) for name, signature in found.signature_def.items()}
            self._signatures[batch.target] = known
        if batch.signature not in known:
            raise RankingError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"the model {self._model_name!r} at {self._address} has no signature {batch.signature!r}; "
                + _remedy(batch.signature),
            )
        return known

    def _call(
        self, method: str, request: Any, seconds: float, until: float, metadata: tuple[tuple[str, str], ...] = ()
    ) -> Steps[Any]:
        """One call, made again while no server is there, until the deadline."""
        failures = 0
        while True:
            try:
                return (yield Call(method, request, max(until - time.monotonic(), 0.0), metadata))
            except grpc.RpcError as error:
                failures += 1
                pause = self._retries.pause(failures)
                may_retry = error.code() is grpc.StatusCode.UNAVAILABLE and failures < self._retries.attempts
                if not may_retry or time.monotonic() + pause >= until:
                    raise RankingError(error.code(), self._sentence(error, seconds)) from error
            yield Pause(pause)

    def _sentence(self, error: grpc.RpcError, seconds: float) -> str:
        details = " ".join((error.details() or "the server gave no reason").split())
        if error.code() is grpc.StatusCode.UNAVAILABLE and _NO_CONNECTION.search(details):
            return (
                f"no server answers at {self._address}; start one with `hrlrec serve` or correct the address and, "
                f"with TLS, the certificates ({details[:200]})"
            )
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"{self._address} gave no answer within {seconds:g} s; allow a longer deadline"
        return details

    def _tell_of_cut(self, requests: Sequence[RankRequest]) -> None:
        length = self._history_length
        if length is None or self._told_of_cut:
            return
        longest = max(len(request.history) for request in requests)
        if longest > length:
            self._told_of_cut = True
            _LOG.warning(
                "a history of %d rows was cut to the newest %d; if the model reads more (window: sliding), "
                "give the client its history_length",
                longest,
                length,
            )


def _with_number(error: RequestError | RankingError, batch: Batch) -> RequestError | RankingError:
    """A refusal that tells which of several requests it is about."""
    if isinstance(error, RequestError) or len(batch.requests) > 1 or batch.total == 1:
        return error
    return RankingError(error.status, f"request {batch.numbers[0]}: {error.sentence}")


def _metadata(requests: Sequence[RankRequest]) -> tuple[tuple[str, str], ...]:
    ids = ",".join(request.request_id for request in requests)
    return ((REQUEST_ID_KEY, ids),) if ids.isascii() and ids.isprintable() and len(ids) <= _MAX_ID_BYTES else ()


def _remedy(signature: str) -> str:
    if signature in (RANK_IDS, RECOMMEND):
        return "export it with `hrlrec export --catalogue`, or send candidates with their channels"
    return "serve one that `hrlrec export` wrote"
