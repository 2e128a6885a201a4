"""What a log is like, in the numbers that a world can be fitted to; the same code measures real and simulated logs."""

import dataclasses
import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from hrlrec_tf.simulator.feed import DAY_MS, HOUR_MS
from hrlrec_tf.simulator.log_rows import LogRows

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)  # of the quantiles

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class LogProfile:
    """Statistics of a log with K channels whose longest list has T rows.

    Attributes:
      channels: names of the K channels.
      rows, lists, users, items, clicks: counts; users and items are those that occur.
      start: UTC date of the first list. days: from it to the date of the last one, both counted.
      item_shares, impression_shares: [K]; an item belongs to the channel that it stood in most often.
      click_rate: of all rows.
      channel_click_rates: [K]. channel_clicks: [K] counts.
      position_click_rates: [T]. position_rows: [T] counts.
      length_shares: [T] shares of the lists with 1, 2, ..., T rows.
      dwell_medians: [K] seconds, over clicked rows that have a dwell time; NaN where there are none.
      lists_per_user: quantiles, see SHARES. activity_spread: standard deviation of its logarithm.
      lists_per_visit: mean lists of a user on a day with any. most_lists_per_visit: its 99th percentile.
      history: quantiles of the rows that a user had before a list.
      hours: [24] shares of the lists by hour of the day, UTC.
      lists_by_day: [days].
      explored_share: of the rows that were drawn at random, as far as the log says so.
      scale: users of the trial per user of the world it stands for.
    """

    channels: tuple[str, ...]
    rows: int
    lists: int
    users: int
    items: int
    clicks: int
    start: datetime.date
    days: int
    item_shares: Floats
    impression_shares: Floats
    click_rate: float
    channel_click_rates: Floats
    channel_clicks: Floats
    position_click_rates: Floats
    position_rows: Floats
    length_shares: Floats
    dwell_medians: Floats
    lists_per_user: Floats
    activity_spread: float
    lists_per_visit: float
    most_lists_per_visit: float
    history: Floats
    hours: Floats
    lists_by_day: Floats
    explored_share: float
    scale: float = 1.0

    @property
    def weekend(self) -> npt.NDArray[np.bool_]:
        """[days] whether each day is a Saturday or Sunday."""
        return (self.start.weekday() + np.arange(self.days)) % 7 >= 5

    @property
    def weekend_share(self) -> float:
        """Share of the lists of Saturdays and Sundays."""
        return float(self.lists_by_day[self.weekend].sum() / self.lists)


def measure(rows: LogRows) -> LogProfile:
    """The profile of some rows, at least one."""
    count, clicked = len(rows.channels), rows.clicked.astype(float)
    by_channel, clicks = np.bincount(rows.channel, minlength=count), np.bincount(rows.channel, clicked, count)
    by_place, place_clicks = np.bincount(rows.place)[1:], np.bincount(rows.place, clicked)[1:]
    lengths = np.bincount(rows.list)
    items = _item_channels(rows, count)
    start, by_day = _days(rows)
    return LogProfile(
        channels=rows.channels,
        rows=len(rows),
        lists=len(lengths),
        users=len(np.unique(rows.user)),
        items=len(items),
        clicks=int(clicked.sum()),
        start=start,
        days=len(by_day),
        item_shares=np.bincount(items, minlength=count) / len(items),
        impression_shares=by_channel / len(rows),
        click_rate=float(clicked.mean()),
        channel_click_rates=clicks / np.maximum(by_channel, 1),
        channel_clicks=clicks.astype(float),
        position_click_rates=place_clicks / np.maximum(by_place, 1),
        position_rows=by_place.astype(float),
        length_shares=np.bincount(lengths)[1:] / len(lengths),
        dwell_medians=_dwell_medians(rows, count),
        **_activity(rows, lengths),
        hours=np.bincount(_list_times(rows) % DAY_MS // HOUR_MS, minlength=24) / len(lengths),
        lists_by_day=by_day,
        explored_share=float(rows.explored.mean()),
    )


def _list_times(rows: LogRows) -> npt.NDArray[np.int64]:
    return rows.time[rows.place == 1]


def _item_channels(rows: LogRows, count: int) -> npt.NDArray[np.int64]:
    """[items]: the channel that each item that occurs stood in most often."""
    pairs, shown = np.unique(rows.item * count + rows.channel, return_counts=True)
    order = np.lexsort((shown, pairs // count))
    last = np.append(np.diff(pairs[order] // count) != 0, True)
    return pairs[order][last] % count


def _days(rows: LogRows) -> tuple[datetime.date, Floats]:
    days = _list_times(rows) // DAY_MS
    first = int(days.min())
    return datetime.date(1970, 1, 1) + datetime.timedelta(first), np.bincount(days - first).astype(float)


def _dwell_medians(rows: LogRows, count: int) -> Floats:
    spent = rows.clicked & (rows.dwell > 0)
    values = [rows.dwell[spent & (rows.channel == channel)] for channel in range(count)]
    return np.array([np.median(each) if len(each) else np.nan for each in values])


def _activity(rows: LogRows, lengths: npt.NDArray[np.int64]) -> dict[str, Any]:
    """How lists fall on users and days, and how much a list's user had seen before."""
    first = rows.place == 1
    user = np.unique(rows.user[first], return_inverse=True)[1]
    per_user = np.bincount(user)
    day = rows.time[first] // DAY_MS
    per_visit = np.unique(user * (int(day.max()) + 1) + day, return_counts=True)[1]
    order = np.lexsort((rows.time[first], user))
    before = np.cumsum(lengths[order]) - lengths[order]
    starts = np.cumsum(per_user) - per_user
    history = before - np.repeat(before[starts], per_user)
    return {
        "lists_per_user": np.quantile(per_user, SHARES),
        "activity_spread": float(np.log(per_user).std()),
        "lists_per_visit": float(per_visit.mean()),
        "most_lists_per_visit": float(np.quantile(per_visit, 0.99)),
        "history": np.quantile(history, SHARES),
    }
