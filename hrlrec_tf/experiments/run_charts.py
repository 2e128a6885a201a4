"""The pictures of one run: training curves, evaluation slices, channel mix; each with its numbers as a table."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hrlrec_tf.evaluation.panel import PanelStatistics
from hrlrec_tf.experiments import charts, formatting
from hrlrec_tf.experiments.drawing import Ink, Reference, Series

MOST_BARS = 20  # groups in one picture; the table has all

# Level, its name and ink.
LEVELS = (("channel", "channel selector", Ink.FIRST), ("item", "item recommender", Ink.SECOND))
Line = tuple[str, str, Ink]  # name, metric, ink
_LOSSES = {
    "critic": ("Critic loss", "Squared error of Q against the reward plus the discounted Q of the next position."),
    "actor": ("Actor loss", "Minus the Q of what the actor itself would choose: lower is a better expected return."),
    "click": ("Click loss", "Cross-entropy of each level's click prediction."),
    "similarity": (
        "Similarity loss",
        "Minus the cosine of an action and its nearest real item; −1 is a perfect match.",
    ),
}


@dataclasses.dataclass(frozen=True)
class Chart:
    """A picture with what it says.

    Attributes:
      title: short.
      caption: how to read it, or what it shows here.
      svg: element to inline; "" when there is nothing to draw.
      columns: heads of the table of its numbers.
      rows: cells as text.
    """

    title: str
    caption: str
    svg: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def training_charts(records: Sequence[Mapping[str, Any]], prefix: str = "") -> list[Chart]:
    """Validation AUC, losses per level and Q against logged return per level.

    Args:
      records: lines of a model folder's `metrics.jsonl`.
      prefix: of the pictures' names, where a page shows several runs.
    """
    train, validation = of_split(records, "train"), of_split(records, "validation")
    curves = [curve(f"{prefix}auc", "Validation AUC", _best_epoch(validation), validation, [("AUC", "auc", Ink.FIRST)])]
    for loss, (title, caption) in _LOSSES.items():
        curves.append(curve(f"{prefix}loss-{loss}", title, caption, train, both_levels(f"{loss}_loss")))
    for level, title, ink in LEVELS:
        caption = "Mean Q of displayed rows should come to lie at the mean discounted return of the log."
        lines = [("mean Q", f"{level}_q_mean", ink), ("logged return", f"{level}_return_mean", Ink.QUIET)]
        curves.append(curve(f"{prefix}q-{level}", f"Q of the {title}", caption, train, lines))
    return curves


def of_split(records: Sequence[Mapping[str, Any]], split: str) -> list[Mapping[str, Any]]:
    """The records of one split."""
    return [record for record in records if record.get("split") == split]


def both_levels(metric: str) -> list[Line]:
    """A metric's line of each level."""
    return [(name, f"{level}_{metric}", ink) for level, name, ink in LEVELS]


def calibration_chart(records: Sequence[Mapping[str, Any]]) -> Chart:
    """Predicted over actual clicks on the validation rows, epoch by epoch."""
    validation = of_split(records, "validation")
    caption = "Predicted over actual clicks on validation rows; 1 is perfect."
    lines = [("predicted / actual clicks", "calibration", Ink.FIRST)]
    return curve("calibration", "Calibration while training", caption, validation, lines, Reference("perfect", 1.0))


def auc_chart(name: str, title: str, by_slice: Mapping[str, float], overall: Any, order: Sequence[str] = ()) -> Chart:
    """AUC per slice, as bars that start at chance.

    Args:
      name: of the picture, unique in its page.
      title: of the picture; its first column is the slice.
      by_slice: slice -> AUC, NaN where a slice has one class only.
      overall: AUC over all rows, drawn as a line; None or NaN when unknown.
      order: slices that come first.
    """
    keys = _ordered(by_slice, order)
    values = [as_float(by_slice[key]) for key in keys]
    caption = _cut_note("Bars start at 0.5, which is chance; the dotted line is all rows together.", len(keys))
    svg = charts.bar_chart(
        name,
        _alt(title, zip(keys, map(formatting.number, values), strict=True)),
        keys[:MOST_BARS],
        [Series("AUC", values[:MOST_BARS], Ink.FIRST)],
        baseline=0.5,
        reference=Reference("all rows", as_float(overall)),
    )
    return Chart(title, caption, svg, ("slice", "AUC"), [(key, formatting.number(by_slice[key], 4)) for key in keys])


