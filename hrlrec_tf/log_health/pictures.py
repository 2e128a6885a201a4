"""The pictures of a log, each with its numbers as a table."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hrlrec_tf.experiments import charts, interval_charts
from hrlrec_tf.experiments.drawing import Ink, Reference, Series
from hrlrec_tf.experiments.formatting import count, number, percent
from hrlrec_tf.experiments.run_charts import MOST_BARS, Chart
from hrlrec_tf.log_health.examine import DWELL_EDGES, QUANTILES

_INKS = (Ink.FIRST, Ink.SECOND, Ink.THIRD, Ink.FOURTH, Ink.FIFTH, Ink.SIXTH)


def clicks(health: Mapping[str, Any]) -> list[Chart]:
    """Click rate by channel, by position and by both."""
    rates = health["click_rate"]
    overall = 100 * rates["all"].get("click_rate", math.nan)
    return [
        _rates("click-channel", "Click rate by channel", "channel", rates["by_channel"], overall),
        _rates("click-position", "Click rate by position", "position", rates["by_position"], overall),
        _click_grid(rates),
    ]


def _rates(name: str, title: str, of: str, rates: Mapping[str, Mapping[str, float]], overall: float) -> Chart:
    shown = list(rates.items())[:MOST_BARS]
    rows = [
        (key, count(each["rows"]), count(each["users"]), *(percent(each[v], 2) for v in ("click_rate", "low", "high")))
        for key, each in rates.items()
    ]
    cut = f" The first {MOST_BARS} of {len(rates)}." if len(rates) > MOST_BARS else ""
    return Chart(
        title,
        f"With 95 % intervals over users; the dotted line is all rows.{cut}",
        interval_charts.interval_chart(
            name,
            f"{title}: " + "; ".join(f"{row[0]} {row[3]}" for row in rows[:MOST_BARS]),
            [key for key, _ in shown],
            [100 * each["click_rate"] for _, each in shown],
            [(100 * each["low"], 100 * each["high"]) for _, each in shown],
            [f"{100 * each['click_rate']:.1f} %" for _, each in shown],
            unit=" %",
            reference=Reference("all", overall),
        ),
        (of, "rows", "users", "click rate", "low", "high"),
        rows,
    )


def _click_grid(rates: Mapping[str, Any]) -> Chart:
    channels, positions = list(rates["by_channel"])[:MOST_BARS], list(rates["by_position"])
    both = rates["by_channel_and_position"]
    values = [
        [100 * both[channel].get(position, {}).get("click_rate", math.nan) for position in positions]
        for channel in channels
    ]
    rows = [
        (channel, position, count(each["rows"]), *(percent(each[name], 2) for name in ("click_rate", "low", "high")))
        for channel in rates["by_channel"]
        for position, each in both[channel].items()
    ]
    return Chart(
        "Click rate by channel and position",
        "In percent; the table has rows and intervals.",
        interval_charts.grid_chart(
            "click-grid",
            f"Click rate of {len(channels)} channels at {len(positions)} positions; the table has the numbers.",
            channels,
            positions,
            values,
            "position",
        ),
        ("channel", "position", "rows", "click rate", "low", "high"),
        rows,
    )


def over_time(health: Mapping[str, Any]) -> list[Chart]:
    """Rows, lists, users, items, channel shares and click rate by period."""
    table = health["periods"]
    rows, length = table.get("rows", []), table["days"]
    every = "day" if length == 1 else f"{length} days"
    channels = sorted(table["channels"], key=lambda name: -sum(table["channels"][name]))
    shown = channels[: len(_INKS)]
    mix = [
        [100 * part / whole if whole else math.nan for part, whole in zip(table["channels"][name], rows, strict=True)]
        for name in shown
    ]
    cut = f" The {len(shown)} largest of {len(channels)}." if len(channels) > len(shown) else ""
    rate = [[100 * each for each in table.get("click_rate", [])]]
    splits = [table.get(split, []) for split in ("train", "validation", "eval")]
    return [
        _time("time-rows", "Rows", f"Per {every}, by split.", table, ("train", "validation", "eval"), splits),
        _time(
            "time-who", "Lists, users and items", f"Distinct per {every}.", table, ("lists", "users", "items"),
            [table.get(name, []) for name in ("lists", "users", "items")],
        ),
        _time("time-mix", "Channel shares", f"Of the rows, per {every}.{cut}", table, shown, mix, " %"),
        _time("time-clicks", "Click rate", f"Per {every}.", table, ("click rate",), rate, " %"),
    ]  # fmt: skip


def _time(
    name: str,
    title: str,
    caption: str,
    table: Mapping[str, Any],
    names: Sequence[str],
    values: Sequence[Sequence[float]],
    unit: str = "",
) -> Chart:
    days = table["first_day"]
    series = [Series(each, line, ink) for each, line, ink in zip(names, values, _INKS, strict=False)]
    digits = 1 if unit else 0
    return Chart(
        title,
        caption,
        interval_charts.date_chart(
            name, f"{title} over {len(days)} periods; the table has the numbers.", days, series, unit
        ),
        ("from", *names),
        [
            (interval_charts.day_text(day), *(number(line[i], digits) + unit for line in values))
            for i, day in enumerate(days)
        ],
    )  # fmt: skip


def lists_and_history(health: Mapping[str, Any]) -> list[Chart]:
    """How long lists are, how much history rows have, and how long users were away."""
    lengths = {str(length): lists for length, lists in health["list_lengths"].items()}
    history = {split: values for split, values in health["history"].items() if sum(values.values())}
    caption = "Share of the rows by impressions of their user in the session's history."
    away = "Time since the user's last impression"
    return [
        _shares("list-lengths", "List length", "Share of the lists by rows.", "rows", {"lists": lengths}),
        _shares("history", "History", caption, "history rows", history),
        _shares("gaps", away, "Share of the lists.", "time", {"lists": health["gaps"]}),
    ]


def cold(health: Mapping[str, Any]) -> Chart:
    """How much of the later splits training never saw."""
    names = {
        "rows_of_new_users": "rows of new users", "rows_of_new_items": "rows of new items",
        "new_users": "users that are new", "new_items": "items that are new",
    }  # fmt: skip
    splits = [split for split, values in health["cold"].items() if any(map(math.isfinite, values.values()))]
    series = [
        Series(split, [100 * health["cold"][split][name] for name in names], ink)
        for split, ink in zip(splits, (Ink.QUIET, Ink.FIRST), strict=False)
    ]
    rows = [(label, *(percent(health["cold"][split][name]) for split in splits)) for name, label in names.items()]
    alt = "; ".join(f"{row[0]} {', '.join(row[1:])}" for row in rows)
    svg = charts.bar_chart("cold", f"Never seen in training: {alt}", list(names.values()), series, digits=0, unit=" %")
    return Chart("Never seen in training", "Share of later rows, users and items.", svg, ("what", *splits), rows)


def dwell(health: Mapping[str, Any]) -> list[Chart]:
    """Dwell times above 0: quantiles by channel, and a histogram of all."""
    times = dict(sorted(health["dwell"].items(), key=lambda entry: -entry[1]["rows"]))
    shown = list(times.items())[:MOST_BARS]
    bins = [sum(counts) for counts in zip(*(each["histogram"] for each in times.values()), strict=True)]
    edges = [f"{low:g} to {high:g} s" for low, high in zip(DWELL_EDGES[1:-1], DWELL_EDGES[2:], strict=True)]
    labels = [f"under {DWELL_EDGES[1]:g} s", *edges[:-1], f"over {DWELL_EDGES[-2]:g} s"]
    quantiles = Chart(
        "Dwell time by channel",
        "Where it is above 0: median, middle half (thick) and 10 % to 90 % (thin).",
        interval_charts.interval_chart(
            "dwell",
            "Median dwell time: " + "; ".join(f"{name} {each['p50']:.3g} s" for name, each in shown),
            [name for name, _ in shown],
            [each["p50"] for _, each in shown],
            [(each["p10"], each["p90"]) for _, each in shown],
            [f"{each['p50']:.3g} s" for _, each in shown],
            inner=[(each["p25"], each["p75"]) for _, each in shown],
            unit=" s",
            log=True,
        ),
        ("channel", "rows", *QUANTILES),
        [(name, count(each["rows"]), *(f"{each[q]:.3g} s" for q in QUANTILES)) for name, each in times.items()],
    )
    histogram = dict(zip(labels, bins, strict=False))
    return [quantiles, _shares("dwell-bins", "Dwell time", "Share of the rows with one.", "dwell", {"rows": histogram})]


def _shares(name: str, title: str, caption: str, of: str, groups: Mapping[str, Mapping[str, int]]) -> Chart:
    """Bars of each group's shares."""
    keys = list(next(iter(groups.values()), {}))
    totals = {group: sum(values.values()) for group, values in groups.items()}
    series = [
        Series(
            group, [100 * values[key] / totals[group] if totals[group] else math.nan for key in keys[:MOST_BARS]], ink
        )
        for (group, values), ink in zip(groups.items(), _INKS, strict=False)
    ]
    rows = [
        (key, *(f"{count(values[key])} ({percent(values[key] / totals[group] if totals[group] else None)})"
                for group, values in groups.items()))
        for key in keys
    ]  # fmt: skip
    alt = f"{title}: " + "; ".join(f"{row[0]} {', '.join(row[1:])}" for row in rows[:MOST_BARS])
    cut = f" The first {MOST_BARS} of {len(keys)}." if len(keys) > MOST_BARS else ""
    svg = charts.bar_chart(name, alt, keys[:MOST_BARS], series, digits=0, unit=" %")
    return Chart(title, caption + cut, svg, (of, *groups), rows)
