"""Days of a log: where they begin, what they hold, which rows of them are no person's."""

import dataclasses
import datetime
import json

import numpy as np
import pandas as pd
import pytest

from hrlrec_tf.data import days
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.data.prepare import prepare
from hrlrec_tf.data.rules import Bots, Day, ListRule, Split
from hrlrec_tf.errors import ConfigError

NOON = 1_711_800_000_000  # 2024-03-30 12:00 UTC; Berlin's clocks go forward the night after
HOUR = 3_600_000


def log(folder, rows):
    folder.mkdir()
    pd.DataFrame(rows).to_csv(folder / "log.csv", index=False)
    return folder


def row(user, timestamp, item="a", **more):
    return {"user_id": user, "timestamp": timestamp, "item_id": item, "channel": "news", "clicks": 0, **more}


def test_a_day_begins_where_its_time_zone_and_hour_say():
    berlin = Day("Europe/Berlin", "04:00")
    assert berlin.start(datetime.date(2024, 3, 30)) == NOON - 9 * HOUR  # 04:00 at UTC+1
    assert berlin.start(datetime.date(2024, 3, 31)) == NOON + 14 * HOUR  # 04:00 at UTC+2: 23 hours later
    late = np.array([NOON + 13 * HOUR, NOON + 14 * HOUR])
    assert np.diff(days.dates(late, berlin)) == [1] and np.diff(days.dates(late, Day())) == [0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Day("Mars/Olympus"), "day.time_zone must be an IANA time zone .* got 'Mars/Olympus'"),
        (lambda: Day(starts_at="four"), "day.starts_at must be like 04:00: got 'four'"),
        (lambda: Bots(0), "bots.rows_per_day must be at least 1"),
        (lambda: DatasetConfig(log_version=2), "log_version is 2, but this release reads version 1"),
        (lambda: DatasetConfig(dates=("2024-03-30",)), "dates need {date} in `files`"),
        (lambda: DatasetConfig(without=("20240330",)), "without names days like 2024-03-30: got '20240330'"),
        (lambda: DatasetConfig(without=("yesterday",)), "without names days like 2024-03-30: got 'yesterday'"),
        (lambda: Split(until=5), "split.until must be later than split.eval_from"),
        (lambda: Split(validation_from=1, eval_from=5, until=5), "split.until must be later than split.eval_from"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_the_summary_counts_day_by_day(tmp_path):
    rows = [row("u", NOON + hour * HOUR, item=str(hour)) for hour in (0, 1, 11)]
    rows += [row("v", NOON + 13 * HOUR, channel="video", clicks=2, dwell_seconds=8.0)]
    rows += [row("w", NOON + (26 + n) * HOUR, item=str(n)) for n in range(4)]
    summary = prepare(
        DatasetConfig(log=str(log(tmp_path / "log", rows)), list_rule=ListRule()),
        str(tmp_path / "out"),
        show_progress=False,
    )
    found = json.loads((tmp_path / "out" / "summary.json").read_text())["days"]
    assert found == summary["days"] and list(found) == ["2024-03-30", "2024-03-31"]
    assert found["2024-03-30"]["rows"] == 3 and found["2024-03-31"]["rows"] == 5
    second = found["2024-03-31"]
    assert second["channels"] == {"news": 4, "video": 1} and second["click_rate"] == 0.2
    assert second["dwell_seconds"] == 8.0 and np.flatnonzero(second["hours"]).tolist() == [1, 14, 15, 16, 17]
    assert days.between(found, datetime.date(2024, 3, 31), datetime.date(2024, 4, 9)) == {"2024-03-31": second}


def test_duplicates_and_bots_are_rejected_and_counted(tmp_path):
    rows = [row("u", NOON, clicks=1), row("u", NOON, clicks=1), row("u", NOON, item="b")]
    rows += [row("bot", NOON + n, item=str(n)) for n in range(6)] + [row("bot", NOON + 24 * HOUR)]
    rows += [row("v", NOON + n * HOUR, item=str(n)) for n in range(5)] * 2  # no bot: rows sent twice count once
    dataset = DatasetConfig(log=str(log(tmp_path / "log", rows)), list_rule=ListRule(), deduplicate=True, bots=Bots(5))
    summary = prepare(dataset, str(tmp_path / "out"), show_progress=False)
    assert summary["rejected"] == {"duplicate_row": 6, "too_many_rows_in_a_day": 6}
    assert summary["accepted"] == 8 and summary["days"]["2024-03-31"]["rows"] == 1


def test_rejected_rows_are_counted_day_by_day(tmp_path):
    """By their own time; one that has none by that of the row before it."""
    day = 24 * HOUR
    lines = [
        f"u,{NOON},,news,0",  # no item
        *(f"u,{NOON + n},i{n},news,0" for n in range(3)),
        "u,soon,a,news,0",
        f"u,{NOON + day},a,news,-1",
        f"v,{NOON + day + 1},b,news,0",
        "too,few",
        *[f"v,{NOON + day + 2},b,news,0"] * 2,
    ]
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "log.csv").write_text("\n".join(["user_id,timestamp,item_id,channel,clicks", *lines]))
    (tmp_path / "log" / "z.csv").write_text("user_id,timestamp,item_id,channel,clicks\nu,never,a,news,0\n")
    dataset = DatasetConfig(log=str(tmp_path / "log"), list_rule=ListRule(), deduplicate=True)
    summary = prepare(dataset, str(tmp_path / "out"), show_progress=False)
    assert summary["rejected_by_day"] == {
        "": {"not_a_number_timestamp": 1},
        "2024-03-30": {"missing_item_id": 1, "not_a_number_timestamp": 1},
        "2024-03-31": {"duplicate_row": 1, "malformed_row": 1, "negative_clicks": 1},
    }
    assert summary["rejected"]["not_a_number_timestamp"] == 2


