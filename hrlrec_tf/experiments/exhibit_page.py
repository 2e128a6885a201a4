"""The page of an exhibit: what it says, its pictures, its table, and what it was made with."""

from collections.abc import Mapping, Sequence
from typing import Any

from hrlrec_tf.experiments import charts, exhibit_text, formatting, interval_charts
from hrlrec_tf.experiments.drawing import Ink, Series
from hrlrec_tf.experiments.point_chart import point_chart
from hrlrec_tf.experiments.report import template
from hrlrec_tf.experiments.run_charts import Chart
from hrlrec_tf.version import __version__

_SEEDS = "Dot: mean over seeds; line: 95 % interval of that mean."


def render(result: Mapping[str, Any]) -> str:
    """The page as HTML.

    Args:
      result: of `reproduce.reproduce`.
    """
    panels = sorted({row["panel"] for row in result["rows"]} - {""})
    pictures = [_panel(result, panel, f"panel-{i}") for i, panel in enumerate(panels)]
    return template("exhibit.html.j2").render(
        title=result["title"],
        version=__version__,
        result=result,
        columns=exhibit_text.columns(result),
        rows=[exhibit_text.cells(row) for row in result["rows"]],
        pictures=pictures or [_auc(result), _improvement(result)],
        seeds=["model", *(f"seed {seed}" for seed in result["seeds"]), "training takes"],
        by_seed=[_by_seed(row, result["seeds"]) for row in result["rows"]],
        settings=[(row["label"], ", ".join(row["settings"]) or "its own") for row in result["rows"]],
    )


def _auc(result: Mapping[str, Any]) -> Chart:
    """AUC of each row."""
    rows, table = result["rows"], _table(result["rows"], "label")
    labels, texts = [row["label"] for row in rows], [text for _, text, _ in table]
    svg = interval_charts.interval_chart("auc", _alt("AUC", table), labels, *_estimates(rows), texts)
    return Chart("AUC on the test rows", _SEEDS, svg, ("model", "AUC", "95 % over seeds"), table)


def _improvement(result: Mapping[str, Any]) -> Chart:
    """RelaImpr of each row beside the paper's."""
    rows = [row for row in result["rows"] if row["model"] != result["base"]]
    relative = [[exhibit_text.relative(row[name]) for name in ("rela_impr", "paper_rela_impr")] for row in rows]
    table = [(row["label"], *texts) for row, texts in zip(rows, relative, strict=True)]
    svg = charts.bar_chart(
        "rela-impr",
        _alt("RelaImpr here and in the paper", table),
        [row["label"] for row in rows],
        [
            Series("here", [row["rela_impr"] for row in rows], Ink.FIRST),
            Series("the paper's data", [row["paper_rela_impr"] for row in rows], Ink.QUIET),
        ],
        digits=1,
        unit=" %",
    )
    caption = f"AUC above chance, relative to {result['base']}."
    return Chart("RelaImpr", caption, svg, ("model", "here", "in the paper"), table)


def _panel(result: Mapping[str, Any], panel: str, name: str) -> Chart:
    """AUC along one axis of a figure."""
    rows = sorted((row for row in result["rows"] if row["panel"] == panel), key=lambda row: row["x"])
    table = _table(rows, "x")
    marked = next((row["x"] for row in rows if row["model"] == result["reference"]), None)
    svg = point_chart(
        name, _alt(f"AUC by {panel}", table), [row["x"] for row in rows], *_estimates(rows), panel, marked
    )
    caption = _SEEDS if marked is None else f"{_SEEDS} The preset's own value, {marked:g}, stands out."
    return Chart(f"AUC by {panel}", caption, svg, (panel, "AUC", "95 % over seeds"), table)


def _table(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[str, str, str]]:
    return [
        (
            row[key] if key == "label" else f"{row[key]:g}",
            formatting.number(row["auc"], 4),
            exhibit_text.interval(row["auc_low"], row["auc_high"]),
        )
        for row in rows
    ]


def _estimates(rows: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[tuple[float, float]]]:
    """Values and bounds."""
    return [row["auc"] for row in rows], [(row["auc_low"], row["auc_high"]) for row in rows]


def _by_seed(row: Mapping[str, Any], seeds: Sequence[int]) -> list[str]:
    """AUC of each seed and the time that one takes."""
    found = [formatting.number(row["auc_by_seed"].get(str(seed)), 4) for seed in seeds]
    return [row["label"], *found, f"{formatting.count(row['train_seconds'])} s"]


def _alt(title: str, table: Sequence[Sequence[str]]) -> str:
    return f"{title}: {'; '.join(' '.join(cells) for cells in table)}"
