"""The page of Table 3."""

from collections.abc import Mapping, Sequence
from typing import Any

from hrlrec_tf.experiments import interval_charts, table3_text
from hrlrec_tf.experiments.drawing import Reference
from hrlrec_tf.experiments.report import template
from hrlrec_tf.experiments.run_charts import Chart
from hrlrec_tf.version import __version__

_NAMES = {"ctr": "Click-through rate", "acn": "Clicks per user and day", "awt": "Watched tags per user and day"}


def render(result: Mapping[str, Any]) -> str:
    """The page as HTML.

    Args:
      result: of `table3.reproduce`.
    """
    groups = table3_text.by_click_model(result["rows"])
    return template("ab_test.html.j2").render(
        title=result["title"],
        version=__version__,
        result=result,
        heads=table3_text.HEADS,
        groups={
            title: {
                "rows": [table3_text.cells(row) for row in rows],
                "pictures": [_lifts(rows, metric, f"{metric}-{n}") for metric in _NAMES],
            }
            for n, (title, rows) in enumerate(groups.items())
        },
        split_heads=table3_text.SPLIT_HEADS,
        split=[table3_text.split_cells(row) for row in result["split"]],
        offline_heads=table3_text.OFFLINE_HEADS,
        offline={
            title: [table3_text.offline_cells(row) for row in rows]
            for title, rows in table3_text.by_click_model(result["offline"]).items()
        },
    )


def _lifts(rows: Sequence[Mapping[str, Any]], metric: str, name: str) -> Chart:
    """Lift over the base of every policy but the references."""
    shown = [row for row in rows if row["model"] not in ("oracle", "logging") and row[f"{metric}_lift"] != 0]
    table = [(row["label"], table3_text.lift(row, metric)) for row in shown]
    svg = interval_charts.interval_chart(
        name,
        f"{_NAMES[metric]}, lift over the base: {'; '.join(' '.join(cells) for cells in table)}",
        [row["label"] for row in shown],
        [100 * row[f"{metric}_lift"] for row in shown],
        [(100 * row[f"{metric}_low"], 100 * row[f"{metric}_high"]) for row in shown],
        [table3_text.signed(row[f"{metric}_lift"]) for row in shown],
        unit=" %",
        reference=Reference("base", 0.0),
    )
    caption = "Lift over LR with channel rules; line: 95 % over users and seeds."
    return Chart(_NAMES[metric], caption, svg, ("policy", "lift"), table)
