"""The pictures of the test of list effects, each with its numbers as a table."""

import math
from collections.abc import Mapping
from typing import Any

from hrlrec_tf.experiments import interval_charts
from hrlrec_tf.experiments.drawing import Reference
from hrlrec_tf.experiments.formatting import number
from hrlrec_tf.experiments.run_charts import Chart
from hrlrec_tf.log_health.list_effects import CONTROL, EFFECTS

_SHOWN = {
    "above": "what stands above",
    "shuffled": "control: random order",
    "feedback": "clicks above, on top",
}
_GAINS = {**_SHOWN, "order": "what stands above, beyond the random order"}
_ODDS = {**EFFECTS, CONTROL: "control: the row right below has the same channel"}
_ODDS_LABELS = ("above: same channel", "each above, channel", "each shared tag above", "control: below")


def effects(tested: Mapping[str, Any]) -> list[Chart]:
    """What the order inside lists adds to the prediction of clicks, and how much it changes the odds.

    Args:
      tested: as `list_effects.test` returns it.
    """
    return [_gains(tested.get("gains", {})), _odds(tested.get("odds_ratios", {}))]


def _gains(gains: Mapping[str, Any]) -> Chart:
    rows = [
        (
            label,
            *(number(gains[name]["auc"][each], 5) for each in ("value", "low", "high")),
            *(number(gains[name]["log_loss"][each], 5) for each in ("value", "low", "high")),
            number(gains[name]["log_loss"]["p_value"], 4),
        )
        for name, label in _GAINS.items()
        if gains
    ]  # fmt: skip
    shown = [gains[name]["auc"] for name in _SHOWN if gains]
    svg = interval_charts.interval_chart(
        "gains",
        "Gain in AUC: " + "; ".join(f"{row[0]} {row[1]}" for row in rows),
        list(_SHOWN.values())[: len(shown)],
        [each["value"] for each in shown],
        [(each["low"], each["high"]) for each in shown],
        [f"{each['value']:+.4f}" for each in shown],
        reference=Reference("none", 0.0),
    )
    caption = "Of predicting the click on users never seen; 95 % intervals over users. The control should be near 0."
    columns = ("model", "AUC gain", "low", "high", "log-loss gain", "low", "high", "p")
    return Chart("Gain in AUC", caption, svg, columns, rows)


def _odds(odds: Mapping[str, Any]) -> Chart:
    ratios = [odds.get(name, {}) for name in _ODDS]
    rows = [
        (label, *(number(odds[name][each], 4) for each in ("odds_ratio", "low", "high", "p_value")))
        for name, label in _ODDS.items()
        if odds
    ]
    svg = interval_charts.interval_chart(
        "odds",
        "Odds ratios: " + "; ".join(f"{row[0]} {row[1]}" for row in rows),
        _ODDS_LABELS,
        [each.get("odds_ratio", math.nan) for each in ratios],
        [(each.get("low", math.nan), each.get("high", math.nan)) for each in ratios],
        [number(each.get("odds_ratio"), 2) for each in ratios],
        reference=Reference("no effect", 1.0),
    )
    caption = (
        "By what the odds of a click are multiplied if the row right above has the same channel, by each row above of "
        "the channel, by each tag shared with a row above; and, as a control, if the row right below has the channel."
    )
    return Chart("Odds of a click", caption, svg, ("if", "odds ratio", "low", "high", "p"), rows)