def test_rows_from_until_on_are_in_no_split(tmp_path):
    rows = [row(f"u{n % 3}", NOON + n * HOUR, item=str(n)) for n in range(12)]
    split = Split(validation_from=NOON + 4 * HOUR, eval_from=NOON + 6 * HOUR, until=NOON + 9 * HOUR)
    dataset = DatasetConfig(log=str(log(tmp_path / "log", rows)), list_rule=ListRule(), split=split)
    summary = prepare(dataset, str(tmp_path / "out"), show_progress=False)
    assert summary["accepted"] == 12 and summary["rows"] == {"train": 4, "validation": 2, "eval": 3}


def test_rows_of_days_that_are_left_out_are_rejected_by_the_clock_of_the_log(tmp_path):
    begins = Day("Europe/Berlin", "04:00")
    start, end = (begins.start(datetime.date(2024, 3, day)) for day in (30, 31))
    times = [start - 1, start, end - 1, end, end + 1, end + 2]
    lines = [f"u,{time},i{n},news,{n % 2}" for n, time in enumerate(times)]
    lines += [f"u,{start + 1},,news,0", f"u,{10**18},a,news,0"]  # left out though it has no item; no day at all
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "log.csv").write_text("\n".join(["user_id,timestamp,item_id,channel,clicks", *lines]))
    dataset = DatasetConfig(log=str(tmp_path / "log"), list_rule=ListRule(), day=begins, without=("2024-03-30",))
    summary = prepare(dataset, str(tmp_path / "out"), show_progress=False)
    assert summary["rejected"] == {"day_left_out": 3, "timestamp_out_of_range": 1}
    assert {date: day["rows"] for date, day in summary["days"].items()} == {"2024-03-29": 1, "2024-03-31": 3}


def test_only_the_days_asked_for_are_read(tmp_path):
    for date in ("2024-03-29", "2024-03-30", "2024-03-31"):
        folder = log(
            tmp_path / f"day={date}",
            [row(f"u{n}", Day().start(datetime.date.fromisoformat(date)) + n) for n in range(5)],
        )
        assert folder.name == f"day={date}"
    dataset = DatasetConfig(log=str(tmp_path), files="day={date}/*", list_rule=ListRule())
    some = dataclasses.replace(dataset, dates=("2024-03-29", "2024-03-31", "2024-04-01"))
    for number, (each, dates) in enumerate([(dataset, 3), (some, 2)]):
        out = tmp_path.parent / f"{tmp_path.name}-{number}"
        assert len(prepare(each, str(out), show_progress=False)["days"]) == dates
