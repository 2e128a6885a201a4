"""Table 3 as text: one Markdown table per click model."""

from collections.abc import Mapping, Sequence
from typing import Any

from hrlrec_tf.experiments import exhibit_text, formatting

HEADS = (
    *("policy", "CTR", "CTR lift", "ACN lift", "AWT lift", "p CTR", "p ACN", "to the oracle: ACN"),
    *("requests", "tags a list", "abandoned", "paper: CTR", "paper: ACN"),
)
SPLIT_HEADS = ("click model", "sample ratio p", "A/A CTR", "A/A ACN", "A/B CTR", "A/B ACN")
OFFLINE_HEADS = (
    *("policy", "AUC on the log", "IPS, first item", "effective lists", "IPS, first channel", "effective lists"),
    *("CTR lift in the test", "ACN lift in the test"),
)


def cells(row: Mapping[str, Any]) -> list[str]:
    """One policy under one click model."""
    return [
        row["label"],
        formatting.percent(row["ctr"], 2),
        *(lift(row, metric) for metric in ("ctr", "acn", "awt")),
        *(exhibit_text.probability(row[f"{metric}_p"]) for metric in ("ctr", "acn")),
        formatting.number(row["acn_place"], 2),
        formatting.number(row["requests"], 3),
        formatting.number(row["list_tags"], 1),
        formatting.percent(row["abandonment"]),
        *(signed(row[f"paper_{metric}_lift"]) for metric in ("ctr", "acn")),
    ]


def lift(row: Mapping[str, Any], metric: str) -> str:
    """A lift with its interval; the base has none."""
    low, high = row[f"{metric}_low"], row[f"{metric}_high"]
    if not (formatting.finite(low) and low < high):
        return signed(row[f"{metric}_lift"])
    return f"{signed(row[f'{metric}_lift'])} ({100 * low:+.1f} to {100 * high:+.1f})"


def signed(value: float) -> str:
    """A relative difference in percent."""
    return f"{100 * value:+.1f} %" if formatting.finite(value) else formatting.DASH


def split_cells(row: Mapping[str, Any]) -> list[str]:
    """The split test of one click model."""
    lifts = [f"{signed(v)} ({signed(low)} to {signed(high)})" for v, low, high in _split_lifts(row)]
    return [row["click_model"], exhibit_text.probability(row["sample_ratio_p"]), *lifts]


def offline_cells(row: Mapping[str, Any]) -> list[str]:
    """Offline beside online of one policy."""
    estimates = [
        text
        for level in ("item", "channel")
        for text in (
            formatting.percent(row[f"{level}_value"]),
            formatting.number(row[f"{level}_effective_sample_size"], 0),
        )
    ]
    return [
        row["label"],
        formatting.number(row["auc"], 4),
        *estimates,
        signed(row["ctr_lift"]),
        signed(row["acn_lift"]),
    ]


def by_click_model(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Title -> rows of one click model."""
    titles = {row["click_model"]: row["unseen"] for row in rows}
    return {
        f"Click model {name}{', unseen in training' if unseen else ''}": [r for r in rows if r["click_model"] == name]
        for name, unseen in titles.items()
    }


def markdown(result: Mapping[str, Any]) -> str:
    """Title, tables, verdict."""
    seeds, users = len(result["seeds"]), result["users"]
    lines = [f"{result['title']}: {users:,} users, {result['trial_days']} days, {seeds} seed{'s' * (seeds > 1)}", ""]
    for title, rows in by_click_model(result["rows"]).items():
        lines += [f"{title}, all users under every policy:", "", *exhibit_text.table(HEADS, map(cells, rows)), ""]
    lines += ["Users dealt to three arms, A and A' under the base, B under HRL-Rec:", ""]
    lines += [*exhibit_text.table(SPLIT_HEADS, map(split_cells, result["split"])), ""]
    lines += ["What the log said of the same models:", ""]
    seen = [row for row in result["offline"] if not row["unseen"]]
    lines += [*exhibit_text.table(OFFLINE_HEADS, map(offline_cells, seen)), ""]
    lines += [f"- {sentence}" for sentence in result["verdict"]]
    lines += [f"- failed: {run}: {reason}" for run, reason in result["failed"].items()]
    return "\n".join(lines)


def _split_lifts(row: Mapping[str, Any]) -> list[Sequence[float]]:
    return [row[f"{test}_{metric}"] for test in ("aa", "ab") for metric in ("ctr", "acn")]
