"""Which of some days differ from the others: each is held against the median of the rest, the oddest one first.

A comparison takes a date, its day as `summary.json` has it, the other days and what to call them, and gives a *finding*
for each limit that is exceeded: how many times, and one sentence with the figures.
"""

import math
import statistics
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from hrlrec_tf.experiments import formatting

Day: TypeAlias = Mapping[str, Any]
Days: TypeAlias = Mapping[str, Day]
Finding: TypeAlias = tuple[float, str]
Comparison: TypeAlias = Callable[[str, Day, Sequence[Day], str], Iterator[Finding]]

_OTHERS = "other days (median)"
_MANY = 1000  # from here on a number is shown whole
_AMOUNTS = {
    "rows": "{value:,} rows",
    "click_rate": "a click rate of {value:.4g}",
    "dwell_seconds": "a mean dwell time (seconds, clicked rows) of {value:.4g}",
}


def find(days: Days, judged: Collection[str], compare: Comparison) -> Iterator[tuple[str, str]]:
    """The odd days among `judged`, with a sentence for each finding.

    The oddest day is taken out before the others are looked at again, so that a bad day makes no good one look bad.
    Two days do not show which of them is the odd one: the newer that is judged is held against the other.
    """
    left = dict(days)
    while len(left) > 1:
        found = {}
        for date in left if len(left) > 2 else sorted(set(left).intersection(judged))[-1:]:
            others = [other for other in left if other != date]
            whose = _OTHERS if len(others) > 1 else others[0]
            found[date] = list(compare(date, left[date], [left[other] for other in others], whose))
        excess = {date: max(findings)[0] for date, findings in found.items() if findings}
        if not excess:
            return
        oddest = max(excess, key=lambda date: (excess[date], date in judged, date))
        if oddest in judged:
            yield from ((oddest, sentence) for _, sentence in found[oddest])
        del left[oddest]


def amounts(
    name: str, bounds: tuple[float, float], date: str, day: Day, others: Sequence[Day], whose: str
) -> Iterator[Finding]:
    """`rows`, `click_rate` or `dwell_seconds` beyond `bounds` times the usual."""
    usual, value = float(np.median([other[name] for other in others])), day[name]
    low, high = bounds[0] * usual, bounds[1] * usual
    if not low <= value <= high:
        has, shown = _AMOUNTS[name].format(value=value), formatting.count(usual) if usual >= _MANY else f"{usual:.4g}"
        accepted = f"accepted is {bounds[0]:g} to {bounds[1]:g} times that"
        yield max(_over(value, high), _over(low, value)), f"{date} has {has}, {whose} {shown}; {accepted}"


def channels(
    largest: float, vanished: float, date: str, day: Day, others: Sequence[Day], whose: str
) -> Iterator[Finding]:
    """Channels whose share of rows changed by more than `largest`, or is 0 where most days have `vanished` or more."""
    names = sorted({name for other in others for name in other["channels"]})
    shares_of = {name: [_channel_share(other, name) for other in others] for name in names}
    usual = {name: share for name, each in shares_of.items() if (share := float(np.median(each)))}
    for name, share in usual.items():
        now = _channel_share(day, name)
        change = _over(abs(now - share), largest)
        if not now and statistics.median_low(shares_of[name]) >= vanished:
            yield max(change, 1.0), f"channel {name!r} has no rows on {date}, {share:.1%} on {whose}"
        elif change > 1:
            yield change, f"channel {name!r} has {now:.1%} of the rows on {date}, {share:.1%} on {whose}"
    new = sum(_channel_share(day, name) for name in day["channels"] if name not in usual)
    if new > largest:
        yield _over(new, largest), f"{new:.1%} of the rows on {date} are of channels without rows on {whose}"


def hours(largest: float, date: str, day: Day, others: Sequence[Day], whose: str) -> Iterator[Finding]:
    """More than the share `largest` of rows would have to move to another hour of the day (total variation)."""
    usual = np.median([np.array(other["hours"]) / other["rows"] for other in others], axis=0)
    moved = float(np.abs(usual / (usual.sum() or 1.0) - np.array(day["hours"]) / day["rows"]).sum()) / 2
    if moved > largest:
        sentence = f"{moved:.1%} of the rows on {date} lie at other hours of the day than on {whose}: is a clock wrong?"
        yield _over(moved, largest), sentence


def shares(column: str, kept: float, date: str, day: Day, others: Sequence[Day], whose: str) -> Iterator[Finding]:
    """The `share` of values that other days have is less than `kept` times the usual."""
    usual, share = float(np.median([other["share"] for other in others])), day["share"]
    if share < kept * usual:
        sentence = f"{column}: {share:.1%} of the values of {date} are found on another day, {usual:.1%} on {whose}"
        yield _over(kept * usual, share), sentence


def _channel_share(day: Day, name: str) -> float:
    return day["channels"].get(name, 0) / day["rows"]


def _over(value: float, limit: float) -> float:
    return value / limit if limit else math.inf
