"""Compares models by the predictions that several seeds of each made for the same rows.

Per model: the mean of a metric over seeds with Student's t interval (how training varies), and the metric of the
predictions averaged over seeds with an interval by bootstrap over users (how the log varies); RelaImpr over a base.
Per pair of a reference and another model: the difference of the averaged predictions' metric, its interval and p by
paired bootstrap over users, and p corrected by Holm over all pairs of the call. A user's rows hang together, which
tests row by row, DeLong's among them, ignore. Any number of rows: see `evaluator`.
"""

import dataclasses
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hrlrec_tf.errors import ConfigError, DataError
from hrlrec_tf.evaluation import evaluator, predictions, significance
from hrlrec_tf.evaluation.figures import LOWER_IS_BETTER, PROBABILITY_METRICS, Evaluation
from hrlrec_tf.evaluation.metrics import rela_impr
from hrlrec_tf.evaluation.options import COMPARE_METRICS, COMPARE_REPLICATES, Options
from hrlrec_tf.evaluation.store import Part, Store

METRICS = COMPARE_METRICS
AREAS = ("auc", "gauc")  # metrics with chance at 0.5, for which RelaImpr is defined

Path = str | os.PathLike[str]


def compare(
    files: Mapping[str, Sequence[Path]],
    base: str,
    references: Sequence[str] = (),
    metric: str = "auc",
    options: Options | None = None,
) -> dict[str, Any]:
    """Compares models.

    Args:
      files: model -> its prediction files, one per seed; see `predictions`.
      base: model that RelaImpr is over.
      references: models that are tested against every model that is no reference; none: no tests.
      metric: one of METRICS.
      options: of the evaluation; by default COMPARE_REPLICATES replicates.

    Returns:
      rows, users, base, metric, replicates; `models`, best mean first, each with model, seeds, METRIC (mean over
      seeds), METRIC_low and METRIC_high (95 % t interval), METRIC_by_seed, averaged_METRIC (of the averaged
      predictions) with _low and _high (95 % bootstrap over users), and rela_impr in percent (of the means),
      averaged_rela_impr with _low and _high; `pairs`, each with reference, other, difference (averaged_METRIC of the
      reference minus the other's), low, high, p_value (one-sided, of "the reference is no better") and p_holm. NaN
      where there is no value: an interval over one seed, RelaImpr of a metric without chance level.

    Raises:
      ConfigError: the metric is unknown.
      DataError: a model has no file or is unknown, a file cannot be read, or files hold other rows.
    """
    _check(files, base, references, metric)
    options = dataclasses.replace(options or Options(COMPARE_REPLICATES), slices=False)
    with Store() as store:
        for path in dict.fromkeys(str(path) for paths in files.values() for path in paths):
            _check_probabilities(path, metric)
            for rows in predictions.read(path):
                store.add(path, rows)
            if metric in PROBABILITY_METRICS and not store.in_unit_interval(path):
                raise DataError(f"{path} holds predictions outside [0, 1], so they have no {metric}; compare by auc")
        by_file = evaluator.evaluate(store, dataclasses.replace(options, replicates=0))
        averaged = evaluator.evaluate(store, options, combine=_averages(files))
    seeds = {name: [by_file[str(path)].overall.values[metric] for path in paths] for name, paths in files.items()}
    models = [_model(name, seeds, averaged, base, metric) for name in files]
    sign = -1 if metric in LOWER_IS_BETTER else 1
    return {
        "rows": averaged[base].overall.rows,
        "users": averaged[base].overall.users,
        "base": base,
        "metric": metric,
        "replicates": options.replicates,
        "models": sorted(models, key=lambda model: -np.nan_to_num(sign * model[metric], nan=-np.inf)),
        "pairs": _pairs(averaged, references, metric),
    }


def named_files(paths: Sequence[Path]) -> dict[str, list[pathlib.Path]]:
    """Model -> its files, by seed, of files named MODEL-SEED.parquet and of folders of such.

    Raises:
      DataError: a name does not end with a seed, a folder holds no files, or a model and seed come twice.
    """
    found: dict[str, dict[int, pathlib.Path]] = {}
    for path in map(pathlib.Path, paths):
        files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not files:
            raise DataError(f"{path} holds no .parquet files; name a folder of predictions")
        for file in files:
            model, dash, seed = file.stem.rpartition("-")
            if not (dash and seed.isdigit()):
                raise DataError(f"{file} is not named MODEL-SEED.parquet, for instance best-0.parquet; rename it")
            if int(seed) in found.setdefault(model, {}):
                raise DataError(f"{file}: predictions of {model!r} with seed {seed} come twice; give each one name")
            found[model][int(seed)] = file
    return {model: [by_seed[seed] for seed in sorted(by_seed)] for model, by_seed in found.items()}


