"""The space file of `hrlrec tune`: which settings are searched, over which values, and how.

```yaml
search: bayesian          # or grid, random
trials: 20                # at most; may be left out for a grid
preset: best              # where the settings not named here come from; the baselines have no presets
executions: 1             # seeds per trial, whose validation AUC is averaged
seed: 0                   # of the search itself
set:                      # settings that every trial shares
  training.epochs: 3
space:
  losses.gamma: [0.0, 0.3, 0.6]
  training.learning_rate: {min: 1e-4, max: 1e-2, sampling: log}
```
"""

import dataclasses
import importlib.resources
import itertools
import json
import math
import pathlib
import random
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import yaml

from hrlrec_tf import models
from hrlrec_tf.data import parsing
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.settings import Sections
from hrlrec_tf.tuning.space import SEED_FIELD, Choices, Range, SearchSpace, Value, setting

_SPACES = importlib.resources.files("hrlrec_tf.tuning") / "spaces"
_MOST_VALUES = 1000  # of one field
_COMBINATIONS = 200  # tried to find one in which a value is valid


# `bool | object` is how `parsing` spells any value.
@dataclasses.dataclass(frozen=True)
class _File:
    search: Literal["grid", "bayesian", "random"]
    space: Mapping[str, bool | object]
    trials: int | None = None
    preset: Literal["paper", "best"] | None = None
    set: Mapping[str, bool | object] = dataclasses.field(default_factory=dict)
    executions: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.space:
            raise ConfigError("space is empty; name at least one field, for instance losses.gamma: [0.0, 0.3]")
        for name in ("trials", "executions"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1: got {getattr(self, name)}")
        if self.seed < 0:
            raise ConfigError(f"seed must not be negative: got {self.seed}")
        if self.trials is None and self.search != "grid":
            raise ConfigError(f"a {self.search} search needs trials, for instance trials: 20")
        if both := sorted(self.set.keys() & self.space.keys()):
            raise ConfigError(f"{both[0]} stands under both set and space; keep one")
        if self.executions > 1 and SEED_FIELD in {*self.set, *self.space}:
            raise ConfigError(f"executions sets {SEED_FIELD} to 0, 1, ... itself; take it out, or executions")


@dataclasses.dataclass(frozen=True)
class _RangeFile:
    min: float | str  # YAML reads 1e-4 as text
    max: float | str
    sampling: Literal["linear", "log"] = "linear"
    step: float | str | None = None


def load(path: str | pathlib.Path, model: str = "hrl-rec") -> SearchSpace:
    """Reads and checks a space file, or one that the package brings by its name (for instance `hrl-rec`), for a model.

    Raises:
      ConfigError: the file is absent, no YAML, or says something that cannot be searched; the message names file and
        field.
    """
    path = pathlib.Path(path)
    known = not path.exists() and str(path) in bundled()
    try:
        text = (_SPACES / f"{path}.yaml" if known else path).read_text(encoding="utf-8")
        return _check(parsing.build(_File, yaml.safe_load(text) or {}, ""), model)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {str(error).strip()}") from None


def bundled() -> list[str]:
    """Names of the space files that the package brings."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _SPACES.iterdir() if entry.name.endswith(".yaml"))


def _check(file: _File, model: str) -> SearchSpace:
    preset = file.preset or ("best" if model == "hrl-rec" else None)
    base = models.settings(model, preset)
    kinds = {name: _kind(f"space.{name}", name, value, file.search, base) for name, value in file.space.items()}
    fixed = {name: setting(name, value) for name, value in file.set.items()}
    options = {
        name: [setting(name, value) for value in (kind if isinstance(kind, list) else (kind.low, kind.high))]
        for name, kind in kinds.items()
    }
    for name, text in fixed.items():
        _valid_config(f"set.{name}", base, text, fixed, options)
    fields: dict[str, Choices | Range] = {}
    for name, kind in kinds.items():
        configs = [_valid_config(f"space.{name}", base, text, fixed, options) for text in options[name]]
        fields[name] = kind if isinstance(kind, Range) else Choices(_distinct(f"space.{name}", name, configs))
    settings = tuple(fixed.values())
    return SearchSpace(file.search, fields, file.trials, preset, settings, file.executions, file.seed, model)


def _kind(where: str, name: str, value: Any, search: str, base: Sections) -> list[Any] | Range:
    """Values of a field as the file gives them, or its range; a range with a step is the list of its values."""
    if isinstance(value, list):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} must be a list of values, or {{min: .., max: ..}}: got {value!r}")
    integer = _field_type(where, name, base) is int
    file = parsing.build(_RangeFile, value, where)
    low, high = (_number(f"{where}.{end}", getattr(file, end), integer) for end in ("min", "max"))
    log = file.sampling == "log"
    if low >= high:
        raise ConfigError(f"{where}: min must be below max: got {low:g} and {high:g}")
    if log and low <= 0:
        raise ConfigError(f"{where}: sampling: log needs a min above 0: got {low:g}")
    if file.step is not None:
        return _steps(where, low, high, _number(f"{where}.step", file.step, integer), log, integer)
    if search == "grid":
        raise ConfigError(f"{where}: a grid needs a step beside min and max, or a list of values")
    return Range(low, high, integer, log)


def _field_type(where: str, name: str, base: Sections) -> type:
    """Type of a field that is a number; raises ConfigError for any other."""
    section, _, field = name.partition(".")
    kind = base.kinds().get(section)
    hint = typing.get_type_hints(kind).get(field) if kind else None
    if hint is None:
        base.override([f"{name}=0"])  # says which fields there are
    if hint not in (int, float):
        raise ConfigError(f"{where} is no number and has no range; list its values")
    return typing.cast(type, hint)


def _number(where: str, value: float | str, integer: bool) -> int | float:
    try:
        number = float(value)
    except ValueError:
        raise ConfigError(f"{where} must be a number: got {value!r}") from None
    if not math.isfinite(number) or (integer and not number.is_integer()):
        raise ConfigError(f"{where} must be a {'whole' if integer else 'finite'} number: got {value}")
    return int(number) if integer else number


def _steps(where: str, low: float, high: float, step: float, log: bool, integer: bool) -> list[Any]:
    """All values from `low` to `high`: the next is `step` more or, with `log`, `step` times as much."""
    if step <= (1 if log else 0):
        raise ConfigError(f"{where}.step must be above {1 if log else 0}: got {step:g}")
    count = 1 + math.floor((math.log(high / low, step) if log else (high - low) / step) + 1e-9)
    if count > _MOST_VALUES:
        raise ConfigError(f"{where}.step {step:g} makes {count} values; take a larger one ({_MOST_VALUES} at most)")
    values = [low * step**i if log else low + i * step for i in range(count)]
    return [int(value) if integer else float(f"{value:.12g}") for value in values]


def _valid_config(
    where: str, base: Sections, text: str, fixed: Mapping[str, str], options: Mapping[str, Sequence[str]]
) -> Sections:
    """Settings in which `text` is valid: alone, or else in some combination with other fields' values.

    Raises:
      ConfigError: no such combination was found.
    """
    name = text.partition("=")[0]
    others = [texts for other, texts in options.items() if other != name and texts]
    draw = random.Random(0)
    drawn = ([draw.choice(texts) for texts in others] for _ in range(_COMBINATIONS if others else 0))
    first = None
    for more in itertools.chain([[]], drawn):
        try:
            return base.override([*fixed.values(), *more, text])
        except ConfigError as error:
            first = first or error
    raise ConfigError(f"{where}: {first}")


def _distinct(where: str, name: str, configs: Sequence[Sections]) -> tuple[Value, ...]:
    """A field's values in these settings, each once."""
    section, _, field = name.partition(".")
    values = [found.to_dict()[section][field] for found in configs]
    plain = [value if isinstance(value, (bool, int, float, str)) else json.dumps(value) for value in values]
    distinct = tuple(dict.fromkeys(plain))
    if len(distinct) < 2:
        raise ConfigError(f"{where} needs at least two different values: got {plain}; one value belongs under set")
    return distinct
