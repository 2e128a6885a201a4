"""Ranking requests as the tensors of a signature, one padded rectangle per input.

A batch of B requests fills each rank-1 input with [B] and each rank-2 input with [B, rows]: candidates and profile as
many rows as the longest request has, padded on the right, history a fixed number, padded on the left, with "" or 0.
What the signature takes and the request lacks reads as "" or 0, item counts as their mean; optional columns that the
signature does not take are refused by name. Nothing here needs TensorFlow: a proto may be TensorFlow's own message or
one of `serving.wire`.
"""

import functools
import itertools
import math
import operator
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hrlrec_tf import features
from hrlrec_tf.features import CANDIDATE, HISTORY, Kind
from serving import messages
from serving.messages import Candidate, RankRequest, RequestError
from serving.wire import NUMPY_TYPES, DataType

_PYTHON_TYPES: dict[Kind, set[type]] = {Kind.STRING: {str}, Kind.INT: {int}, Kind.FLOAT: {float, int}}
_ITEM_FIELDS = frozenset(messages.ROW_KINDS) | {"tags"}


class Input(NamedTuple):
    """An input of a signature: TensorFlow's number of its dtype, its rank, and what that makes its values."""

    dtype: int
    rank: int
    kind: Kind


def inputs_of(infos: Mapping[str, Any]) -> dict[str, Input]:
    """The inputs that a signature def states (name -> TensorInfo), or that a call has (name -> tensor proto)."""
    return {
        name: Input(info.dtype, len(info.tensor_shape.dim), _kind(info.dtype)) for name, info in sorted(infos.items())
    }


def fill(
    protos: Any,
    requests: Sequence[RankRequest],
    inputs: Mapping[str, Input],
    *,
    history_length: int | None = None,
    numbers: Sequence[int] | None = None,
    known: Collection[str] = (),
) -> None:
    """Writes the inputs of one Predict call.

    Args:
      protos: the call's `inputs`, a map of tensor protos.
      requests: B requests, one or more.
      inputs: the signature's, by name.
      history_length: history rows of every request, the newest ones; None sends what the longest has.
      numbers: what errors call the requests; their places by default.
      known: further names of inputs that optional columns may have; such columns are left out.

    Raises:
      RequestError: a field is unknown to the signature or has the wrong type; the message names request and field.
    """
    numbers = range(len(requests)) if numbers is None else numbers
    _refuse_unknown(requests, numbers, inputs, known)
    parts = [_Parts(request, history_length) for request in requests]
    for name, (dtype, rank, kind) in inputs.items():
        shape = [len(parts)]
        if rank == 1:
            column = _column([part.cells(name, kind)[0] for part in parts], kind, name)
        else:
            column, width = _rectangle([part.cells(name, kind) for part in parts], name, kind, numbers, history_length)
            shape.append(width)
        proto = protos[name]
        proto.dtype = dtype
        for size in shape:
            proto.tensor_shape.dim.add(size=size)
        if kind is Kind.STRING:
            proto.string_val.extend(column)
        else:
            proto.tensor_content = _numbers(column, dtype, name).tobytes()


