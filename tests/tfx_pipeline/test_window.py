"""The days of a daily run."""

import dataclasses
import datetime

import pytest

from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.data.rules import Day, ListRule, Split
from hrlrec_tf.errors import ConfigError
from tfx_pipeline.window import Window, newest_mature

HOUR = 3_600_000


def test_the_window_cuts_at_its_days():
    day = Day("Europe/Berlin", "04:00")  # clocks go forward on 2024-03-31
    split = Window("2024-03-31", train_days=2, validation_share=0.25).dataset(DatasetConfig(log="x", day=day)).split
    assert split.eval_from == day.start(datetime.date(2024, 3, 31))
    assert split.until - split.eval_from == 24 * HOUR and split.eval_from - split.train_from == 47 * HOUR
    assert split.eval_from - split.validation_from == 47 * HOUR / 4
    assert Window("2024-03-31", 2).dates == ["2024-03-29", "2024-03-30", "2024-03-31"]


def test_files_named_by_day_are_read_where_the_window_needs_them():
    dataset = DatasetConfig(log="x", files="day={date}/*")
    assert Window("2024-03-31", 2, history_days=1).dataset(dataset).dates == tuple(
        f"2024-{day}" for day in ("03-27", "03-28", "03-29", "03-30", "03-31", "04-01")
    )
    assert Window("2024-03-31", 2).dataset(dataset).dates == ()


def test_a_day_that_is_left_out_neither_trains_nor_takes_the_place_of_what_validates():
    day, without = Day("Europe/Berlin"), ("2024-03-29", "2024-03-30")
    window = Window("2024-04-01", train_days=4, validation_share=0.75, without=without)
    assert window.dates == ["2024-03-28", "2024-03-31", "2024-04-01"]
    assert Window.of("2024-04-01", window.days) == window
    dataset = window.dataset(DatasetConfig(log="x", day=day, without=("2024-01-01",)))
    assert dataset.without == ("2024-01-01", *without)
    # 23 + 24 hours train, of which the newest three quarters validate: all of the 31st and 12.25 hours of the 28th.
    cut = datetime.datetime(2024, 3, 28, 11, 45, tzinfo=day.zone)
    assert dataset.split.validation_from == cut.timestamp() * 1000
    newest = dataclasses.replace(window, validation_share=0.1, without=("2024-03-31",))
    assert (
        newest.dataset(DatasetConfig(log="x", day=day)).split.validation_from
        == day.start(datetime.date(2024, 3, 31)) - 7.2 * HOUR
    )


def test_rows_of_lists_that_a_rule_makes_are_deduplicated():
    assert Window("2024-03-31").dataset(DatasetConfig(log="x", list_rule=ListRule())).deduplicate
    assert not Window("2024-03-31").dataset(DatasetConfig(log="x")).deduplicate


@pytest.mark.parametrize(
    ("now", "date"),
    [("2024-04-02T09:59:00+02:00", "2024-03-31"), ("2024-04-02T10:00:00+02:00", "2024-04-01")],
)
def test_a_day_is_judged_when_its_late_clicks_have_come_in(now, date):
    assert newest_mature(datetime.datetime.fromisoformat(now), Day("Europe/Berlin", "04:00"), 6) == date


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Window("yesterday"), "the date must be like 2024-03-31: got 'yesterday'"),
        (lambda: Window("20240331"), "the date must be like 2024-03-31: got '20240331'"),
        (lambda: Window("2024-03-31", 0), "train_days must be at least 1"),
        (lambda: Window("2024-03-31", history_days=-1), "history_days must not be negative"),
        (lambda: Window("2024-03-31", validation_share=1), "validation_share must lie between 0 and 1"),
        (
            lambda: Window("2024-03-31").dataset(DatasetConfig(log="x", split=Split(eval_fraction=0.5))),
            "a daily run makes its own cuts",
        ),
        (
            lambda: Window("2024-03-31", 2, without=("2024-03-28",)),
            "2024-03-28 cannot be left out .* the days that train are 2024-03-29 to 2024-03-30",
        ),
        (lambda: Window("2024-03-31", without=("2024-03-31",)), "2024-03-31 cannot be left out"),
        (lambda: Window("2024-03-31", 1, without=("2024-03-30",)), "all days that train are left out"),
        (
            lambda: Window("2024-03-31").dataset(DatasetConfig(log="x", without=("2024-03-30",))),
            r"leaves out 2024-03-30, a day of this run; leave it out here, too \(--without 2024-03-30\)",
        ),
        (
            lambda: Window("2024-03-31").dataset(DatasetConfig(log="x", without=("2024-03-31",))),
            "dataset.yaml leaves out 2024-03-31, a day of this run; run another day",
        ),
    ],
)
def test_impossible_windows_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
