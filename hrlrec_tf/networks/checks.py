"""What the layers refuse, in one sentence each: the rule, what was received, the remedy."""

from collections.abc import Collection

import tensorflow as tf

from hrlrec_tf.errors import ConfigError


def check_choice(layer: str, name: str, value: str, known: Collection[str]) -> None:
    """Raises `ConfigError` unless `value` is one of `known`."""
    if value not in known:
        raise ConfigError(f"{layer}: {name} must be one of {', '.join(known)}, got {value!r}; choose one of them")


def check_size(layer: str, name: str, value: int) -> None:
    """Raises `ConfigError` unless `value` is a whole number from 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{layer}: {name} must be a whole number from 1, got {value!r}; give for instance 32")


def check_share(layer: str, name: str, value: float) -> None:
    """Raises `ConfigError` unless `value` lies in [0, 1)."""
    if not 0 <= value < 1:
        raise ConfigError(f"{layer}: {name} must lie in [0, 1), got {value!r}; 0 switches it off")


def check_same_width(layer: str, **tensors: tf.Tensor) -> None:
    """Raises `ConfigError` where the last dimensions of `tensors` are known and differ."""
    widths = {name: tensor.shape[-1] for name, tensor in tensors.items() if tensor.shape.rank}
    if len({width for width in widths.values() if width is not None}) > 1:
        received = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise ConfigError(
            f"{layer}: the last dimensions of {' and '.join(widths)} must be equal, got {received}; "
            "give actions and embeddings one size"
        )
