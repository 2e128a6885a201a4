"""Days held against each other: bad ones are named, good ones are not blamed for them."""

import functools

import pytest

from tfx_pipeline import data_faults, odd_days
from tfx_pipeline.data_faults import DataLimits

WEEK = [f"2024-01-{day:02d}" for day in range(1, 8)]


def day(rows=2400, click_rate=0.2, dwell_seconds=30.0, channels=None, hours=None):
    shares = channels or {"news": 0.5, "video": 0.5}
    return {
        "rows": rows,
        "click_rate": click_rate,
        "dwell_seconds": dwell_seconds,
        "channels": {name: round(share * rows) for name, share in shares.items()},
        "hours": hours or [rows / 24] * 24,
    }


def found(changed, dates=WEEK, believed=(), limits=None):
    """Faults of days that are as ever but for those changed."""
    summary = {"days": {date: day() for date in dates} | changed, "rejected_by_day": {}}
    return data_faults.faults(summary, dates, limits or DataLimits(), believed)


@pytest.mark.parametrize("bad", [1, 3, 6])
def test_one_bad_day_is_named_and_no_good_one(bad):
    (fault,) = found({WEEK[bad]: day(rows=240_000)})
    assert fault.startswith(f"{WEEK[bad]} has 240,000 rows, other days (median) 2,400; accepted is 0.3 to 3 times that")


def test_several_bad_days_are_named_each():
    hours = [0.0] * 12 + [200.0] * 12
    bad = {WEEK[0]: day(rows=30_000), WEEK[2]: day(rows=300), WEEK[3]: day(click_rate=0.0), WEEK[4]: day(hours=hours)}
    rows, few, clicks, clock = found(bad)
    assert rows.startswith(f"{WEEK[0]} has 30,000 rows") and few.startswith(f"{WEEK[2]} has 300 rows")
    assert clicks.startswith(f"{WEEK[3]} has a click rate of 0") and f"50.0% of the rows on {WEEK[4]}" in clock


def test_a_bad_training_day_of_three_days_blames_neither_of_the_others():
    for value in (day(rows=24_000), day(rows=240), day(click_rate=0.0), day(channels={"radio": 1.0})):
        assert all(WEEK[0] in fault and WEEK[2] not in fault for fault in found({WEEK[0]: value}, WEEK[:3]))


def test_of_two_days_that_differ_both_are_named():
    (fault,) = found({WEEK[1]: day(rows=24_000)}, WEEK[:2])
    assert fault.startswith("2024-01-02 has 24,000 rows, 2024-01-01 2,400; accepted is 0.3 to 3 times that; look at")
    faults = found({WEEK[0]: day(channels={"radio": 1.0})}, WEEK[:2])
    assert faults and all("2024-01-01" in fault and "2024-01-02" in fault for fault in faults)


def test_a_small_new_channel_makes_no_earlier_day_look_bad():
    radio = day(channels={"news": 0.5, "video": 0.4, "radio": 0.1})
    for length in (2, 3, 4):
        assert found({WEEK[length - 1]: radio}, WEEK[:length]) == []


def test_a_day_that_is_believed_already_is_not_judged_again_unless_it_is_the_newest():
    change = {WEEK[2]: day(channels={"news": 0.35, "video": 0.35, "radio": 0.3})}
    (fault,) = found(change)
    assert fault.startswith("30.0% of the rows on 2024-01-03 are of channels without rows on other days (median)")
    assert found(change, believed=WEEK) == []
    assert found(change, WEEK[:3], believed=WEEK) != []


def test_a_lasting_change_is_usual_once_half_of_the_other_days_have_it():
    radio = day(channels={"news": 0.3, "video": 0.3, "radio": 0.4})
    assert found(dict.fromkeys(WEEK[4:], radio), believed=WEEK[:6]) != []
    assert found(dict.fromkeys(WEEK[3:], radio), believed=WEEK[:6]) == []


def test_a_missing_day_is_named_though_it_is_believed_already_and_the_rest_is_judged():
    changed = {date: day() for date in WEEK if date != WEEK[1]} | {WEEK[4]: day(rows=240)}
    summary = {"days": changed, "rejected_by_day": {}}
    missing, few = data_faults.faults(summary, WEEK, DataLimits(), believed=WEEK[1:2])
    assert missing.startswith("no usable rows of 2024-01-02: late, or missing; mend its log and run again")
    assert missing.endswith("or leave the day out: --without 2024-01-02") and few.startswith("2024-01-05 has 240 rows")


def test_days_whose_usual_is_0_can_be_compared():
    compare = functools.partial(odd_days.amounts, "click_rate", (0.5, 2.0))
    days = {date: day(click_rate=0.0) for date in WEEK}
    assert list(odd_days.find(days, WEEK, compare)) == []
    ((date, _),) = odd_days.find(days | {WEEK[0]: day()}, WEEK, compare)
    assert date == WEEK[0]
