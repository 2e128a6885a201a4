"""What a trial is on disk: `trials/ID/` with `job.json`, the models, `log.txt` and, written last, `outcome.json`."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from hrlrec_tf import cli
from hrlrec_tf.tuning.space import Value, setting

OUTCOME = "outcome.json"
JOB = "job.json"
LOG = "log.txt"


@dataclasses.dataclass(frozen=True)
class Job:
    """What the process of a trial has to do.

    Attributes:
      data: folder of sessions.
      model: name of the model.
      preset: where settings come from; None for a model without presets.
      settings: `section.field=value` each.
      seeds: one training run each; empty for one run with the settings' own seed.
    """

    data: str
    model: str
    preset: str | None
    settings: Sequence[str]
    seeds: Sequence[int] = ()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
      status: `completed`, or `failed` with a `reason`.
      aucs: best validation AUC of each seed.
      epochs: of all seeds.
      seconds: of the process that finished it.
      reason: one sentence.
      same_as: trial of the same settings that this outcome is taken from.
    """

    status: Literal["completed", "failed"]
    aucs: tuple[float, ...] = ()
    epochs: int = 0
    seconds: float = 0.0
    reason: str = ""
    same_as: str = ""

    @property
    def auc(self) -> float | None:
        """Mean over seeds."""
        return sum(self.aucs) / len(self.aucs) if self.aucs and self.status == "completed" else None


@dataclasses.dataclass(frozen=True)
class TrialRecord:
    """One trial of a search: its values and how it ended."""

    name: str
    values: Mapping[str, Value]
    outcome: Outcome

    def __str__(self) -> str:
        """One line for the terminal."""
        auc = self.outcome.auc
        result = f"failed ({self.outcome.reason})" if auc is None else f"AUC {auc:.4f}"
        known = f", as trial {self.outcome.same_as}" if self.outcome.same_as else ""
        return f"{result}{known} with {' '.join(setting(name, value) for name, value in self.values.items())}"


def write(folder: pathlib.Path, name: str, content: Job | Outcome) -> None:
    """Writes `job.json` or `outcome.json`; whole or not at all."""
    cli.write_json(folder / name, dataclasses.asdict(content))


def read_job(folder: pathlib.Path) -> Job:
    """The job of a trial."""
    return Job(**_read(folder / JOB))


def read_outcome(folder: pathlib.Path) -> Outcome | None:
    """The outcome of a trial, or None as long as there is none."""
    if not (folder / OUTCOME).exists():
        return None
    fields = _read(folder / OUTCOME)
    return Outcome(**{**fields, "aucs": tuple(fields["aucs"])})


def _read(path: pathlib.Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))
