"""What is searched: the values a setting may take, and what every trial shares; `space_file.py` reads it."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from hrlrec_tf import models
from hrlrec_tf.settings import Sections

Value: TypeAlias = bool | int | float | str  # a tuple or mapping is searched as its JSON text
SEED_FIELD = "training.seed"
_DIGITS = 4  # significant ones of a value drawn from a range: what is run can be read and typed


@dataclasses.dataclass(frozen=True)
class Choices:
    """A field that takes one of at least two different values, all of one type."""

    values: tuple[Value, ...]


@dataclasses.dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, both inclusive, drawn evenly or evenly in its logarithm."""

    low: float
    high: float
    integer: bool
    log: bool

    def settle(self, value: float) -> int | float:
        """`value` as it is run: inside the range, a whole number or one of few digits."""
        number = round(value) if self.integer else float(f"{value:.{_DIGITS}g}")
        return type(number)(min(max(number, self.low), self.high))


@dataclasses.dataclass(frozen=True)
class SearchSpace:
    """A checked space file.

    Attributes:
      search: how values are chosen.
      fields: `section.field` -> what it may be.
      trials: at most this many; None for a whole grid.
      preset: where settings come from that neither `fixed` nor `fields` names; None for a model without presets.
      fixed: settings of every trial, as `--set` takes them.
      executions: seeds per trial.
      seed: of the search.
      model: name of the model.
    """

    search: Literal["grid", "bayesian", "random"]
    fields: Mapping[str, Choices | Range]
    trials: int | None
    preset: str | None
    fixed: tuple[str, ...]
    executions: int
    seed: int
    model: str

    @property
    def size(self) -> int | None:
        """Number of combinations; None if it has a range."""
        kinds = self.fields.values()
        return math.prod(len(kind.values) if isinstance(kind, Choices) else 0 for kind in kinds) or None

    @property
    def most_trials(self) -> int:
        """How many trials there can be."""
        return min(count for count in (self.trials, self.size) if count is not None)

    def settle(self, values: Mapping[str, Any]) -> dict[str, Value]:
        """What a search proposes, as it is run."""
        kinds = self.fields
        return {
            name: kind.settle(values[name]) if isinstance(kind, Range) else values[name] for name, kind in kinds.items()
        }

    def settings(self, values: Mapping[str, Value]) -> list[str]:
        """Everything a trial needs beside the preset, as `--set` takes it."""
        return [*self.fixed, *(setting(name, value) for name, value in values.items())]

    def config(self, values: Mapping[str, Value]) -> Sections:
        """Settings of one trial; raises ConfigError where its values contradict each other."""
        return models.settings(self.model, self.preset).override(self.settings(values))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return json.loads(json.dumps(dataclasses.asdict(self)))


def setting(name: str, value: Any) -> str:
    """`name=value` as `--set` takes it: words and numbers as text bare, all else in JSON."""
    return f"{name}={value if isinstance(value, str) else json.dumps(value)}"
