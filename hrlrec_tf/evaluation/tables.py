"""Evaluations and comparisons as text: aligned tables for the terminal, Markdown for documents."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hrlrec_tf.evaluation.figures import METRICS, Evaluation, Figures
from hrlrec_tf.evaluation.options import Options

_NONE = "-"
_SLICE_METRICS = ("auc", "gauc", "log_loss", "calibration_error", "ndcg", "hit_rate")


def evaluation(found: Evaluation, options: Options) -> str:
    """All figures of one model; a metric without a value has its reason beside it."""
    whole = found.overall
    lines = [
        f"rows         {whole.rows:,} of {whole.users:,} users in {whole.lists:,} lists",
        *(f"{metric:<17} {_with_interval(whole, metric)}" for metric in METRICS),
    ]
    if whole.auc_error_bound:
        lines.append(f"auc is from counts in bins: at most {whole.auc_error_bound:.1g} from the exact one")
    left_out = f"{whole.lists_left_out:,} of {whole.lists:,} lists with one row or no click are left out"
    lines.append(f"ndcg is @{options.ndcg_at}, hit_rate @{options.hit_rate_at}; {left_out}")
    for dimension, slices in found.slices.items():
        if slices:
            lines += ["", *aligned([[dimension, "rows", "click_rate", *_SLICE_METRICS], *map(_slice, slices.items())])]
            lines += [
                f"  {name}: no {metric.replace('_', ' ')}, for {reason}"
                for name, figures in slices.items()
                for metric, reason in figures.missing.items()
                if metric == "auc"
            ]
    return "\n".join(lines)


def against_base(result: Mapping[str, Any]) -> str:
    """What `hrlrec evaluate --base` adds: RelaImpr, and differences by metric (`comparison.paired_difference`)."""
    rows = [["against the base", "difference", "95 % interval", "p (no better)"]]
    for metric, each in result["differences"].items():
        span = _span(each["low"], each["high"], "+.4f")
        rows.append([metric, _number(each["difference"], "+.4f"), span, _number(each["p_value"])])
    span = _span(result["rela_impr_low"], result["rela_impr_high"], "+.2f")
    improvement = f"rela_impr    {_number(result['rela_impr'])} %, 95 % interval {span}"
    return "\n".join([f"base_auc     {_number(result['base_auc'])}", improvement, "", *aligned(rows)])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the cells of each column below each other, the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    first, *others = widths
    return [
        "  ".join([row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], others, strict=True))])
        for row in rows
    ]


def comparison_markdown(result: Mapping[str, Any]) -> str:
    """The figures of `comparison.compare` as Markdown tables."""
    metric, name = result["metric"], _title(result["metric"])
    head = f"{result['rows']:,} rows, {result['users']:,} users; RelaImpr over {result['base']}"
    lines = [head, "", *_markdown(_MODELS.format(name=name).split("|"))]
    for model in result["models"]:
        averages = f"averaged_{metric}"
        seeds = _span(model[f"{metric}_low"], model[f"{metric}_high"]) if model["seeds"] > 1 else "one seed"
        cells = (
            model["model"],
            str(model["seeds"]),
            _number(model[metric]),
            seeds,
            _number(model[averages]),
            _span(model[f"{averages}_low"], model[f"{averages}_high"]),
            _percent(model["rela_impr"]),
            _span(model["averaged_rela_impr_low"], model["averaged_rela_impr_high"], "+.1f"),
        )
        lines.append(_row(cells))
    if result["pairs"]:
        lines += ["", *_markdown(("reference", "other", f"difference in {name}", "95 % interval", "p", "p (Holm)"))]
    for pair in result["pairs"]:
        span = _span(pair["low"], pair["high"], "+.4f")
        difference = _number(pair["difference"], "+.4f")
        p_values = (_number(pair["p_value"]), _number(pair["p_holm"]))
        lines.append(_row((pair["reference"], pair["other"], difference, span, *p_values)))
    return "\n".join(lines)


_MODELS = "model|seeds|mean {name}|over seeds|{name} of mean prediction|over users|RelaImpr|over users"


def _title(metric: str) -> str:
    return {"auc": "AUC", "gauc": "GAUC", "ndcg": "NDCG"}.get(metric, metric.replace("_", " "))


def _markdown(head: Sequence[str]) -> list[str]:
    return [_row(head), _row(["---"] * len(head))]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _with_interval(figures: Figures, metric: str) -> str:
    if metric in figures.missing:
        return f"{_NONE} ({figures.missing[metric]})"
    low, high = figures.interval(metric)
    span = f"  [{low:.4f}, {high:.4f}]" if math.isfinite(low) else ""
    return f"{figures.values[metric]:.4f}{span}"


def _slice(entry: tuple[str, Figures]) -> list[str]:
    name, figures = entry
    values = [_number(figures.values[metric]) for metric in ("click_rate", *_SLICE_METRICS)]
    low, high = figures.interval("auc")
    values[1] += f" [{_number(low)}, {_number(high)}]" if math.isfinite(low) else ""
    return [name, f"{figures.rows:,}", *values]


def _number(value: float, form: str = ".4f") -> str:
    return format(value, form) if math.isfinite(value) else _NONE


def _percent(value: float) -> str:
    return f"{value:+.1f} %" if math.isfinite(value) else _NONE


def _span(low: float, high: float, form: str = ".4f") -> str:
    return f"{format(low, form)} to {format(high, form)}" if math.isfinite(low) and math.isfinite(high) else _NONE
