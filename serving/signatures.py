"""Signatures seen from the wire: checks a request's inputs before the graph runs, and words what was refused.

A `Refusal` carries the gRPC status and one sentence: the rule, what was received, the remedy.
"""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2

# A proto may state a huge shape and repeat its last value: refused before memory is taken for it.
MAX_ELEMENTS = 2**24

_STATUS = {status.value[0]: status for status in grpc.StatusCode}
_ASSERTION = re.compile(r"assertion failed: \[(?P<sentence>hrlrec: .*?)\](?= \[|\n|$)", re.DOTALL)
_SENTENCE = re.compile(r"(?P<sentence>hrlrec: .*?)(?= \[Op:|\n|$)")
_NOISE = re.compile(r"Graph execution error:|Detected at node .*|<stack traces.*|\[\[.*|\{\{.*?\}\} ?| ?\[Op:.*?\]")


class Refusal(Exception):
    """A call is answered with `status` and `sentence` instead of a result."""

    def __init__(self, status: grpc.StatusCode, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


def invalid(sentence: str) -> Refusal:
    """The refusal of a malformed request."""
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, sentence)


class InputSpec(NamedTuple):
    """One input of a signature, in the form that is compared with every request."""

    dtype: tf.DType
    enum: int
    shape: tf.TensorShape
    sizes: tuple[int | None, ...] | None

    @classmethod
    def of(cls, info: meta_graph_pb2.TensorInfo) -> "InputSpec":
        """The same of a signature def's own description."""
        dtype, shape = tf.dtypes.as_dtype(info.dtype), tf.TensorShape(info.tensor_shape)
        return cls(dtype, info.dtype, shape, None if shape.rank is None else tuple(shape.as_list()))

    def __str__(self) -> str:
        return _shown(self.dtype, self.shape)


def input_specs(definition: meta_graph_pb2.SignatureDef) -> dict[str, InputSpec]:
    """The named inputs of a signature."""
    return {name: InputSpec.of(info) for name, info in definition.inputs.items()}


def read_inputs(
    specs: Mapping[str, InputSpec], signature: str, protos: Mapping[str, tensor_pb2.TensorProto]
) -> dict[str, np.ndarray]:
    """The values to call a signature with; raises `Refusal` when names, dtypes or shapes do not fit `specs`."""
    missing = sorted(set(specs) - set(protos))
    if missing:
        wanted = ", ".join(f"{name} ({specs[name]})" for name in missing)
        raise invalid(f"the signature {signature!r} needs inputs that the request lacks: {wanted}")
    extra = sorted(set(protos) - set(specs))
    if extra:
        known = ", ".join(sorted(specs))
        raise invalid(f"the signature {signature!r} takes no input {', '.join(extra)}; it takes: {known}")
    return {name: _read(name, protos[name], spec) for name, spec in specs.items()}


def of_error(error: tf.errors.OpError) -> Refusal:
    """The status of a failed run, with the model's own sentence, or else TensorFlow's without its noise."""
    match = _ASSERTION.search(error.message) or _SENTENCE.search(error.message)
    if match:
        sentence = match["sentence"]
    else:
        lines = (_NOISE.sub("", line).strip() for line in error.message.splitlines())
        sentence = next((line for line in lines if line), "the model refused the request without a reason")
    return Refusal(_STATUS.get(error.error_code, grpc.StatusCode.INTERNAL), sentence)


def _read(name: str, proto: tensor_pb2.TensorProto, spec: InputSpec) -> np.ndarray:
    sizes = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.dtype != spec.enum or proto.tensor_shape.unknown_rank or not _fits(sizes, spec.sizes):
        raise _mismatch(name, proto, spec)
    count = math.prod(sizes)
    if count > MAX_ELEMENTS:
        raise invalid(f"the input {name!r} has {count} values; at most {MAX_ELEMENTS} are taken")
    try:
        return _array(proto, spec, count).reshape(sizes)
    except (TypeError, ValueError) as error:
        stated = _shown(spec.dtype, tf.TensorShape(sizes))
        raise invalid(f"the input {name!r} states {stated} but its data is not that") from error


def _fits(sizes: tuple[int, ...], wanted: tuple[int | None, ...] | None) -> bool:
    if min(sizes, default=0) < 0:
        return False
    if wanted is None:
        return True
    return len(sizes) == len(wanted) and all(want in (None, size) for size, want in zip(sizes, wanted, strict=True))


def _array(proto: tensor_pb2.TensorProto, spec: InputSpec, count: int) -> np.ndarray:
    """The values; without TensorFlow's own slower way where all of them are there, one by one."""
    if spec.dtype == tf.string and len(proto.string_val) == count:
        array = np.empty(count, object)
        array[:] = list(proto.string_val)
        return array
    if spec.dtype != tf.string and proto.tensor_content:
        return np.frombuffer(proto.tensor_content, spec.dtype.as_numpy_dtype)
    return tf.make_ndarray(proto)


def _mismatch(name: str, proto: tensor_pb2.TensorProto, spec: InputSpec) -> Refusal:
    try:
        got = _shown(tf.dtypes.as_dtype(proto.dtype), tf.TensorShape(proto.tensor_shape))
    except (TypeError, ValueError) as error:
        return invalid(f"the input {name!r} is no valid tensor ({error}); it must be {spec}")
    return invalid(f"the input {name!r} is {got} but must be {spec}")


def _shown(dtype: tf.DType, shape: tf.TensorShape) -> str:
    """For instance "float32 of rank 2, [any, 3]"."""
    if shape.rank is None:
        return f"{dtype.name} of any rank"
    sizes = ", ".join("any" if size is None else str(size) for size in shape.as_list())
    return f"{dtype.name} of rank {shape.rank}, [{sizes}]"
