"""Checked settings: dataclasses from plain values, as JSON and the command line give them."""

import dataclasses
import json
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from hrlrec_tf.errors import ConfigError

S = TypeVar("S", bound="Sections")


@dataclasses.dataclass(frozen=True)
class Sections:
    """Base of frozen dataclasses whose fields are sections of settings, each a dataclass itself."""

    def override(self: S, settings: Sequence[str]) -> S:
        """Applies `SECTION.FIELD=VALUE` settings, VALUE in JSON (a bare word is a string).

        Raises:
          ConfigError: a setting names no field, or its value is outside the field's range or type.
        """
        sections = self.to_dict()
        for setting in settings:
            key, equals, text = setting.partition("=")
            section, dot, field = key.partition(".")
            if not equals or not dot:
                raise ConfigError(f"setting {setting!r} is not SECTION.FIELD=VALUE, for instance training.seed=1")
            if section not in sections or field not in sections[section]:
                known = ", ".join(f"{name}.{key}" for name, fields in sections.items() for key in fields)
                raise ConfigError(f"setting {key!r} is unknown; known: {known}")
            sections[section][field] = parse_value(text)
        return self.rebuild(sections)

    def rebuild(self: S, sections: Mapping[str, Mapping[str, Any]]) -> S:
        """Settings of this kind from plain values, the inverse of `to_dict`; absent fields take their type's default.

        Raises:
          ConfigError: a section or a field is unknown, or its value is outside the field's range or type.
        """
        return type(self)(**build_sections(self.kinds(), sections))

    def kinds(self) -> dict[str, type]:
        """Section -> its dataclass."""
        return {field.name: type(getattr(self, field.name)) for field in dataclasses.fields(self)}

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Plain nested dictionaries, ready for JSON."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """Stable JSON text."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"


def build_sections(kinds: Mapping[str, type], sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The dataclass of each section given; raises ConfigError for an unknown section, and as `build` does."""
    for section in sections:
        if section not in kinds:
            raise ConfigError(f"section {section!r} is unknown; known: {', '.join(kinds)}")
    return {section: build(section, kinds[section], fields) for section, fields in sections.items()}


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
    if hint in (bool, str) and isinstance(value, hint):
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