def to_tensors(requests: Sequence[RankRequest], inputs: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """The inputs of one Predict call as TensorFlow's own tensor protos, by name.

    Args:
      requests, options: as `fill`'s; errors are as well.
      inputs: the signature's, as its signature def states them: name -> TensorInfo.
    """
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    fill(request.inputs, requests, inputs_of(inputs), **options)
    return dict(request.inputs)


def numeric_columns(inputs: Mapping[str, Input]) -> set[str]:
    """The optional columns that a signature takes as measured quantities; it takes others as names."""
    numeric = {name.removeprefix(CANDIDATE) for name, taken in inputs.items() if taken.kind is Kind.FLOAT}
    return set(features.optional_columns(numeric))


class _Parts:
    """The cells of one request, input by input."""

    def __init__(self, request: RankRequest, history_length: int | None) -> None:
        self._request = request
        self._candidates = request.candidates
        self._history = request.history if history_length is None else request.history[-history_length:]
        self._levels = {"channel": _most_seen(request.profile.channels), "tag": _most_seen(request.profile.tags)}

    def cells(self, name: str, kind: Kind) -> list[Any]:
        """Values of one input: one, or one per row."""
        if name in features.PROFILE:
            level, _, count = name.removeprefix("profile_").partition("_")
            return [getattr(counts, count) if count else key for key, counts in self._levels[level]]
        if name.startswith(HISTORY):
            return _row_cells(self._history, name.removeprefix(HISTORY), kind)
        if name.startswith(CANDIDATE):
            return _row_cells(self._candidates, name.removeprefix(CANDIDATE), kind)
        if name in messages.REQUEST_KINDS:
            return [getattr(self._request, name)]
        return _feature_cells([self._request], name, kind)


def _most_seen(counts: Mapping[str, messages.Counts]) -> list[tuple[str, messages.Counts]]:
    """Most impressions first, then by name: the sessions' own order."""
    return sorted(counts.items(), key=lambda entry: (-entry[1].impressions, entry[0]))


def _row_cells(rows: Sequence[Candidate], name: str, kind: Kind) -> list[Any]:
    if name == "tags":
        return [_joined(tuple(row.tags)) for row in rows]
    if name in _ITEM_FIELDS:
        return list(map(operator.attrgetter(name), rows))
    return _feature_cells(rows, name, kind)


def _feature_cells(owners: Sequence[Candidate | RankRequest], name: str, kind: Kind) -> list[Any]:
    absent = math.nan if name in features.ITEM_COUNTS else kind.absent
    cells = [owner.features.get(name, absent) for owner in owners]
    if kind is Kind.STRING and int in set(map(type, cells)):
        # Integer columns of a log are categorical: sessions hold them as strings.
        return [str(cell) if type(cell) is int else cell for cell in cells]
    return cells


@functools.lru_cache(maxsize=1 << 16)
def _joined(tags: tuple[str, ...]) -> str:
    """Tags of one row as the sessions have them: each once, none empty. Items come again, call after call."""
    for tag in tags:
        if not isinstance(tag, str) or features.TAG_SEPARATOR in tag:
            raise RequestError(f"tag {tag!r} must be a string without {features.TAG_SEPARATOR!r}, which joins tags")
    return features.TAG_SEPARATOR.join(dict.fromkeys(tag for tag in tags if tag))


def _rectangle(
    rows: Sequence[list[Any]], name: str, kind: Kind, numbers: Sequence[int], history_length: int | None
) -> tuple[list[Any], int]:
    """Cells of all requests, padded to one width, and the width."""
    is_history = name.startswith(HISTORY)
    # At least 1: TensorFlow Serving refuses a batch in which an empty tensor meets others.
    width = history_length if is_history and history_length is not None else max(1, *map(len, rows))
    absent: Any = b"" if kind is Kind.STRING else kind.absent
    padded: list[list[Any]] = []
    for number, cells in zip(numbers, rows, strict=True):
        column, padding = _column(cells, kind, f"request {number}, {name}"), [absent] * (width - len(cells))
        padded += [padding, column] if is_history else [column, padding]
    return list(itertools.chain.from_iterable(padded)), width


def _column(cells: list[Any], kind: Kind, where: str) -> list[Any]:
    """The cells, each of `kind`, strings as UTF-8; one look at their types keeps the common case fast."""
    if not set(map(type, cells)) <= _PYTHON_TYPES[kind]:
        cells = [messages.typed(cell, kind, f"{where}[{i}]") for i, cell in enumerate(cells)]
    if kind is not Kind.STRING:
        return cells
    try:
        return list(map(str.encode, cells))
    except UnicodeEncodeError as error:
        raise RequestError(f"{where} holds {error.object!r}, which is no valid Unicode text") from error


def _numbers(column: list[Any], dtype: int, name: str) -> npt.NDArray[Any]:
    try:
        return np.array(column, NUMPY_TYPES[dtype])
    except OverflowError as error:
        raise RequestError(f"{name} holds a number beyond {np.dtype(NUMPY_TYPES[dtype]).name}; correct it") from error


def _kind(dtype: int) -> Kind:
    if dtype == DataType.STRING:
        return Kind.STRING
    return Kind.INT if dtype in (DataType.INT32, DataType.INT64) else Kind.FLOAT


def _refuse_unknown(
    requests: Sequence[RankRequest], numbers: Sequence[int], inputs: Collection[str], known: Collection[str]
) -> None:
    for number, request in zip(numbers, requests, strict=True):
        for where, prefix, owners in _owners(request):
            given = set().union(*map(operator.attrgetter("features"), owners))
            for name in sorted(given):
                if prefix + name not in inputs and prefix + name not in known:
                    taken = [name.removeprefix(prefix) for name in {*inputs, *known} if name.startswith(prefix)]
                    where = f"request {number}, {where}"
                    raise messages.unknown_field(name, where, features.optional_columns(taken))


def _owners(request: RankRequest) -> Iterator[tuple[str, str, Sequence[Candidate | RankRequest]]]:
    yield "request", "", [request]
    yield "candidates", CANDIDATE, request.candidates
    yield "history", HISTORY, request.history
