"""The pictures of an evaluation: how probabilities keep their word, and AUC by slice; each with its numbers as a table.

They take the plain values of `hrlrec evaluate --json` (`Evaluation.to_dict`), where NaN may be None.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hrlrec_tf.experiments import formatting
from hrlrec_tf.experiments.drawing import Ink, Reference, as_svg, drawing
from hrlrec_tf.experiments.interval_charts import interval_chart
from hrlrec_tf.experiments.run_charts import MOST_BARS, Chart, as_float

_TITLES = {"channel": "AUC by channel", "position": "AUC by position", "activity": "AUC by what users had seen before"}
_SQUARE = 3.4  # inches


def evaluation_charts(evaluation: Mapping[str, Any], prefix: str = "") -> list[Chart]:
    """The calibration curve, then AUC by each dimension that has slices; those without numbers have no picture.

    Args:
      evaluation: `Evaluation.to_dict()`.
      prefix: of the pictures' names, where a page shows several evaluations.
    """
    slices = evaluation.get("slices", {})
    return [
        reliability_chart(f"{prefix}reliability", evaluation.get("calibration_curve", ())),
        *(
            slice_chart(f"{prefix}auc-{dimension}", title, slices[dimension], evaluation.get("auc"))
            for dimension, title in _TITLES.items()
            if slices.get(dimension)
        ),
    ]


def reliability_chart(name: str, curve: Sequence[Mapping[str, Any]]) -> Chart:
    """Share of clicked rows over mean prediction, bin by bin, with 95 % intervals; on the diagonal is perfect.

    Args:
      name: of the picture, unique in its page.
      curve: points with rows, predicted, clicked, low, high.
    """
    points = [{key: as_float(value) for key, value in point.items()} for point in curve]
    rows = [
        (
            formatting.count(point["rows"]),
            *(formatting.number(point[key], 4) for key in ("predicted", "clicked", "low", "high")),
        )
        for point in points
    ]
    described = "; ".join(f"predicted {row[1]}, clicked {row[2]}" for row in rows)
    svg = ""
    if points:
        predicted, clicked, low, high = (
            np.array([point[key] for point in points]) for key in ("predicted", "clicked", "low", "high")
        )
        top = min(1.0, 1.05 * max(np.nanmax([predicted, clicked, high]), 1e-3))
        with drawing(_SQUARE) as (figure, axes):
            axes.plot([0, top], [0, top], color=Ink.QUIET.value[0], linewidth=0.8, linestyle=(0, (1, 2)))
            axes.vlines(predicted, low, high, color=Ink.FIRST.value[0], linewidth=1.2)
            axes.plot(predicted, clicked, "o", color=Ink.FIRST.value[0], markersize=5)
            axes.set_xlabel("mean prediction")
            axes.set_ylabel("share clicked")
            axes.set(xlim=(0, top), ylim=(0, top))
            axes.set_aspect("equal")
            axes.grid()
            svg = as_svg(figure, name, f"Share of clicked rows by mean prediction: {described}")
    caption = "Bins of equally many rows; on the dotted line a prediction of 30 % is clicked 30 times of 100."
    return Chart("Calibration", caption, svg, ("rows", "predicted", "clicked", "low", "high"), rows)


def slice_chart(name: str, title: str, slices: Mapping[str, Mapping[str, Any]], overall: Any) -> Chart:
    """AUC of each slice with its 95 % interval, first slice on top.

    Args:
      name: of the picture, unique in its page.
      title: of the picture.
      slices: slice -> figures with auc, auc_low, auc_high, rows, missing.
      overall: AUC of all rows, drawn as a line; None or NaN when unknown.
    """
    rows = [(key, formatting.count(figures.get("rows")), *_cells(figures)) for key, figures in slices.items()]
    shown = list(slices)[:MOST_BARS]
    values, low, high = (
        np.array([as_float(slices[key].get(column)) for key in shown]) for column in ("auc", "auc_low", "auc_high")
    )
    svg = interval_chart(
        name,
        f"{title}: {'; '.join(f'{row[0]} {row[2]}' for row in rows)}",
        shown,
        values.tolist(),
        list(zip(low, high, strict=True)),
        [row[2] for row in rows[: len(shown)]],
        reference=Reference("all rows", as_float(overall)),
    )
    cut = "" if len(slices) <= MOST_BARS else f" The first {MOST_BARS} of {len(slices)}; the table has all."
    caption = f"Lines are 95 % intervals over users; the dotted line is all rows together.{cut}"
    return Chart(title, caption, svg, ("slice", "rows", "AUC", "95 % interval"), rows)


def _cells(figures: Mapping[str, Any]) -> tuple[str, str]:
    """AUC, or why there is none, and its interval."""
    reason = figures.get("missing", {}).get("auc")
    if reason:
        return f"{formatting.DASH} ({reason})", formatting.DASH
    low, high = (formatting.number(figures.get(f"auc_{end}"), 4) for end in ("low", "high"))
    span = formatting.DASH if formatting.DASH in (low, high) else f"{low} to {high}"
    return formatting.number(figures.get("auc"), 4), span