def channel_mix_chart(logged: Mapping[str, float], panel: PanelStatistics | None, order: Sequence[str]) -> Chart:
    """Channel shares of logged and of recommended lists, side by side."""
    recommended = panel.channel_shares if panel else {}
    keys = _ordered({**logged, **recommended}, order)
    shares = [[source.get(key, 0.0) if source else math.nan for key in keys] for source in (logged, recommended)]
    texts = [[formatting.percent(share) for share in column] for column in shares]
    rows = list(zip(keys, *texts, strict=True))
    described = ((key, f"{before} logged, {after} recommended") for key, before, after in rows)
    svg = charts.bar_chart(
        "mix",
        _alt("Channel mix", described),
        keys[:MOST_BARS],
        [
            Series("logged", [100 * share for share in shares[0][:MOST_BARS]], Ink.QUIET),
            Series("recommended", [100 * share for share in shares[1][:MOST_BARS]], Ink.FIRST),
        ],
        digits=0,
        unit=" %",
    )
    caption = _cut_note("Share of each channel in the lists that were logged and that this model ranks.", len(keys))
    return Chart("Channel mix", caption, svg, ("channel", "logged", "recommended"), rows)


def curve(
    name: str,
    title: str,
    caption: str,
    records: Sequence[Mapping[str, Any]],
    lines: Sequence[Line],
    reference: Reference | None = None,
    log: bool = False,
) -> Chart:
    """Metrics over epochs."""
    series = [
        Series(label, [as_float(record.get(metric)) for record in records], ink, dash=i)
        for i, (label, metric, ink) in enumerate(lines)
    ]
    return epochs_chart(
        name, title, caption, [as_float(record.get("epoch")) for record in records], series, reference, log
    )


def epochs_chart(
    name: str,
    title: str,
    caption: str,
    epochs: Sequence[float],
    series: Sequence[Series],
    reference: Reference | None = None,
    log: bool = False,
) -> Chart:
    """Lines over epochs, with their numbers."""
    rows = [
        (formatting.count(epoch), *(formatting.number(line.values[i], 4) for line in series))
        for i, epoch in enumerate(epochs)
    ]
    last = ((line.name, rows[-1][i + 1]) for i, line in enumerate(series)) if rows else ()
    svg = charts.line_chart(name, _alt(f"{title} by epoch, at the end", last), epochs, series, "epoch", reference, log)
    return Chart(title, caption, svg, ("epoch", *(line.name for line in series)), rows)


def _best_epoch(validation: Sequence[Mapping[str, Any]]) -> str:
    known = [record for record in validation if formatting.finite(record.get("auc"))]
    if not known:
        return "There were no validation rows of both classes; the last epoch's networks are the model."
    best = max(known, key=lambda record: record["auc"])
    epoch, auc = formatting.count(best.get("epoch")), formatting.number(best["auc"], 4)
    return f"Best in epoch {epoch}: {auc}. That epoch's networks are the model."


def _ordered(values: Mapping[str, Any], order: Sequence[str]) -> list[str]:
    """Keys of `values`: those in `order` first, the rest as they stand."""
    return list(dict.fromkeys([*(key for key in order if key in values), *values]))


def _cut_note(caption: str, groups: int) -> str:
    return caption if groups <= MOST_BARS else f"{caption} The first {MOST_BARS} of {groups}; the table has all."


def _alt(title: str, parts: Any) -> str:
    return f"{title}: {'; '.join(f'{key} {value}' for key, value in parts)}"


def as_float(value: Any) -> float:
    """A number as float, NaN for whatever is none."""
    return float(value) if formatting.finite(value) else math.nan
