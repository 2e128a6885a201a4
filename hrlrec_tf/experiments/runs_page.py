"""The page of training runs: a table of them, what sets them apart, and the curves of each."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from hrlrec_tf import model_folder
from hrlrec_tf.errors import ModelError
from hrlrec_tf.experiments import formatting, health_charts, run_charts
from hrlrec_tf.experiments.drawing import Ink, Series
from hrlrec_tf.experiments.report import template
from hrlrec_tf.experiments.run_charts import Chart
from hrlrec_tf.version import __version__

MOST_SECTIONS = 12  # runs whose own curves are shown; a page of more is too large to open
_INKS = (Ink.FIRST, Ink.SECOND, Ink.THIRD, Ink.FOURTH, Ink.FIFTH, Ink.SIXTH)
_COMPARED = (
    ("validation", "auc", "Validation AUC"),
    ("validation", "log_loss", "Validation log loss"),
    ("train", "loss", "Loss"),
    ("train", "channel_critic_loss", "Critic loss of the channel selector"),
    ("train", "item_critic_loss", "Critic loss of the item recommender"),
    ("panel", "distinct_lists_per_user", "Distinct lists per user"),
)
_COLUMNS = (
    *("run", "state", "epochs", "batches", "best AUC", "in epoch", "log loss", "distinct lists per user"),
    *("overestimation, channel", "overestimation, item"),
)


@dataclasses.dataclass(frozen=True)
class TrainingRun:
    """What one model folder tells.

    Attributes:
      name: of the run.
      settings: `Config.to_dict()`.
      records: lines of its `metrics.jsonl`.
      finished: whether training ended.
    """

    name: str
    settings: Mapping[str, Mapping[str, Any]]
    records: Sequence[Mapping[str, Any]]
    finished: bool

    @property
    def best(self) -> Mapping[str, Any]:
        """The validation record of the best AUC; empty without one."""
        known = [each for each in run_charts.of_split(self.records, "validation") if formatting.finite(each.get("auc"))]
        return max(known, key=lambda record: record["auc"], default={})

    def last(self, split: str) -> Mapping[str, Any]:
        """The newest record of a split; empty without one."""
        return next(iter(reversed(run_charts.of_split(self.records, split))), {})

    def summary(self) -> dict[str, Any]:
        """How far it came and how well; None where it is not known."""
        return {
            "name": self.name,
            "finished": self.finished,
            "epochs": self.last("train").get("epoch", 0),
            "batches": self.last("train").get("step", 0),
            "validation_auc": self.best.get("auc"),
            "best_epoch": self.best.get("epoch"),
            "log_loss": self.best.get("log_loss"),
            "distinct_lists_per_user": self.last("panel").get("distinct_lists_per_user"),
            "channel_overestimation": self.last("train").get("channel_overestimation"),
            "item_overestimation": self.last("train").get("item_overestimation"),
        }


def find_runs(folder: pathlib.Path) -> list[TrainingRun]:
    """All model folders in `folder`, itself included, by name.

    Raises:
      ModelError: there are none.
    """
    runs = []
    for file in sorted(folder.rglob(model_folder.CONFIG)):
        settings = model_folder.read_settings(file.parent)
        if settings is not None:
            inside = file.parent.relative_to(folder)
            name = str(inside) if inside.parts else folder.resolve().name
            finished = (file.parent / model_folder.RESULT).exists()
            runs.append(TrainingRun(name, settings["config"], model_folder.read_metrics(file.parent), finished))
    if not runs:
        raise ModelError(
            f"{folder} holds no model folder; name the --out of hrlrec train with --runs, or a folder of such folders"
        )
    return runs


def render(title: str, runs: Sequence[TrainingRun]) -> str:
    """The page as HTML."""
    shown = runs[:MOST_SECTIONS]
    return template("runs.html.j2").render(
        title=title,
        version=__version__,
        runs=shown,
        hidden=len(runs) - len(shown),
        columns=_COLUMNS,
        rows=[_row(run.summary()) for run in runs],
        compared=_compared(runs) if len(runs) > 1 else (),
        names=[run.name for run in runs],
        differences=_differences(runs),
        charts=[
            (run_charts.training_charts(run.records, f"{i}-"), health_charts.health_charts(run.records, f"{i}-"))
            for i, run in enumerate(shown)
        ],
    )


def _row(summary: Mapping[str, Any]) -> list[str]:
    counts = [formatting.count(summary[name]) for name in ("epochs", "batches")]
    numbers = [
        formatting.number(summary[name], digits)
        for name, digits in (
            *(("log_loss", 4), ("distinct_lists_per_user", 2)),
            *(("channel_overestimation", 3), ("item_overestimation", 3)),
        )
    ]
    state = "finished" if summary["finished"] else "unfinished"
    auc, epoch = formatting.number(summary["validation_auc"], 4), formatting.count(summary["best_epoch"])
    return [summary["name"], state, *counts, auc, epoch, *numbers]


def _compared(runs: Sequence[TrainingRun]) -> list[Chart]:
    """One picture per metric, one line per run."""
    cut = f" The first {len(_INKS)} of {len(runs)} runs." if len(runs) > len(_INKS) else ""
    charts = []
    for split, metric, title in _COMPARED:
        values = [
            {record["epoch"]: record.get(metric) for record in run_charts.of_split(run.records, split)}
            for run in runs[: len(_INKS)]
        ]
        epochs = sorted({epoch for each in values for epoch in each})
        series = [
            Series(run.name, [run_charts.as_float(each.get(epoch)) for epoch in epochs], ink, dash=i)
            for i, (run, each, ink) in enumerate(zip(runs, values, _INKS, strict=False))
        ]
        charts.append(run_charts.epochs_chart(f"compared-{metric}", title, f"One line per run.{cut}", epochs, series))
    return charts


def _differences(runs: Sequence[TrainingRun]) -> list[list[str]]:
    """Settings that are not the same in all runs: the setting, then its value in each run."""
    fields = dict.fromkeys((section, name) for run in runs for section, each in run.settings.items() for name in each)
    rows = []
    for section, name in fields:
        values = [formatting.setting(run.settings.get(section, {}).get(name)) for run in runs]
        if len(set(values)) > 1:
            rows.append([f"{section}.{name}", *values])
    return rows
