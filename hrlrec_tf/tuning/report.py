"""What a search found: `result.json`, a table for the terminal, and one self-contained page with pictures."""

import dataclasses
import functools
import pathlib
import shlex
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from hrlrec_tf import cli
from hrlrec_tf.experiments import charts, formatting
from hrlrec_tf.experiments.drawing import Ink, Series
from hrlrec_tf.tuning import importance
from hrlrec_tf.tuning.importance import Importance
from hrlrec_tf.tuning.space import Choices, SearchSpace, Value, setting
from hrlrec_tf.tuning.trials import TrialRecord
from hrlrec_tf.version import __version__

RESULT = "result.json"
PAGE = "report.html"
_FEW = 20  # trials in the terminal's table


@dataclasses.dataclass(frozen=True)
class FieldPicture:
    """AUC over the values of one field."""

    name: str
    share: float | None
    svg: str


def write(
    folder: pathlib.Path, space: SearchSpace, data: str, model: str, records: Sequence[TrialRecord]
) -> Mapping[str, Any]:
    """Writes `result.json` and `report.html` into the search folder.

    Args:
      folder: of the search.
      space: what was searched.
      data: folder of sessions, as the user named it.
      model: name of the model.
      records: all trials, at least one with an AUC.

    Returns:
      What `result.json` holds.
    """
    found = importance.analyse(space, records)
    result = _result(space, data, model, records, found)
    page = _template().render(
        result=result,
        fields=list(space.fields),
        importance=_importance_svg(found),
        pictures=[
            FieldPicture(name, found.shares.get(name), _field_svg(i, name, space, records, found))
            for i, name in enumerate(found.shares or space.fields)
        ],
        version=__version__,
    )
    temporary = folder / f".{PAGE}.partial"
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(folder / PAGE)
    cli.write_json(folder / RESULT, result)
    return result


def as_text(result: Mapping[str, Any]) -> str:
    """Trials as a table, best first, the best settings, and what mattered."""
    trials = result["trials"]
    fields = list(trials[0]["values"])
    several = len(trials[0]["validation_aucs"]) > 1
    rows = [["trial", "AUC", *["± seeds"] * several, "epochs", "seconds", *fields]]
    for trial in trials[:_FEW]:
        auc = formatting.number(trial["validation_auc"], 4) if trial["status"] == "completed" else "failed"
        spread = [formatting.number(trial["deviation"], 4)] * several
        values = [_short(trial["values"][name]) for name in fields]
        rows.append([trial["trial"], auc, *spread, str(trial["epochs"]), f"{trial['seconds']:.0f}", *values])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    if len(trials) > _FEW:
        lines.append(f"... and {len(trials) - _FEW} more in {RESULT}")
    lines += [f"trial {trial['trial']} failed: {trial['reason']}" for trial in trials if trial["reason"]]
    lines += ["", "what mattered: " + result["importance_note"]]
    lines += [f"  {row['importance']:6.1%}  {row['field']}" for row in result["importance"]]
    best = result["best"]
    lines += ["", f"best validation AUC {best['validation_auc']:.4f} (trial {best['trial']}):", f"  {best['command']}"]
    return "\n".join(lines)


def _result(
    space: SearchSpace, data: str, model: str, records: Sequence[TrialRecord], found: Importance
) -> dict[str, Any]:
    ranked = sorted(records, key=lambda record: -(record.outcome.auc or 0.0))
    settings = space.settings(ranked[0].values)
    options = ["--preset", space.preset] if space.preset else []
    options += [word for each in settings for word in ("--set", each)]
    command = ["hrlrec", "train", "--data", data, "--model", model, *options, "--out", "model"]
    return {
        "model": model,
        "data": data,
        "search": space.search,
        "executions": space.executions,
        "best": {
            "trial": ranked[0].name,
            "validation_auc": ranked[0].outcome.auc,
            "preset": space.preset,
            "set": settings,
            "command": shlex.join(command),
        },
        "trials": [_row(space, record) for record in ranked],
        "importance": [{"field": name, "importance": share} for name, share in found.shares.items()],
        "importance_note": found.note,
        "explained": found.explained,
    }


def _row(space: SearchSpace, record: TrialRecord) -> dict[str, Any]:
    outcome = record.outcome
    return {
        "trial": record.name,
        "status": outcome.status,
        "validation_auc": outcome.auc,
        "validation_aucs": list(outcome.aucs),
        "deviation": statistics.stdev(outcome.aucs) if len(outcome.aucs) > 1 else None,
        "epochs": outcome.epochs,
        "seconds": outcome.seconds,
        "values": dict(record.values),
        "set": space.settings(record.values),
        "reason": outcome.reason,
        "same_as": outcome.same_as,
    }


def _importance_svg(found: Importance) -> str:
    values = [100 * share for share in found.shares.values()]
    alt = "Share of each field in what the forest explains"
    return charts.bar_chart("importance", alt, list(found.shares), [Series(alt, values, Ink.FIRST)], 0, " %")


def _field_svg(number: int, name: str, space: SearchSpace, records: Sequence[TrialRecord], found: Importance) -> str:
    """AUC of every trial over one field's value, with the forest's curve and the best trial marked."""
    kind = space.fields[name]
    used = [record for record in records if record.outcome.auc is not None]
    aucs = [record.outcome.auc or 0.0 for record in used]
    labels = [_short(value) for value in kind.values] if isinstance(kind, Choices) else None

    def place(value: Value) -> float:
        return float(kind.values.index(value) if isinstance(kind, Choices) else value)

    return charts.scatter_chart(
        f"field-{number}",
        f"Validation AUC over {name}",
        [place(record.values[name]) for record in used],
        aucs,
        name,
        best=max(range(len(used)), key=lambda i: aucs[i]),
        curve=[(place(value), auc) for value, auc in found.curves.get(name, ())],
        labels=labels,
        log=not isinstance(kind, Choices) and kind.log,
    )


def _short(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else setting("", value)[1:]


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hrlrec_tf", "tuning"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": formatting.number, "percent": formatting.percent, "short": _short}
    return environment.get_template("report.html.j2")
