"""What is wrong with a day of a log, seen from the other days of its window: functions of what the Beam job counted.

Each finding is one sentence with the figures that it rests on. A *fault* must not be trained on, a *note* tells what
was handled.
"""

import dataclasses
import functools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from hrlrec_tf.data.mending import BOT, DUPLICATE, REPEATED
from hrlrec_tf.data.validation import LEFT_OUT
from tfx_pipeline import odd_days
from tfx_pipeline.odd_days import Days

HANDLED = (DUPLICATE, REPEATED, BOT)  # rejections that mend a log rather than prove it broken
_NEEDED = "; look at what writes the log, and run the day again"


@dataclasses.dataclass(frozen=True)
class DataLimits:
    """How far a day may differ from the other days of its window, whose median is the usual.

    Attributes:
      rows: rows over the usual, lowest and highest.
      click_rate: click rate over the usual, lowest and highest.
      dwell_seconds: mean dwell time of clicked rows over the usual, lowest and highest.
      channel_share: largest change of a channel's share of rows.
      vanished: a channel that usually has this share of the rows may not be without rows.
      hours: largest share of rows that would have to move to another hour of the day (total variation).
      rejected: largest share of a day's rows that were rejected, duplicates and bots aside. Rejected rows of no known
        day count as of the newest.
      known: how much of the share of known values (of rows just before the newest day) a column must keep; of a
        training day, of the share of values that other days have, too.
      drift: largest change of the newest day's distribution of an optional column of users or contexts: L-infinity
        distance of categories, Jensen-Shannon divergence of numbers.
      hours_rows: rows of a day from which on its hours are judged, and others by them.
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


def faults(
    summary: Mapping[str, Any], dates: Sequence[str], limits: DataLimits, believed: Collection[str] = ()
) -> list[str]:
    """What must not be trained on, of each day of a window.

    Args:
      summary: of the Beam job: see `schemas/README.md`.
      dates: the window's days, the newest last.
      limits: how far a day may differ.
      believed: days that are not judged as training days, since an earlier run found no fault in them.
    """
    days: Days = {date: summary["days"][date] for date in dates if date in summary["days"]}
    judged = to_judge(dates, believed)
    found = [(date, fault) for date in judged for fault in _rejections(date, dates[-1], summary, limits)]
    found += [(date, f"no usable rows of {date}: late, or missing") for date in dates if date not in days]
    for name, bounds in (
        ("rows", limits.rows),
        ("click_rate", limits.click_rate),
        ("dwell_seconds", limits.dwell_seconds),
    ):
        found += odd_days.find(days, judged, functools.partial(odd_days.amounts, name, bounds))
    found += odd_days.find(days, judged, functools.partial(odd_days.channels, limits.channel_share, limits.vanished))
    by_hour = {date: day for date, day in days.items() if day["rows"] >= limits.hours_rows}
    found += odd_days.find(by_hour, judged, functools.partial(odd_days.hours, limits.hours))
    return [fault + _remedy(date, dates[-1]) for date, fault in found]


def to_judge(dates: Sequence[str], believed: Collection[str]) -> list[str]:
    """The newest of a window's days, and the others that no earlier run found without fault."""
    return [date for date in dates if date == dates[-1] or date not in believed]


def notes(summary: Mapping[str, Any], dates: Sequence[str], without: Sequence[str] = ()) -> list[str]:
    """What was handled: repeated rows, bots, rejected rows of earlier days, new channels, rows newer than the day.

    Args:
      summary, dates: as of `faults`.
      without: the days that were left out.
    """
    days: Days = summary["days"]
    rejected = summary["rejected"]
    told = [f"{rejected[reason]:,} rows were rejected as {reason}" for reason in HANDLED if rejected.get(reason)]
    by_day = summary["rejected_by_day"]
    told += [f"{date} was left out, {by_day.get(date, {}).get(LEFT_OUT, 0):,} rows" for date in without]
    broken: Counter[str] = Counter()
    for date, rows in by_day.items():
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


def solitary(
    shares: Mapping[str, Mapping[str, float]], dates: Sequence[str], limits: DataLimits, believed: Collection[str] = ()
) -> list[str]:
    """Training days with other values than the rest of the window, as of another encoding or other ids.

    Args:
      shares: column -> date -> share of the day's values that other days have, too.
      dates, limits, believed: as of `faults`.
    """
    judged = to_judge(dates, believed)[:-1]
    found = list[tuple[str, str]]()
    for column, by_date in shares.items():
        days = {date: {"share": by_date[date]} for date in dates if date in by_date}
        found += odd_days.find(days, judged, functools.partial(odd_days.shares, column, limits.known))
    return [fault + _remedy(date, dates[-1]) for date, fault in found]


def _remedy(date: str, newest: str) -> str:
    return _NEEDED if date == newest else f"; mend its log and run again, or leave the day out: --without {date}"


def _rejections(date: str, newest: str, summary: Mapping[str, Any], limits: DataLimits) -> Iterator[str]:
    by_day = summary["rejected_by_day"]
    rejected = Counter(by_day.get(date, {})) + Counter(by_day.get("", {}) if date == newest else {})
    read = summary["days"].get(date, {"rows": 0})["rows"] + rejected.total()
    broken = _broken(rejected)
    if broken.total() > limits.rejected * read:
        yield f"{broken.total() / read:.1%} of the rows of {date} were rejected, {_mostly(broken)}"


def _broken(rejected: Mapping[str, int]) -> Counter[str]:
    """Rejected rows that prove a log broken, by reason."""
    return Counter({reason: rows for reason, rows in rejected.items() if reason not in (*HANDLED, LEFT_OUT)})


def _mostly(rejected: Counter[str]) -> str:
    return f"most of them for {max(rejected, key=lambda reason: rejected[reason])}"
