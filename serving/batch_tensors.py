"""Calls joined along the first dimension and taken apart again, as TensorFlow Serving's batching session does."""

from collections.abc import Mapping, Sequence

import numpy as np

Inputs = Mapping[str, np.ndarray]


def same_shapes(first: Inputs, other: Inputs) -> bool:
    """Whether two calls of a signature differ in their first dimension at most."""
    return all(values.shape[1:] == other[name].shape[1:] for name, values in first.items())


def widest(calls: Sequence[Inputs]) -> dict[str, tuple[int, ...]]:
    """The largest inner dimensions of each input."""
    return {name: tuple(map(max, zip(*(call[name].shape[1:] for call in calls), strict=True))) for name in calls[0]}


def can_pad(inputs: Inputs, widths: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether `pad` has what it needs: an empty array has no first element to pad with."""
    return all(values.size or values.shape[1:] == widths[name] for name, values in inputs.items())


def pad(inputs: Inputs, widths: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Pads the inner dimensions at their end to `widths`, with each array's own first element."""
    return {name: _padded(values, widths[name]) for name, values in inputs.items()}


def join(calls: Sequence[Inputs], rows: int) -> dict[str, np.ndarray]:
    """One input of `rows` rows: the calls', then copies of the last call's first row."""
    joined = {}
    for name, last in calls[-1].items():
        parts = [call[name] for call in calls]
        parts += [last[:1]] * (rows - sum(map(len, parts)))
        joined[name] = np.concatenate(parts) if len(parts) > 1 else parts[0]
    return joined


def split(outputs: Mapping[str, np.ndarray], sizes: Sequence[int]) -> list[dict[str, np.ndarray]]:
    """Each call's rows of the outputs; what is left over was padding."""
    ends = np.cumsum(sizes)
    return [
        {name: values[end - size : end] for name, values in outputs.items()}
        for end, size in zip(ends, sizes, strict=True)
    ]


def _padded(values: np.ndarray, widths: tuple[int, ...]) -> np.ndarray:
    if values.shape[1:] == widths:
        return values
    padded = np.empty((len(values), *widths), values.dtype)
    padded[...] = values[(0,) * values.ndim]
    padded[tuple(map(slice, values.shape))] = values
    return padded
