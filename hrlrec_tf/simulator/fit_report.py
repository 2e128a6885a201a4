"""How like a log a simulated one is: statistic by statistic, side by side."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hrlrec_tf.simulator.log_profile import SHARES, LogProfile

_TEXT = {"count": "{:,.0f}", "share": "{:.1%}", "number": "{:.2f}"}


def compare(log: LogProfile, simulated: LogProfile) -> list[dict[str, Any]]:
    """One entry per statistic: `statistic`, `of` (a channel, a position, a quantile or ""), `log`, `simulated`, `kind`.

    Both profiles have the same channels; a position that one of them lacks is left out.
    """
    ours, theirs = ({(name, of): value for name, of, _, value in _statistics(each)} for each in (log, simulated))
    kinds = {(name, of): kind for name, of, kind, _ in _statistics(log)}
    return [
        {"statistic": name, "of": of, "log": value, "simulated": theirs[name, of], "kind": kinds[name, of]}
        for (name, of), value in ours.items()
        if (name, of) in theirs
    ]


def as_text(fit: Sequence[Mapping[str, Any]]) -> str:
    """The comparison for people."""
    rows: list[tuple[str, ...]] = [("", "log", "simulated")]
    for each in fit:
        name = f"{each['statistic']}, {each['of']}" if each["of"] else each["statistic"]
        rows.append((name, *(_shown(each[side], each["kind"]) for side in ("log", "simulated"))))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows)


def _shown(value: float, kind: str) -> str:
    return "-" if np.isnan(value) else _TEXT[kind].format(value)


def _statistics(log: LogProfile) -> Iterator[tuple[str, str, str, float]]:
    """(name, of what, kind, value) of every statistic."""
    for name in ("rows", "lists", "users", "items", "days"):
        yield name, "", "count", float(getattr(log, name))
    yield "mean list length", "", "number", log.rows / log.lists
    yield "click rate", "", "share", log.click_rate
    by_channel = {
        "share of items": ("share", log.item_shares),
        "share of impressions": ("share", log.impression_shares),
        "click rate": ("share", log.channel_click_rates),
        "median dwell seconds": ("number", log.dwell_medians),
    }
    for name, (kind, values) in by_channel.items():
        for channel, value in zip(log.channels, values, strict=True):
            yield name, channel, kind, float(value)
    for position, value in enumerate(log.position_click_rates, start=1):
        yield "click rate", f"position {position}", "share", float(value)
    for name, kind, quantiles in (
        ("lists per user", "number", log.lists_per_user),
        ("rows of history", "count", log.history),
    ):
        for share, value in zip(SHARES, quantiles, strict=True):
            yield name, f"{share:.0%} quantile", kind, float(value)
    yield "lists per user and day", "", "number", log.lists_per_visit
    for first in range(0, 24, 6):
        yield "share of lists", f"{first}:00 to {first + 6}:00", "share", float(log.hours[first : first + 6].sum())
    yield "share of lists", "Saturday and Sunday", "share", log.weekend_share
