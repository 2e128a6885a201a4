"""What is wrong with the newest day of a log, seen from the days before it: functions of what the Beam job counted.

Each finding is one sentence with the figures that it rests on. A *fault* must not be trained on, a *note* tells what
was handled.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hrlrec_tf.data.mending import BOT, DUPLICATE, REPEATED
from hrlrec_tf.experiments import formatting

Days = Mapping[str, Mapping[str, Any]]

HANDLED = (DUPLICATE, REPEATED, BOT)  # rejections that mend a log rather than prove it broken
_MANY = 1000  # from here on a number is shown whole
_NEEDED = "; look at what writes the log, and run the day again"


@dataclasses.dataclass(frozen=True)
class DataLimits:
    """How far the newest day may differ from the days before it.

    Attributes:
      rows: rows over the mean of the days before, lowest and highest.
      click_rate: ratio of click rates, lowest and highest.
      dwell_seconds: ratio of mean dwell times of clicked rows, lowest and highest.
      channel_share: largest change of a channel's share of rows.
      vanished: a channel with this share of the rows before may not be without rows.
      hours: largest share of rows that would have to move to another hour of the day (total variation).
      rejected: largest share of rejected rows of the newest day, duplicates and bots aside. Rejected rows of no known
        day count as of the newest.
      known: how much of the share of known values (of rows just before the day) a column must keep.
      drift: largest change of the distribution of an optional column of users or contexts: L-infinity distance of
        categories, Jensen-Shannon divergence of numbers.
      hours_rows: rows of a day from which on its hours are judged.
    """

    rows: tuple[float, float] = (0.3, 3.0)
    click_rate: tuple[float, float] = (0.5, 2.0)
    dwell_seconds: tuple[float, float] = (0.2, 5.0)
    channel_share: float = 0.25
    vanished: float = 0.01
    hours: float = 0.3
    rejected: float = 0.02
    known: float = 0.5
    drift: float = 0.3
    hours_rows: int = 1500


def faults(summary: Mapping[str, Any], dates: Sequence[str], limits: DataLimits) -> list[str]:
    """What must not be trained on.

    Args:
      summary: of the Beam job: see `schemas/README.md`.
      dates: the window's days, the newest last.
      limits: how far the newest day may differ.
    """
    days: Days = summary["days"]
    found = [*_rejections(dates[-1], summary, limits)]
    absent = [date for date in dates if date not in days]
    if absent:
        found.append(f"no usable rows of {', '.join(absent)}: late, or missing")
    else:
        newest, before = days[dates[-1]], [days[date] for date in dates[:-1]]
        found += [*_amounts(dates[-1], newest, before, limits), *_channels(dates[-1], newest, before, limits)]
        found += _hours(dates[-1], newest, before, limits)
    return [fault + _NEEDED for fault in found]


def notes(summary: Mapping[str, Any], dates: Sequence[str]) -> list[str]:
    """What was handled: repeated rows, bots, rejected rows of earlier days, new channels, rows newer than the day."""
    days: Days = summary["days"]
    rejected = summary["rejected"]
    told = [f"{rejected[reason]:,} rows were rejected as {reason}" for reason in HANDLED if rejected.get(reason)]
    broken: Counter[str] = Counter()
    for date, rows in summary["rejected_by_day"].items():
        broken += _broken(rows) if "" < date < dates[-1] else Counter()
    if broken:
        told.append(f"{broken.total():,} rows of days before {dates[-1]} were rejected, {_mostly(broken)}")
    before = {channel for date in dates[:-1] for channel in days.get(date, {"channels": {}})["channels"]}
    new = sorted(set(days.get(dates[-1], {"channels": {}})["channels"]) - before) if before else []
    told += [f"channel {channel!r} is new; it can be learnt from the next run on" for channel in new]
    later = {date: day["rows"] for date, day in days.items() if date > dates[-1]}
    if later:
        told.append(f"{sum(later.values()):,} rows are newer than {dates[-1]} and were not used")
    return told


def unknown(shares: Mapping[str, tuple[float, float]], limits: DataLimits) -> list[str]:
    """Columns whose values the model would hardly know.

    Args:
      shares: column -> share of known values of the rows just before the day, and of the day.
      limits: how far they may differ.
    """
    return [
        f"{column}: {day:.1%} of the newest day's values were seen in training, {before:.1%} just before it{_NEEDED}"
        for column, (before, day) in shares.items()
        if day < limits.known * before
    ]


def _amounts(
    date: str, newest: Mapping[str, Any], before: Sequence[Mapping[str, Any]], limits: DataLimits
) -> Iterator[str]:
    rows = float(np.mean([day["rows"] for day in before]))
    yield from _ratio(f"{date} has {newest['rows']:,} rows", "a day before it", rows, newest["rows"], limits.rows)
    weights = [day["rows"] for day in before]
    for name, what, bounds in (
        ("click_rate", "a click rate of", limits.click_rate),
        ("dwell_seconds", "a mean dwell time (seconds, clicked rows) of", limits.dwell_seconds),
    ):
        usual = float(np.average([day[name] for day in before], weights=weights))
        yield from _ratio(f"{date} has {what} {newest[name]:.4g}", "the days before it", usual, newest[name], bounds)


def _ratio(what: str, whose: str, usual: float, value: float, bounds: tuple[float, float]) -> Iterator[str]:
    if not bounds[0] * usual <= value <= bounds[1] * usual:
        shown = formatting.count(usual) if usual >= _MANY else f"{usual:.4g}"
        yield f"{what}, {whose} {shown}; accepted is {bounds[0]:g} to {bounds[1]:g} times that"


def _channels(
    date: str, newest: Mapping[str, Any], before: Sequence[Mapping[str, Any]], limits: DataLimits
) -> Iterator[str]:
    usual: dict[str, int] = {}
    for day in before:
        for channel, rows in day["channels"].items():
            usual[channel] = usual.get(channel, 0) + rows
    total = sum(usual.values())
    for channel, rows in sorted(usual.items()):
        share, now = rows / total, newest["channels"].get(channel, 0) / newest["rows"]
        if not now and share >= limits.vanished:
            yield f"channel {channel!r} has no rows on {date}, before it had {share:.1%} of all"
        elif abs(now - share) > limits.channel_share:
            yield f"channel {channel!r} has {now:.1%} of the rows on {date}, before it had {share:.1%}"
    new = sum(rows for channel, rows in newest["channels"].items() if channel not in usual) / newest["rows"]
    if new > limits.channel_share:
        yield f"{new:.1%} of the rows on {date} are of channels that were never seen before"


def _hours(
    date: str, newest: Mapping[str, Any], before: Sequence[Mapping[str, Any]], limits: DataLimits
) -> Iterator[str]:
    if newest["rows"] < limits.hours_rows:
        return
    usual = np.sum([day["hours"] for day in before], axis=0)
    moved = np.abs(usual / usual.sum() - np.array(newest["hours"]) / newest["rows"]).sum() / 2
    if moved > limits.hours:
        yield f"{moved:.1%} of the rows on {date} lie at other hours of the day than before: is a clock wrong?"


def _rejections(date: str, summary: Mapping[str, Any], limits: DataLimits) -> Iterator[str]:
    by_day = summary["rejected_by_day"]
    rejected = Counter(by_day.get(date, {})) + Counter(by_day.get("", {}))
    read = summary["days"].get(date, {"rows": 0})["rows"] + rejected.total()
    broken = _broken(rejected)
    if broken.total() > limits.rejected * read:
        yield f"{broken.total() / read:.1%} of the rows of {date} were rejected, {_mostly(broken)}"


def _broken(rejected: Mapping[str, int]) -> Counter[str]:
    """Rejected rows that prove a log broken, by reason."""
    return Counter({reason: rows for reason, rows in rejected.items() if reason not in HANDLED})


def _mostly(rejected: Counter[str]) -> str:
    return f"most of them for {max(rejected, key=lambda reason: rejected[reason])}"
