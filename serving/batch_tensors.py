"""Calls joined along the first dimension and taken apart again, as TensorFlow Serving's batching session does."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

Inputs = Mapping[str, tf.Tensor]


def same_shapes(first: Inputs, other: Inputs) -> bool:
    """Whether two calls of a signature differ in their first dimension at most."""
    return all(tensor.shape[1:] == other[name].shape[1:] for name, tensor in first.items())


def can_pad(inputs: Inputs, widest: Mapping[str, Sequence[int]]) -> bool:
    """Whether `pad` has what it needs: an empty tensor has no first element to pad with."""
    return all(
        tensor.shape.num_elements() or list(tensor.shape[1:]) == list(widest[name]) for name, tensor in inputs.items()
    )


def widest(calls: Sequence[Inputs]) -> dict[str, list[int]]:
    """The largest inner dimensions of each input."""
    return {name: np.max([call[name].shape[1:].as_list() for call in calls], axis=0).tolist() for name in calls[0]}


def pad(inputs: Inputs, widths: Mapping[str, Sequence[int]]) -> dict[str, tf.Tensor]:
    """Pads the inner dimensions at their end to `widths`, with each tensor's own first element."""
    padded = {}
    for name, tensor in inputs.items():
        missing = [[0, 0]] + [[0, width - size] for width, size in zip(widths[name], tensor.shape[1:], strict=True)]
        if any(after for _, after in missing):
            tensor = tf.pad(tensor, missing, constant_values=tf.reshape(tensor, [-1])[0])
        padded[name] = tensor
    return padded


def join(calls: Sequence[Inputs], rows: int) -> dict[str, tf.Tensor]:
    """One input of `rows` rows: the calls', then copies of the last call's first row."""
    joined = {}
    for name, last in calls[-1].items():
        tensors = [call[name] for call in calls]
        missing = rows - sum(tensor.shape[0] for tensor in tensors)
        tensors += [last[:1]] * missing
        joined[name] = tf.concat(tensors, axis=0) if len(tensors) > 1 else tensors[0]
    return joined


def split(outputs: Mapping[str, np.ndarray], sizes: Sequence[int]) -> list[dict[str, np.ndarray]]:
    """Each call's rows of the outputs; what is left over was padding."""
    ends = np.cumsum(sizes)
    return [
        {name: values[end - size : end] for name, values in outputs.items()}
        for end, size in zip(ends, sizes, strict=True)
    ]
