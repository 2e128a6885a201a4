"""Plain YAML values into frozen dataclasses, checked field by field."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from hrlrec_tf.errors import ConfigError

T = TypeVar("T")


def build(kind: type[T], value: Any, name: str) -> T:
    """Makes a `kind` of a mapping; fields may be dataclasses, tuples and mappings of them themselves.

    Args:
      kind: a dataclass.
      value: what YAML gave.
      name: where in the file `value` stands, for messages; "" at the top.

    Raises:
      ConfigError: a key is unknown or a value has the wrong type; the message names the key.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name or 'the file'} must be a mapping of keys to values: got {value!r}")
    hints = typing.get_type_hints(kind)
    for key in value:
        if key not in hints:
            raise ConfigError(f"{_join(name, key)} is unknown; known: {', '.join(hints)}")
    built = {key: _convert(hints[key], each, _join(name, key)) for key, each in value.items()}
    try:
        return kind(**built)
    except TypeError:
        fields = dataclasses.fields(kind)  # type: ignore[arg-type]
        needed = [field.name for field in fields if field.default is field.default_factory is dataclasses.MISSING]
        raise ConfigError(f"{name} needs {', '.join(needed)}: got {', '.join(map(str, value)) or 'nothing'}") from None
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}" if name else str(error)) from None


def _join(name: str, key: Any) -> str:
    return f"{name}.{key}" if name else str(key)


def _convert(hint: Any, value: Any, name: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert_any(arguments, value, name)
    if origin is typing.Literal:
        if value not in arguments:
            raise ConfigError(f"{name} must be one of {', '.join(map(str, arguments))}: got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{name} must be a list: got {value!r}")
        return tuple(_convert(arguments[0], each, f"{name}[{n}]") for n, each in enumerate(value))
    if origin is Mapping:
        return {key: _convert(arguments[1], each, _join(name, key)) for key, each in _mapping(value, name).items()}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if isinstance(value, str) and "source" in typing.get_type_hints(hint):
            value = {"source": value}
        return build(hint, value, name)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{name} must be a {hint.__name__}: got {value!r}")
    return value


def _convert_any(hints: tuple[Any, ...], value: Any, name: str) -> Any:
    """The first alternative that fits; the last one's error otherwise."""
    if value is None and types.NoneType in hints:
        return None
    kinds = [hint for hint in hints if hint is not types.NoneType]
    for hint in kinds[:-1]:
        try:
            return _convert(hint, value, name)
        except ConfigError:
            continue
    return _convert(kinds[-1], value, name)


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} must be a mapping of keys to values: got {value!r}")
    return {str(key): each for key, each in value.items()}
