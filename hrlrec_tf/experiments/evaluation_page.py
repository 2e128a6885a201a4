"""The page of an evaluation: headline figures, calibration and slices, and the difference to a base."""

from collections.abc import Mapping
from typing import Any

from hrlrec_tf.experiments import formatting
from hrlrec_tf.experiments.evaluation_charts import evaluation_charts
from hrlrec_tf.experiments.report import template
from hrlrec_tf.version import __version__

_HEADLINES = {
    "auc": "AUC",
    "gauc": "AUC per user",
    "log_loss": "Log loss",
    "calibration": "Predicted over actual clicks",
    "ndcg": "NDCG@{ndcg_at} per list",
    "hit_rate": "Hit rate@{hit_rate_at} per list",
}


def render(title: str, evaluation: Mapping[str, Any]) -> str:
    """The page as HTML.

    Args:
      title: heading of the page.
      evaluation: what `hrlrec evaluate --json` holds.
    """
    differences = evaluation.get("differences", {})
    return template("evaluation.html.j2").render(
        title=title,
        version=__version__,
        evaluation=evaluation,
        tiles=[_tile(evaluation, metric, name.format(**evaluation)) for metric, name in _HEADLINES.items()],
        charts=evaluation_charts(evaluation),
        rela_impr=_signed(evaluation.get("rela_impr"), 1),
        rela_impr_interval=_interval(evaluation.get("rela_impr_low"), evaluation.get("rela_impr_high"), 1),
        differences=[
            (
                metric.replace("_", " "),
                _signed(each["difference"], 4),
                _interval(each["low"], each["high"], 4),
                formatting.number(each["p_value"]),
            )
            for metric, each in differences.items()
        ],
    )


def _tile(evaluation: Mapping[str, Any], metric: str, name: str) -> tuple[str, str, str]:
    """Name, value, and its interval or why there is no value."""
    note = evaluation["missing"].get(metric) or _interval(
        evaluation.get(f"{metric}_low"), evaluation.get(f"{metric}_high"), 4
    )
    return name, formatting.number(evaluation.get(metric), 4), note


def _interval(low: Any, high: Any, digits: int) -> str:
    if not (formatting.finite(low) and formatting.finite(high)):
        return "no interval"
    return f"95 %: {low:.{digits}f} to {high:.{digits}f}"


def _signed(value: Any, digits: int) -> str:
    return f"{value:+.{digits}f}" if formatting.finite(value) else formatting.DASH
