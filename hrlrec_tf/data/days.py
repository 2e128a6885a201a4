"""What a log holds day by day: rows, clicks, dwell time, channels and hours, for the gates of a daily run."""

import datetime
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from hrlrec_tf.data import columns
from hrlrec_tf.data.rules import Day

KEYS = ["date", "hour", "channel"]
SUMS = ["rows", "clicked", "dwell_seconds"]
HOURS = 24

# Rejected rows by day (ISO date, "" where no time is known) and reason.
Rejected = Counter[tuple[str, str]]


def local(timestamps: npt.NDArray[np.int64], day: Day) -> pd.DatetimeIndex:
    """Timestamps (ms UTC) on a clock of the day's time zone that shows 00:00 where a day begins."""
    utc = pd.DatetimeIndex(timestamps.astype("datetime64[ms]").astype("datetime64[ns]")).tz_localize("UTC")
    return utc.tz_convert(day.zone).tz_localize(None) - day.offset


def dates(timestamps: npt.NDArray[np.int64], day: Day) -> npt.NDArray[np.int64]:
    """The day of each timestamp (ms UTC), as a number that grows by one a day."""
    return local(timestamps, day).to_numpy().astype("datetime64[D]").astype(np.int64)


def rejected(reasons: Sequence[str], timestamps: npt.NDArray[np.int64], day: Day) -> Rejected:
    """Counts rejected rows.

    Args:
      reasons: of each row. timestamps: of each row, ms UTC; 0 where none is known.
      day: where a day begins.
    """
    dated = np.datetime_as_string(dates(timestamps, day).astype("datetime64[D]"))
    return Counter(zip(np.where(timestamps > 0, dated, "").tolist(), reasons, strict=True))


def by_reason(rows: Rejected) -> Counter[str]:
    """Rejected rows of all days, by reason."""
    counts: Counter[str] = Counter()
    for (_, reason), count in rows.items():
        counts[reason] += count
    return counts


def by_day(rows: Rejected) -> dict[str, dict[str, int]]:
    """Rejected rows by reason, of each day."""
    counts: dict[str, dict[str, int]] = {}
    for (date, reason), count in sorted(rows.items()):
        counts.setdefault(date, {})[reason] = count
    return counts


def profile(table: pa.Table, day: Day) -> pd.DataFrame:
    """Sums of rows by day, hour and channel.

    Args:
      table: accepted rows: `timestamp`, `channel`, `clicks`, `dwell_seconds`.
      day: where a day begins.

    Returns:
      One line per day (ISO date), hour of the day and channel that occur: SUMS; `dwell_seconds` is of clicked rows.
    """
    clock = local(columns.flat(table["timestamp"]).to_numpy(), day)
    clicked = columns.flat(table["clicks"]).to_numpy() > 0
    dwell = columns.flat(table["dwell_seconds"]).to_numpy().astype(np.float64)
    rows = pd.DataFrame(
        {
            "date": clock.to_numpy().astype("datetime64[D]"),
            "hour": clock.hour,
            "channel": columns.flat(table["channel"]).to_pandas(),
            "rows": 1,
            "clicked": clicked.astype(np.int64),
            "dwell_seconds": np.where(clicked, dwell, 0.0),
        }
    )
    return rows.groupby(KEYS, as_index=False)[SUMS].sum()


def total(profiles: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The sum of profiles; there must be one."""
    return pd.concat(list(profiles)).groupby(KEYS, as_index=False)[SUMS].sum()


def summarise(rows: pd.DataFrame) -> dict[str, Any]:
    """ISO date -> `rows`, `click_rate`, `dwell_seconds` (mean of clicked rows), rows by `channels` and `hours`.

    Args:
      rows: a profile.
    """
    return {str(pd.Timestamp(date).date()): _day(part) for date, part in rows.groupby("date")}


def between(days: Mapping[str, Any], first: datetime.date, last: datetime.date) -> dict[str, Any]:
    """The days of a summary from `first` to `last`, both included; a day without rows is absent."""
    return {date: day for date, day in days.items() if first <= datetime.date.fromisoformat(date) <= last}


def _day(part: pd.DataFrame) -> dict[str, Any]:
    rows, clicked = int(part["rows"].sum()), int(part["clicked"].sum())
    hours = part.groupby("hour")["rows"].sum().reindex(range(HOURS), fill_value=0)
    return {
        "rows": rows,
        "click_rate": clicked / rows,
        "dwell_seconds": float(part["dwell_seconds"].sum()) / max(clicked, 1),
        "channels": {str(name): int(count) for name, count in part.groupby("channel")["rows"].sum().items()},
        "hours": [int(count) for count in hours],
    }
