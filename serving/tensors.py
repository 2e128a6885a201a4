"""Ranking requests as the tensors of a signature: one padded rectangle per input.

A batch of B requests fills each rank-1 input with [B] and each rank-2 input with [B, rows], as many rows as the longest
request has: history padded on the left, candidates and profile on the right, with "" or 0. What the signature takes and
the request lacks reads as "" or 0, item counts as their mean; optional columns that the signature does not take are
refused by name.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from hrlrec_tf import features
from hrlrec_tf.features import CANDIDATE, HISTORY, Kind
from serving import messages
from serving.messages import RankRequest, RequestError, Value

_PYTHON_TYPES: dict[Kind, set[type]] = {Kind.STRING: {str}, Kind.INT: {int}, Kind.FLOAT: {float, int}}


def to_tensors(
    requests: Sequence[RankRequest], inputs: Mapping[str, meta_graph_pb2.TensorInfo]
) -> dict[str, tensor_pb2.TensorProto]:
    """The inputs of one Predict call, by name.

    Args:
      requests: B requests, one or more.
      inputs: the signature's inputs, as its signature def states them.

    Raises:
      RequestError: a field is unknown to the signature or has the wrong type; the message names request and field.
    """
    _refuse_unknown(requests, inputs)
    return {name: _tensor(requests, name, info) for name, info in inputs.items()}


def _tensor(requests: Sequence[RankRequest], name: str, info: meta_graph_pb2.TensorInfo) -> tensor_pb2.TensorProto:
    dtype = tf.dtypes.as_dtype(info.dtype)
    kind = Kind.STRING if dtype == tf.string else Kind.INT if dtype.is_integer else Kind.FLOAT
    cells = [_cells(request, name, kind) for request in requests]
    if len(info.tensor_shape.dim) == 1:
        array = np.array(_column([cell for row in cells for cell in row], kind, name), dtype=dtype.as_numpy_dtype)
    else:
        array = np.full([len(cells), max(map(len, cells))], _absent(kind), dtype=dtype.as_numpy_dtype)
        for request, row in enumerate(cells):
            if row:
                start = array.shape[1] - len(row) if name.startswith(HISTORY) else 0
                array[request, start : start + len(row)] = _column(row, kind, f"request {request}, {name}")
    return tf.make_tensor_proto(array, dtype=dtype, shape=array.shape)


def _cells(request: RankRequest, name: str, kind: Kind) -> list[Any]:
    """A request's values of one input: one, or one per row."""
    if name in features.PROFILE:
        return _profile_cells(request.profile, name)
    if name.startswith(HISTORY):
        return [_cell(row, name.removeprefix(HISTORY), kind) for row in request.history]
    if name.startswith(CANDIDATE):
        return [_cell(row, name.removeprefix(CANDIDATE), kind) for row in request.candidates]
    return [_cell(request, name, kind)]


def _cell(owner: messages.Candidate | RankRequest, name: str, kind: Kind) -> Any:
    if name == "tags" and isinstance(owner, messages.Candidate):
        return _joined(owner.tags)
    if name not in type(owner).__dataclass_fields__:
        value = owner.features.get(name, math.nan if name in features.ITEM_COUNTS else kind.absent)
        # Integer columns of a log are categorical: sessions hold them as strings.
        return str(value) if kind is Kind.STRING and type(value) is int else value
    return getattr(owner, name)


def _joined(tags: Sequence[str]) -> str:
    """Tags of one row as the sessions have them: each once, none empty."""
    for tag in tags:
        if not isinstance(tag, str) or features.TAG_SEPARATOR in tag:
            raise RequestError(f"tag {tag!r} must be a string without {features.TAG_SEPARATOR!r}, which joins tags")
    return features.TAG_SEPARATOR.join(dict.fromkeys(tag for tag in tags if tag))


def _profile_cells(profile: messages.Profile, name: str) -> list[Any]:
    """Names or counts of one level, most impressions first, then by name: the sessions' own order."""
    level, _, count = name.removeprefix("profile_").partition("_")
    counts = {"channel": profile.channels, "tag": profile.tags}[level]
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1].impressions, entry[0]))
    return [getattr(entry, count) if count else key for key, entry in ordered]


def _column(cells: list[Any], kind: Kind, where: str) -> list[Any]:
    """The cells, each of `kind`, strings as UTF-8; one look at their types keeps the common case fast."""
    if not set(map(type, cells)) <= _PYTHON_TYPES[kind]:
        cells = [messages.typed(cell, kind, f"{where}[{i}]") for i, cell in enumerate(cells)]
    if kind is not Kind.STRING:
        return cells
    try:
        return [cell.encode("utf-8") for cell in cells]
    except UnicodeEncodeError as error:
        raise RequestError(f"{where} holds {error.object!r}, which is no valid Unicode text") from error


def _absent(kind: Kind) -> Value | bytes:
    return b"" if kind is Kind.STRING else kind.absent


def _refuse_unknown(requests: Sequence[RankRequest], inputs: Mapping[str, Any]) -> None:
    for index, request in enumerate(requests):
        for where, prefix, owners in _owners(request):
            given = {name for owner in owners for name in owner.features}
            for name in sorted(given):
                if prefix + name not in inputs:
                    taken = [known.removeprefix(prefix) for known in inputs if known.startswith(prefix)]
                    raise messages.unknown_field(name, f"request {index}, {where}", _optional(taken))


def _owners(request: RankRequest) -> Iterator[tuple[str, str, Sequence[messages.Candidate | RankRequest]]]:
    yield "request", "", [request]
    yield "candidates", CANDIDATE, request.candidates
    yield "history", HISTORY, request.history


def _optional(names: Sequence[str]) -> list[str]:
    return features.optional_columns(names)
