"""The model card of a run: what was learnt from which days, what the gates measured, and where everything came from."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hrlrec_tf.experiments import formatting
from tfx_pipeline import blessed
from tfx_pipeline.evaluator import COUNT

_MODELS = {"prediction": "this model", "prediction_base": "the last blessed model", "prediction_lr": "LR"}
_TITLES = {"data": "Data", "quality": "Quality", "stability": "Stability", "serving": "Serving"}


def build(
    faults: Sequence[str],
    window: Mapping[str, Any],
    gates: Mapping[str, Mapping[str, Any]],
    metrics: Mapping[str, Any],
    training: Mapping[str, Any],
    config: Mapping[str, Any],
    lineage: Mapping[str, Any],
) -> dict[str, Any]:
    """The card as plain values; its `version` is None until the model is pushed.

    Args:
      faults: why the model may not be pushed, as sentences; empty when it may.
      window: days of the run.
      gates: name -> report; see `reports`.
      metrics: of the evaluation: slice feature ("" for the whole) -> value -> metric -> number.
      training: `result.json` of the training.
      config: the model's settings.
      lineage: what the run was made of: URIs, digests, the version gone on from.
    """
    return {
        "version": None,
        "faults": list(faults),
        "window": dict(window),
        "metrics": dict(metrics),
        "gates": {name: dict(report) for name, report in gates.items()},
        "training": dict(training),
        "config": dict(config),
        "lineage": dict(lineage),
    }


def files(card: Mapping[str, Any]) -> dict[str, str]:
    """The card for programs and for people: file name -> text."""
    return {blessed.CARD: json.dumps(card, indent=2, sort_keys=True), blessed.CARD_TEXT: markdown(card)}


def markdown(card: Mapping[str, Any]) -> str:
    """The card for people."""
    window, lineage = card["window"], card["lineage"]
    base = lineage.get("base_version")
    lines = [
        f"# Model of {window['dates'][-1]}, refused" if card["faults"] else f"# Model {card['version']}",
        "",
        *(f"* **Not pushed:** {fault}." for fault in card["faults"]),
        *([""] if card["faults"] else []),
        f"Trained on {window['dates'][0]} to {window['dates'][-2]}, judged on {window['dates'][-1]}; "
        + (f"goes on from version {base}." if base else "the first model, trained from the start."),
        "",
        "## Metrics on the newest day",
        "",
        *_metrics_table(card["metrics"]),
        "",
        "## What the gates found",
        "",
    ]
    for name, report in card["gates"].items():
        lines += [f"**{_TITLES.get(name, name)}.** {_findings(report['findings'])}", ""]
    lines += _auc_table(card["gates"].get("quality", {}).get("figures", {}).get("auc", {}))
    lines += _shares(card["gates"].get("stability", {}).get("figures", {}))
    for title, values in (("Training", card["training"]), ("Lineage", lineage), ("Settings", card["config"])):
        lines += [f"## {title}", "", "```json", json.dumps(values, indent=2, sort_keys=True), "```", ""]
    return "\n".join(lines)


def _findings(findings: Sequence[str]) -> str:
    return " ".join(f"{finding[:1].upper()}{finding[1:]}." for finding in findings) or "Nothing to remark."


def _metrics_table(metrics: Mapping[str, Any]) -> list[str]:
    names = sorted({name for part in metrics.values() for values in part.values() for name in values})
    lines = ["| slice | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for feature, part in metrics.items():
        for value, figures in sorted(part.items()):
            cells = " | ".join(_figure(name, figures.get(name, math.nan)) for name in names)
            lines.append(f"| {f'{feature} {value}' if feature else 'all'} | {cells} |")
    return lines


def _figure(name: str, value: float) -> str:
    return formatting.count(value) if name == COUNT else f"{value:.4g}"


def _auc_table(figures: Mapping[str, Mapping[str, float]]) -> list[str]:
    if not figures:
        return []
    models = list(figures[""])
    lines = ["| AUC | " + " | ".join(_MODELS[name] for name in models) + " |", "|---|" + "---|" * len(models)]
    for channel, values in figures.items():
        lines.append(f"| {channel or 'all'} | " + " | ".join(f"{values[name]:.4f}" for name in models) + " |")
    return [*lines, ""]


def _shares(figures: Mapping[str, Any]) -> list[str]:
    if not figures:
        return []
    channels = sorted({channel for shown in figures.values() for channel in shown["channel_shares"]})
    lines = ["| the panel's lists | " + " | ".join(figures) + " |", "|---|" + "---|" * len(figures)]
    for channel in channels:
        cells = " | ".join(f"{shown['channel_shares'].get(channel, 0.0):.1%}" for shown in figures.values())
        lines.append(f"| share of {channel} | {cells} |")
    for name in ("distinct_lists", "between_user_channel_variance"):
        cells = " | ".join(f"{shown[name]:.4g}" for shown in figures.values())
        lines.append(f"| {name.replace('_', ' ')} | {cells} |")
    return [*lines, ""]
