"""Checked settings: dataclasses from plain values, as JSON and the command line give them."""

import json
import typing
from collections.abc import Mapping
from typing import Any, Literal

from hrlrec_tf.errors import ConfigError


def build(section: str, kind: type, fields: Mapping[str, Any]) -> Any:
    """The dataclass `kind` of one section; absent fields take their default.

    Raises:
      ConfigError: a field is unknown or its value has the wrong type; `kind` itself checks ranges.
    """
    hints = typing.get_type_hints(kind)
    values = {}
    for field, value in fields.items():
        if field not in hints:
            raise ConfigError(f"setting '{section}.{field}' is unknown; known: {', '.join(hints)}")
        values[field] = _coerce(f"{section}.{field}", hints[field], value)
    return kind(**values)


def parse_value(text: str) -> Any:
    """JSON, or the text itself where it is none."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def check_choices(config: Any) -> None:
    """Raises ConfigError where a field holds none of the choices its type names."""
    for field, hint in typing.get_type_hints(type(config)).items():
        if typing.get_origin(hint) is Literal and getattr(config, field) not in typing.get_args(hint):
            choices = ", ".join(map(str, typing.get_args(hint)))
            raise ConfigError(f"setting {field!r} is {getattr(config, field)!r}; choose one of {choices}")


def check_range(config: Any, field: str, low: float, high: float) -> None:
    """Raises ConfigError where a field's number lies outside [low, high]; NaN does."""
    value = getattr(config, field)
    if not low <= value <= high:
        raise ConfigError(f"setting {field!r} is {value}; it must lie between {low} and {high}")


def _coerce(name: str, hint: Any, value: Any) -> Any:
    """Checks `value` against a field's type; JSON's lists become tuples and whole numbers floats."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_coerce(name, parts[0], part) for part in value)
    if origin is Literal and type(value) in {type(choice) for choice in parts}:
        return value
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return {str(key): _coerce(f"{name}.{key}", parts[1], part) for key, part in value.items()}
    expected = f"one of {', '.join(map(str, parts))}" if origin is Literal else getattr(hint, "__name__", hint)
    raise ConfigError(f"setting '{name}' has the wrong type: got {value!r}, expected {expected}")
