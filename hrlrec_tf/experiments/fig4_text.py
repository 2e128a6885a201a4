"""Figure 4 as text."""

from collections.abc import Mapping
from typing import Any

from hrlrec_tf.experiments import exhibit_text, fig4, formatting
from hrlrec_tf.experiments.table3_text import signed

HEADS = ("model", "channel", "share", "mean change", "95 % over seeds", "max change", "noise floor", "shock: max")
MODEL_HEADS = ("model", "seeds", "clicks per user and day", "CTR", "between-user variance", "paper, video: mean", "max")


def cells(row: Mapping[str, Any]) -> list[str]:
    """One channel under one model."""
    low, high = row["mean_change_low"], row["mean_change_high"]
    known = formatting.finite(low)
    return [
        row["label"],
        row["channel"],
        formatting.percent(row["share"]),
        formatting.percent(row["mean_change"]),
        f"{formatting.percent(low)} to {formatting.percent(high)}" if known else formatting.DASH,
        formatting.percent(row["max_change"]),
        formatting.percent(row["noise_floor"]),
        formatting.percent(row.get("shock_max_change")),
    ]


def model_cells(row: Mapping[str, Any]) -> list[str]:
    """What goes with a model's stability."""
    paper = fig4.PAPER[row["model"]]
    return [
        row["label"],
        str(row["seeds"]),
        formatting.number(row["acn"], 3),
        formatting.percent(row["ctr"], 2),
        formatting.number(row["between_user_channel_variance"], 4),
        *(signed(value) for value in paper),
    ]


def markdown(result: Mapping[str, Any]) -> str:
    """Title, tables, verdict."""
    seeds = len(result["seeds"])
    lines = [f"{result['title']}: {result['users']:,} users, {seeds} seed{'s' * (seeds > 1)}", ""]
    lines += [*exhibit_text.table(HEADS, map(cells, result["rows"])), ""]
    lines += [*exhibit_text.table(MODEL_HEADS, map(model_cells, result["models"])), ""]
    lines += [f"- {sentence}" for sentence in result["verdict"]]
    lines += [f"- failed: {run}: {reason}" for run, reason in result["failed"].items()]
    return "\n".join(lines)
