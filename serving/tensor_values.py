"""Tensors as values again: what a client reads of answers, and a server of requests. Nothing here needs TensorFlow."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hrlrec_tf import features
from hrlrec_tf.features import CANDIDATE, HISTORY
from serving import messages
from serving.messages import Candidate, RankedItem, RankRequest, RankResponse
from serving.wire import NUMPY_TYPES, DataType

_VALUE_FIELDS = {
    DataType.FLOAT: "float_val",
    DataType.DOUBLE: "double_val",
    DataType.INT32: "int_val",
    DataType.STRING: "string_val",
    DataType.INT64: "int64_val",
    DataType.BOOL: "bool_val",
}


def to_array(proto: Any) -> npt.NDArray[Any]:
    """The values of a tensor proto; strings as bytes in an object array.

    Raises:
      ValueError: the dtype is none that a signature of an exported model has, or values are missing.
    """
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.dtype not in _VALUE_FIELDS:
        raise ValueError(f"a tensor has dtype {proto.dtype}, which no ranking signature has")
    dtype = NUMPY_TYPES.get(proto.dtype, object)
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    given = getattr(proto, _VALUE_FIELDS[proto.dtype])
    values: npt.NDArray[Any] = np.array(list(given), dtype)
    size = math.prod(shape)
    if 0 < len(values) < size:  # the last value stands for all that follow
        values = np.concatenate([values, np.repeat(values[-1:], size - len(values))])
    return values.reshape(shape)


def to_requests(inputs: Mapping[str, Any], placed: Sequence[set[bytes]] | None = None) -> list[RankRequest]:
    """The requests that the inputs of a Predict call hold: what `fill` wrote, without padding and absent columns.

    Args:
      inputs: tensor protos by name.
      placed: ids of the candidates wanted of each request; all by default.
    """
    arrays = {name: to_array(proto) for name, proto in inputs.items()}
    each = [{name: values[n] for name, values in arrays.items()} for n in range(len(arrays["user_id"]))]
    return [_request(values, None if placed is None else placed[n]) for n, values in enumerate(each)]


def to_response(outputs: Mapping[str, npt.NDArray[Any]], place: int, version: int, request_id: str) -> RankResponse:
    """The answer to the request at `place` of a call: the filled positions of its list, by the arrays of `rank`."""
    rows = {name: values[place].tolist() for name, values in outputs.items()}
    items = tuple(
        RankedItem(
            position=t + 1,
            item_id=item_id.decode("utf-8"),
            channel=rows["channel"][t].decode("utf-8"),
            click_probability=rows["click_probability"][t],
            q_channel=rows["q_channel"][t],
            q_item=rows["q_item"][t],
            propensity_channel=rows["propensity_channel"][t],
            propensity_item=rows["propensity_item"][t],
            explored=bool(rows["explored"][t]),
        )
        for t, item_id in enumerate(rows["item_id"])
        if item_id
    )
    return RankResponse(items, version, request_id, rows.get("unknown_candidates", 0))


def _request(values: Mapping[str, Any], placed: set[bytes] | None) -> RankRequest:
    """One request of its raw values, [] or [rows] each."""
    candidates = values.get(CANDIDATE + "item_id", np.zeros(0, object))
    shown = [n for n, item in enumerate(candidates) if item and (placed is None or item in placed)]
    seen = np.flatnonzero(values[HISTORY + "item_id"] != b"")
    fixed = {name: _plain(values[name]) for name in messages.REQUEST_KINDS if name in values}
    own = [name for name in features.optional_columns(values) if np.ndim(values[name]) == 0]
    return RankRequest(
        **fixed,
        candidates=tuple(_rows(Candidate, CANDIDATE, values, shown)),
        history=tuple(_rows(messages.Row, HISTORY, values, seen)),
        profile=messages.Profile(_counts(values, "profile_channel"), _counts(values, "profile_tag")),
        features=_present({name: _plain(values[name]) for name in own}),
    )


def _rows(cls: type[Candidate], prefix: str, values: Mapping[str, Any], rows: Iterable[int]) -> Iterator[Any]:
    columns = {name.removeprefix(prefix): column for name, column in values.items() if name.startswith(prefix)}
    optional = features.optional_columns(columns)
    for n in rows:
        cells = {name: _plain(column[n]) for name, column in columns.items()}
        tags = tuple(tag for tag in cells.pop("tags", "").split(features.TAG_SEPARATOR) if tag)
        own = _present({name: cells.pop(name) for name in optional})
        yield cls(**cells, tags=tags, features=own)


def _counts(values: Mapping[str, Any], name: str) -> dict[str, messages.Counts]:
    columns = (values[name], values[f"{name}_impressions"], values[f"{name}_clicks"])
    return {_plain(key): messages.Counts(int(n), int(c)) for key, n, c in zip(*columns, strict=True) if key != b""}


def _present(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in columns.items() if features.says_something(name, value)}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return value.decode("utf-8") if isinstance(value, bytes) else value
