"""TensorFlow Serving's JSON as a PredictRequest, and a PredictResponse as its JSON.

Rows, `{"instances": [...]}`, are answered with `{"predictions": [...]}`; columns, `{"inputs": {...}}`, with
`{"outputs": {...}}`. Bytes are `{"b64": "..."}`; outputs are so where their name ends with `_bytes` (TensorFlow
Serving's rule) or where they are not UTF-8.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import predict_pb2

from serving.signatures import invalid

Inputs = Mapping[str, meta_graph_pb2.TensorInfo]

INSTANCES = "instances"
INPUTS = "inputs"
_SIGNATURE = "signature_name"
_BYTES = "b64"
_BYTES_SUFFIX = "_bytes"


def fill(
    request: predict_pb2.PredictRequest, body: bytes, signature_inputs: Callable[[str], Inputs]
) -> Callable[[predict_pb2.PredictResponse], dict[str, Any]]:
    """Fills `request` from a JSON body.

    Args:
      request: gets the signature's name and the inputs.
      body: what was posted.
      signature_inputs: the inputs of the signature of a name.

    Returns:
      What turns the response into JSON of the request's own form, rows or columns.

    Raises:
      Refusal: INVALID_ARGUMENT, the body is not what the signature takes.
    """
    document = _document(body)
    name = document.get(_SIGNATURE, "")
    if not isinstance(name, str):
        raise invalid(f"{_SIGNATURE} is {_shown(name)} but must be a string; correct it or leave it out")
    request.model_spec.signature_name = name
    inputs = signature_inputs(name)
    given = [key for key in (INSTANCES, INPUTS) if key in document]
    if len(given) != 1:
        raise invalid(f"the body must have either {INSTANCES!r} (rows) or {INPUTS!r} (columns); send one of them")
    rows = given[0] == INSTANCES
    values = _of_rows(document[INSTANCES], inputs) if rows else _of_columns(document[INPUTS], inputs)
    for key, value in values.items():
        request.inputs[key].CopyFrom(_tensor(key, value, tf.dtypes.as_dtype(inputs[key].dtype)))
    return to_rows if rows else to_columns


def to_rows(response: predict_pb2.PredictResponse) -> dict[str, Any]:
    """`{"predictions": [...]}`, one entry per row; raises `Refusal` when the outputs differ in their rows."""
    outputs = _values(response)
    if len({len(values) if isinstance(values, list) else None for values in outputs.values()}) > 1:
        raise invalid(f"the outputs differ in their first dimension; ask in columns, with {INPUTS!r}")
    if len(outputs) == 1:
        return {"predictions": next(iter(outputs.values()))}
    return {"predictions": [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]}


def to_columns(response: predict_pb2.PredictResponse) -> dict[str, Any]:
    """`{"outputs": {...}}`; a single output stands there without its name."""
    outputs = _values(response)
    return {"outputs": next(iter(outputs.values())) if len(outputs) == 1 else outputs}


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise invalid(f"the body is not UTF-8 (byte {error.start}); send JSON in UTF-8") from error
    except RecursionError as error:
        raise invalid("the body is nested too deeply; send tensors as nested lists of their rank") from error
    except ValueError as error:
        raise invalid(f"the body is not JSON ({error}); send one JSON object") from error
    if not isinstance(document, dict):
        raise invalid(f"the body is {_shown(document)} but must be a JSON object")
    return document


def _of_rows(rows: Any, inputs: Inputs) -> dict[str, list[Any]]:
    if not isinstance(rows, list) or not rows:
        raise invalid(f"{INSTANCES!r} is {_shown(rows)} but must be a list with at least one row")
    named = isinstance(rows[0], dict) and not _is_bytes(rows[0])
    if not named:
        rows = [{_only(inputs, INSTANCES): row} for row in rows]
    values: dict[str, list[Any]] = {name: [] for name in inputs}
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or row.keys() != inputs.keys():
            got = f"has {', '.join(sorted(row))}" if isinstance(row, dict) else f"is {_shown(row)}"
            raise invalid(f"row {number} of {INSTANCES!r} {got} but must have the inputs {', '.join(sorted(inputs))}")
        for name, value in row.items():
            values[name].append(value)
    return values


def _of_columns(columns: Any, inputs: Inputs) -> dict[str, Any]:
    if not isinstance(columns, dict) or _is_bytes(columns):
        return {_only(inputs, INPUTS): columns}
    if columns.keys() != inputs.keys():
        wanted, got = ", ".join(sorted(inputs)), ", ".join(sorted(columns)) or "none"
        raise invalid(f"{INPUTS!r} has {got} but must have the inputs {wanted}")
    return columns


def _only(inputs: Inputs, key: str) -> str:
    if len(inputs) != 1:
        raise invalid(
            f"{key!r} has unnamed values, but the signature has the inputs {', '.join(sorted(inputs))}; name them"
        )
    return next(iter(inputs))


def _tensor(name: str, value: Any, dtype: tf.DType) -> Any:
    shape: list[int] = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    leaves: list[Any] = []
    _flatten(name, value, shape, 0, _leaf(name, dtype), leaves)
    array: np.ndarray = np.empty(len(leaves), dtype.as_numpy_dtype)
    array[:] = leaves
    return tf.make_tensor_proto(array.reshape(shape), dtype, shape)


def _flatten(
    name: str, value: Any, shape: list[int], level: int, leaf: Callable[[Any], Any], leaves: list[Any]
) -> None:
    if level == len(shape):
        leaves.append(leaf(value))
        return
    if not isinstance(value, list) or len(value) != shape[level]:
        got = f"a list of {len(value)}" if isinstance(value, list) else _shown(value)
        raise invalid(f"the input {name!r} is ragged: {got} where its first element has a list of {shape[level]}")
    for element in value:
        _flatten(name, element, shape, level + 1, leaf, leaves)


def _leaf(name: str, dtype: tf.DType) -> Callable[[Any], Any]:
    """What reads one element of a tensor of `dtype`."""

    def read(value: Any) -> Any:
        if dtype == tf.string:
            if isinstance(value, str):
                return value.encode("utf-8", "surrogatepass")
            if _is_bytes(value):
                try:
                    return base64.b64decode(value[_BYTES], validate=True)
                except (binascii.Error, ValueError) as error:
                    raise invalid(f"the input {name!r} has a {_BYTES!r} that is no base64; correct it") from error
        elif dtype.is_bool:
            if isinstance(value, bool):
                return value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            if dtype.is_floating:
                try:
                    return float(value)
                except OverflowError:
                    pass
            elif dtype.is_integer and isinstance(value, int) and dtype.min <= value <= dtype.max:
                return value
        raise invalid(f"the input {name!r} has the element {_shown(value)} but must be {dtype.name}; correct it")

    return read


def _is_bytes(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {_BYTES} and isinstance(value[_BYTES], str)


def _values(response: predict_pb2.PredictResponse) -> dict[str, Any]:
    return {name: _value(name, tf.make_ndarray(response.outputs[name])) for name in sorted(response.outputs)}


def _value(name: str, array: np.ndarray) -> Any:
    """Nested lists; floats as the shortest text of their own precision, as TensorFlow Serving writes them."""
    if array.dtype == object:
        read = _base64 if name.endswith(_BYTES_SUFFIX) else _text
        leaves = np.frompyfunc(read, 1, 1)(array)
        return leaves.tolist() if isinstance(leaves, np.ndarray) else leaves
    if array.dtype == np.float32 or array.dtype == np.float16:
        return array.astype("U32").astype(np.float64).tolist()
    return array.tolist()


def _base64(value: bytes) -> dict[str, str]:
    return {_BYTES: base64.b64encode(value).decode("ascii")}


def _text(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return _base64(value)


def _shown(value: Any) -> str:
    kind = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return kind.get(type(value)) or f"the number {value!r:.20}"
