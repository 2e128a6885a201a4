"""Worlds as YAML files: a value per field of `WorldConfig` that differs from its default."""

import importlib.resources
import pathlib
from collections.abc import Mapping
from typing import Any

import yaml

from hrlrec_tf.data import parsing
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.simulator.config import WorldConfig

_WORLDS = importlib.resources.files("hrlrec_tf.simulator") / "worlds"


def load(name: str, overrides: Mapping[str, Any] | None = None) -> WorldConfig:
    """The world of a file, or one that the package brings by its name (`table3`, `fig4`).

    Args:
      name: path or name.
      overrides: fields that stand above the file.

    Raises:
      ConfigError: the file is absent, no YAML, or a field is unknown, of the wrong type or out of its range.
    """
    known = not pathlib.Path(name).exists() and name in bundled()
    try:
        text = (_WORLDS / f"{name}.yaml" if known else pathlib.Path(name)).read_text(encoding="utf-8")
        values = yaml.safe_load(text) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{name}: cannot be read as YAML ({' '.join(str(error).split())})") from error
    try:
        return parsing.build(WorldConfig, {**values, **(overrides or {})} if isinstance(values, dict) else values, "")
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None


def save(config: WorldConfig, path: pathlib.Path) -> None:
    """Writes a file that `load` reads."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in config.changed().items()}
    path.write_text(yaml.safe_dump(plain, sort_keys=False, default_flow_style=None, width=120), encoding="utf-8")


def bundled() -> list[str]:
    """Names of the worlds that the package brings."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _WORLDS.iterdir() if entry.name.endswith(".yaml"))