def paired_difference(ours: Evaluation, theirs: Evaluation, metric: str) -> dict[str, float]:
    """How much `ours` has more of a metric, of two models evaluated in one call: difference, low, high, p_value.

    `p_value` is one-sided, of "ours is no better"; for log loss less is better. NaN where one has no value.
    """
    ours_drawn, theirs_drawn = (each.overall.replicates.get(metric, np.zeros(0)) for each in (ours, theirs))
    low = high = p = math.nan
    if ours.overall.users >= significance.LEAST_USERS and len(ours_drawn) and len(theirs_drawn):
        low, high = significance.percentile_interval(ours_drawn - theirs_drawn)
        sign = -1 if metric in LOWER_IS_BETTER else 1
        p = significance.p_value(sign * ours_drawn, sign * theirs_drawn)
    difference = ours.overall.values[metric] - theirs.overall.values[metric]
    return {"difference": difference, "low": low, "high": high, "p_value": p}


def rela_impr_interval(ours: Evaluation, base: Evaluation, metric: str = "auc") -> tuple[float, float]:
    """95 % interval of RelaImpr by paired bootstrap over users, of two models evaluated in one call; NaNs without."""
    if ours.overall.users < significance.LEAST_USERS:
        return math.nan, math.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        above, base_above = (each.overall.replicates[metric] - 0.5 for each in (ours, base))
        return significance.percentile_interval((above / base_above - 1) * 100)


def _check(files: Mapping[str, Sequence[Path]], base: str, references: Sequence[str], metric: str) -> None:
    if metric not in METRICS:
        raise ConfigError(f"metric {metric!r} is unknown; choose one of {', '.join(METRICS)}")
    for role, name in (("base", base), *(("reference", name) for name in references)):
        if not files.get(name):
            raise DataError(f"no predictions of the {role} {name!r}; known: {', '.join(sorted(files)) or 'none'}")
    for name, paths in files.items():
        if not paths:
            raise DataError(f"no predictions of {name!r}; give it at least one file")


def _check_probabilities(path: str, metric: str) -> None:
    if metric in PROBABILITY_METRICS and not predictions.read_is_probability(path):
        raise DataError(
            f"{path} holds predictions that only order rows (no click loss), so they have no {metric}; compare by auc"
        )


def _averages(files: Mapping[str, Sequence[Path]]) -> evaluator.Combine:
    def combine(part: Part) -> dict[str, npt.NDArray[np.float64]]:
        return {name: np.mean([part.predictions[str(path)] for path in paths], axis=0) for name, paths in files.items()}

    return combine


def _model(
    name: str, seeds: Mapping[str, Sequence[float]], averaged: Mapping[str, Evaluation], base: str, metric: str
) -> dict[str, Any]:
    """Figures of one model."""
    ours, bases = averaged[name].overall, averaged[base].overall
    mean, base_mean = (float(np.mean(seeds[each])) for each in (name, base))
    found = {"model": name, "seeds": len(seeds[name]), metric: mean, f"{metric}_by_seed": list(seeds[name])}
    found[f"{metric}_low"], found[f"{metric}_high"] = significance.t_interval(np.array(seeds[name]))
    averages = f"averaged_{metric}"
    found[averages] = ours.values[metric]
    found[f"{averages}_low"], found[f"{averages}_high"] = ours.interval(metric)
    low = high = improvement = averaged_improvement = math.nan
    if metric in AREAS:
        improvement = rela_impr(mean, base_mean)
        averaged_improvement = rela_impr(ours.values[metric], bases.values[metric])
        low, high = rela_impr_interval(averaged[name], averaged[base], metric)
    return found | {
        "rela_impr": improvement,
        "averaged_rela_impr": averaged_improvement,
        "averaged_rela_impr_low": low,
        "averaged_rela_impr_high": high,
    }


def _pairs(averaged: Mapping[str, Evaluation], references: Sequence[str], metric: str) -> list[dict[str, Any]]:
    """Every reference against every model that is none."""
    others = [name for name in averaged if name not in references]
    pairs: list[dict[str, Any]] = [
        {"reference": ours, "other": theirs, **paired_difference(averaged[ours], averaged[theirs], metric)}
        for ours in dict.fromkeys(references)
        for theirs in others
    ]
    adjusted = significance.holm(np.array([pair["p_value"] for pair in pairs]))
    return [{**pair, "p_holm": float(p)} for pair, p in zip(pairs, adjusted, strict=True)]
