"""Trains what an exhibit needs and puts its figures together."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hrlrec_tf import model_folder
from hrlrec_tf.errors import TrainingError
from hrlrec_tf.evaluation import comparison
from hrlrec_tf.evaluation.options import Options
from hrlrec_tf.experiments import cells
from hrlrec_tf.experiments.cells import Run, Sessions
from hrlrec_tf.experiments.exhibit import Exhibit, Row

SIGNIFICANT = 0.01  # the paper's level
_PANEL = ("distinct_lists_per_user", "between_user_channel_variance")


def reproduce(
    exhibit: Exhibit, sessions: Sessions, out: pathlib.Path, seeds: Sequence[int], jobs: int, replicates: int
) -> dict[str, Any]:
    """Executes what is not finished; returns what is known afterwards.

    Args:
      exhibit: what to show.
      sessions: to train and test on.
      out: folder of runs, which several exhibits may share.
      seeds: of every cell.
      jobs: runs at the same time.
      replicates: of the bootstrap over users.

    Returns:
      exhibit, title, base, reference, seeds, test_rows, test_users, `rows` (see `_row`), `verdict` (sentences),
      `left_out` and `failed` (run -> reason).

    Raises:
      ConfigError: `out` holds runs of something else.
      TrainingError: the base or the reference has no finished run, so that there is nothing to compare with.
    """
    runs = [Run(cell, seed, sessions, out) for seed in seeds for cell in exhibit.cells]
    failed = cells.run_all(runs, jobs)
    finished: dict[str, list[Run]] = {cell.name: [] for cell in exhibit.cells}
    for run in runs:
        if run.result() is not None:
            finished[run.cell.name].append(run)
    for role in (exhibit.base, exhibit.reference):
        if not finished[role]:
            raise TrainingError(f"no run of {role} is finished, with which the others are compared: {_first(failed)}")
    found = comparison.compare(
        {name: [run.predictions for run in done] for name, done in finished.items() if done},
        exhibit.base,
        [exhibit.reference],
        options=Options(replicates=replicates),
    )
    figures = {each["model"]: each for each in found["models"]}
    pairs = {each["other"]: each for each in found["pairs"]}
    rows = [
        _row(row, figures.get(row.cell.name), pairs.get(row.cell.name), finished[row.cell.name]) for row in exhibit.rows
    ]
    return {
        "exhibit": exhibit.name,
        "title": exhibit.title,
        "base": exhibit.base,
        "reference": exhibit.reference,
        "seeds": list(seeds),
        "test_rows": found["rows"],
        "test_users": found["users"],
        "rows": rows,
        "verdict": verdict(exhibit, rows),
        "left_out": list(exhibit.left_out),
        "failed": failed,
    }


def _row(
    row: Row, figures: Mapping[str, Any] | None, pair: Mapping[str, Any] | None, runs: Sequence[Run]
) -> dict[str, Any]:
    """Figures of one row; NaN where there are none.

    auc is the mean over seeds and auc_low, auc_high its 95 % t interval; users_low and users_high bound the AUC of the
    seed-averaged predictions by a bootstrap over users; difference, difference_low, difference_high and p_value are of
    the reference against this row, paired over users, p_value one-sided and corrected by Holm over the exhibit.
    """
    figures, pair = figures or {}, pair or {}
    numbers = {
        "auc": figures.get("auc"),
        "auc_low": figures.get("auc_low"),
        "auc_high": figures.get("auc_high"),
        "users_low": figures.get("averaged_auc_low"),
        "users_high": figures.get("averaged_auc_high"),
        "rela_impr": figures.get("rela_impr"),
        "difference": pair.get("difference"),
        "difference_low": pair.get("low"),
        "difference_high": pair.get("high"),
        "p_value": pair.get("p_holm"),
        "paper_auc": row.published.auc if row.published else None,
        "paper_rela_impr": row.published.rela_impr if row.published else None,
        "train_seconds": _mean([run.train_seconds for run in runs]),
        **{name: _mean([_panel_figure(run, name) for run in runs]) for name in _PANEL},
    }
    return {
        "model": row.cell.name,
        "label": row.label,
        "settings": list(row.cell.settings),
        "panel": row.panel,
        "x": row.x,
        "seeds": len(runs),
        "auc_by_seed": {str(run.seed): auc for run, auc in zip(runs, figures.get("auc_by_seed", ()), strict=True)},
        **{name: math.nan if value is None else value for name, value in numbers.items()},
    }


def verdict(exhibit: Exhibit, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the figures say, in sentences."""
    ours = next(row for row in rows if row["model"] == exhibit.reference)
    others = [row for row in rows if row["model"] != exhibit.reference and math.isfinite(row["auc"])]
    if not others:
        return ["There is nothing to compare HRL-Rec with."]
    better = [row for row in others if row["auc"] > ours["auc"]]
    rest = [row for row in others if row["auc"] <= ours["auc"]]
    ahead = [row for row in rest if row["difference"] > 0 and row["p_value"] < SIGNIFICANT]
    untested = [row for row in rest if not math.isfinite(row["p_value"])]
    undecided = [row for row in rest if row not in ahead and row not in untested]
    place = "first" if not better else f"number {len(better) + 1} of {len(others) + 1}"
    said = _peaks(rows) or [f"HRL-Rec is {place} by mean AUC ({ours['auc']:.4f})."]
    if ahead:
        said.append(f"Significantly ahead (p < {SIGNIFICANT:g}) of {_names(ahead)}.")
    if undecided:
        said.append(f"Its lead over {_names(undecided)} is not significant.")
    if untested:
        said.append(f"Not tested against {_names(untested)}.")
    if better:
        said.append(f"Behind {_names(better)}.")
    return said


def _peaks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where a figure's panels are highest."""
    said = []
    for panel in dict.fromkeys(row["panel"] for row in rows if row["panel"]):
        known = [row for row in rows if row["panel"] == panel and math.isfinite(row["auc"])]
        if known:
            best, worst = (pick(known, key=lambda row: row["auc"]) for pick in (max, min))
            said.append(f"By {panel}, AUC is highest at {_names([best])} and lowest at {_names([worst])}.")
    return said and [*said, "The preset's own values against the others:"]


def _names(rows: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{row['label']} ({row['auc']:.4f})" for row in rows)


def _panel_figure(run: Run, name: str) -> float:
    """What the run's last lists for the fixed request panel say; NaN for a model that builds none."""
    records = [each for each in model_folder.read_metrics(run.file("models")) if each.get("split") == "panel"]
    return float(records[-1].get(name, math.nan)) if records else math.nan


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _first(failed: Mapping[str, str]) -> str:
    return next((f"{run}: {reason}" for run, reason in failed.items()), "none was run")
