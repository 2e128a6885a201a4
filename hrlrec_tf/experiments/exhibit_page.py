"""The page of an exhibit: what it says, its table, its pictures, and how it was made."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hrlrec_tf.experiments import charts, exhibit_text, formatting, interval_charts
from hrlrec_tf.experiments.charts import Ink, Series
from hrlrec_tf.experiments.interval_charts import Interval
from hrlrec_tf.experiments.report import template
from hrlrec_tf.experiments.run_charts import Chart
from hrlrec_tf.version import __version__

_SEEDS = "Dot: mean over seeds; whiskers: 95 % interval of that mean."


def render(result: Mapping[str, Any]) -> str:
    """The page as HTML.

    Args:
      result: of `reproduce.reproduce`.
    """
    panels = list(dict.fromkeys(row["panel"] for row in result["rows"] if row["panel"]))
    return template("exhibit.html.j2").render(
        title=result["title"],
        version=__version__,
        result=result,
        columns=exhibit_text.columns(result),
        rows=[exhibit_text.cells(row) for row in result["rows"]],
        pictures=[_panel(result, panel) for panel in panels] or [_auc(result), _improvement(result)],
        by_seed=[_seeds(row, len(result["seeds"])) for row in result["rows"]],
        settings=[(row["label"], ", ".join(row["settings"]) or "the preset's own") for row in result["rows"]],
    )


def _auc(result: Mapping[str, Any]) -> Chart:
    """AUC of each row."""
    rows = result["rows"]
    marked = next(i for i, row in enumerate(rows) if row["model"] == result["reference"])
    table = [
        (row["label"], formatting.number(row["auc"], 4), exhibit_text.interval(row["auc_low"], row["auc_high"]))
        for row in rows
    ]
    svg = interval_charts.row_chart("auc", _alt("AUC", table), [row["label"] for row in rows], _intervals(rows), marked)
    return Chart("AUC on the test rows", _SEEDS, svg, ("model", "AUC", "95 % over seeds"), table)


def _improvement(result: Mapping[str, Any]) -> Chart:
    """RelaImpr of each row beside the paper's."""
    rows = [row for row in result["rows"] if row["model"] != result["base"]]
    table = [
        (row["label"], exhibit_text.relative(row["rela_impr"]), exhibit_text.relative(row["paper_rela_impr"]))
        for row in rows
    ]
    svg = charts.bar_chart(
        "rela-impr",
        _alt("RelaImpr here and in the paper", table),
        [row["label"] for row in rows],
        [
            Series("here", [row["rela_impr"] for row in rows], Ink.FIRST),
            Series("in the paper, on its own data", [row["paper_rela_impr"] for row in rows], Ink.QUIET),
        ],
        digits=1,
        unit=" %",
    )
    caption = f"Relative improvement of AUC above chance over {result['base']}."
    return Chart("RelaImpr", caption, svg, ("model", "here", "in the paper"), table)


def _panel(result: Mapping[str, Any], panel: str) -> Chart:
    """AUC along one axis of a figure."""
    rows = sorted((row for row in result["rows"] if row["panel"] == panel), key=lambda row: row["x"])
    table = [
        (f"{row['x']:g}", formatting.number(row["auc"], 4), exhibit_text.interval(row["auc_low"], row["auc_high"]))
        for row in rows
    ]
    marked = next((row["x"] for row in rows if row["model"] == result["reference"]), None)
    name = f"panel-{sorted({row['panel'] for row in result['rows']}).index(panel)}"
    svg = interval_charts.point_chart(
        name, _alt(f"AUC by {panel}", table), [row["x"] for row in rows], _intervals(rows), panel, marked
    )
    return Chart(
        f"AUC by {panel}", f"{_SEEDS} Marked: the preset's own value.", svg, (panel, "AUC", "95 % over seeds"), table
    )


def _intervals(rows: Sequence[Mapping[str, Any]]) -> list[Interval]:
    return [Interval(row["auc"], row["auc_low"], row["auc_high"]) for row in rows]


def _seeds(row: Mapping[str, Any], seeds: int) -> list[str]:
    """AUC of each seed and the time that one takes."""
    found = [formatting.number(auc, 4) for auc in row["auc_by_seed"]]
    seconds = row["train_seconds"]
    time = f"{seconds:,.0f} s" if math.isfinite(seconds) else formatting.DASH
    return [row["label"], *found, *[formatting.DASH] * (seeds - len(found)), time]


def _alt(title: str, table: Sequence[Sequence[str]]) -> str:
    return f"{title}: {'; '.join(' '.join(cells) for cells in table)}"
