"""Signatures seen from the wire: checks a request's inputs before the graph runs, and words what was refused.

A `Refusal` carries the gRPC status and one sentence: the rule, what was received, the remedy.
"""

import re
from collections.abc import Mapping
from typing import Any

import grpc
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

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


def input_specs(function: Any) -> dict[str, tf.TensorSpec]:
    """The named inputs of a signature's concrete function."""
    return dict(function.structured_input_signature[1])


def read_inputs(function: Any, signature: str, protos: Mapping[str, tensor_pb2.TensorProto]) -> dict[str, tf.Tensor]:
    """The tensors to call `function` with; raises `Refusal` when names, dtypes or shapes do not fit its signature."""
    specs = input_specs(function)
    missing = sorted(set(specs) - set(protos))
    if missing:
        wanted = ", ".join(f"{name} ({_shown(specs[name].dtype, specs[name].shape)})" for name in missing)
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


def _read(name: str, proto: tensor_pb2.TensorProto, spec: tf.TensorSpec) -> tf.Tensor:
    expected = _shown(spec.dtype, spec.shape)
    try:
        dtype = tf.dtypes.as_dtype(proto.dtype)
        shape = tf.TensorShape(proto.tensor_shape)
    except (TypeError, ValueError) as error:
        raise invalid(f"the input {name!r} is no valid tensor ({error}); it must be {expected}") from error
    if dtype != spec.dtype or not spec.shape.is_compatible_with(shape) or not shape.is_fully_defined():
        raise invalid(f"the input {name!r} is {_shown(dtype, shape)} but must be {expected}")
    if shape.num_elements() > MAX_ELEMENTS:
        raise invalid(f"the input {name!r} has {shape.num_elements()} values; at most {MAX_ELEMENTS} are taken")
    try:
        return tf.constant(tf.make_ndarray(proto), dtype=dtype, shape=shape)
    except (TypeError, ValueError) as error:
        raise invalid(f"the input {name!r} states {_shown(dtype, shape)} but its data is not that") from error


def _shown(dtype: tf.DType, shape: tf.TensorShape) -> str:
    """For instance "float32 of rank 2, [any, 3]"."""
    if shape.rank is None:
        return f"{dtype.name} of any rank"
    sizes = ", ".join("any" if size is None else str(size) for size in shape.as_list())
    return f"{dtype.name} of rank {shape.rank}, [{sizes}]"
