"""Statistics of a log against hand-worked ones, from a file and from simulated lists alike."""

import datetime

import numpy as np
import pandas as pd
import pytest

from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.errors import LogError
from hrlrec_tf.simulator import log_profile, log_rows, logs
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.days import simulate_day
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.policy import LoggingPolicy
from hrlrec_tf.simulator.state import UserStates
from hrlrec_tf.simulator.traffic import Fixed

SATURDAY = 1_704_499_200_000  # 2024-01-06
HOUR = 3_600_000
LISTS = [  # request, user, time, (item, channel, clicks, dwell) ...
    ("r1", "u1", SATURDAY + HOUR, [("a", "news", 1, 10.0), ("b", "video", 0, 0.0)]),
    ("r2", "u1", SATURDAY + 30 * HOUR, [("a", "news", 2, 30.0), ("c", "sport", 0, 5.0), ("b", "video", 0, 0.0)]),
    ("r3", "u1", SATURDAY + 31 * HOUR, [("b", "video", 1, 7.0)]),
    ("r4", "u2", SATURDAY + 60 * HOUR, [("c", "sport", 0, 0.0), ("a", "news", 0, 0.0)]),
]


def write(folder, lists=LISTS, **changes):
    rows = [
        {"request_id": request, "user_id": user, "timestamp": time, "position": place, "item_id": item}
        | {"channel": channel, "clicks": clicks, "dwell_seconds": dwell}
        for request, user, time, shown in lists
        for place, (item, channel, clicks, dwell) in enumerate(shown, start=1)
    ]
    folder.mkdir()
    pd.DataFrame(rows).assign(**changes).to_csv(folder / "log.csv", index=False)
    return DatasetConfig(log=str(folder))


def test_profile_by_hand(tmp_path):
    log = log_profile.measure(log_rows.read(write(tmp_path / "log"), progress=False))
    assert log.channels == ("news", "sport", "video")
    assert (log.rows, log.lists, log.users, log.items, log.clicks, log.days) == (8, 4, 2, 3, 3, 3)
    assert log.start == datetime.date(2024, 1, 6)
    np.testing.assert_allclose(log.item_shares, [1 / 3] * 3)
    np.testing.assert_allclose(log.impression_shares, [3 / 8, 2 / 8, 3 / 8])
    np.testing.assert_allclose(log.channel_click_rates, [2 / 3, 0, 1 / 3])
    np.testing.assert_allclose(log.position_click_rates, [3 / 4, 0, 0])
    np.testing.assert_allclose(log.length_shares, [1 / 4, 2 / 4, 1 / 4])
    np.testing.assert_allclose(log.dwell_medians, [20, np.nan, 7])
    np.testing.assert_allclose(log.lists_per_user, np.quantile([3, 1], log_profile.SHARES))
    np.testing.assert_allclose(log.history, np.quantile([0, 2, 5, 0], log_profile.SHARES))
    assert log.lists_per_visit == pytest.approx(4 / 3)  # u1 on two days, u2 on one
    assert log.hours[[1, 6, 7, 12]].tolist() == [0.25] * 4
    assert log.lists_by_day.tolist() == [1, 2, 1] and log.weekend_share == 0.75


def test_contradictions_are_dropped_and_counted(tmp_path):
    again = [*LISTS, ("r3", "u1", SATURDAY + 31 * HOUR, [("a", "news", 1, 1.0)])]  # position 1 of r3 stands twice
    shared = [*again, ("r4", "u3", SATURDAY + 60 * HOUR, [("b", "news", 1, 1.0)])]  # r4 is u2's as well
    rows = log_rows.read(write(tmp_path / "log", shared), progress=False)
    assert rows.rejected == 4 and len(rows) == 6 and rows.list.max() == 2


def test_a_log_without_a_good_row_is_refused(tmp_path):
    with pytest.raises(LogError, match="no row can be used"):
        log_rows.read(write(tmp_path / "log", clicks=-1), progress=False)


def test_the_smallest_channels_become_one(tmp_path):
    rows = log_rows.read(write(tmp_path / "log"), progress=False)
    merged, small = log_rows.merged(rows, 2, "other")
    assert merged.channels == ("news", "other") and small == ["video", "sport"]
    assert [merged.channels[c] for c in merged.channel][:3] == ["news", "other", "news"]
    assert log_rows.merged(rows, 3, "other") == (rows, ())
    turned = log_rows.ordered(merged, ["other", "news"])
    assert [turned.channels[c] for c in turned.channel][:3] == ["news", "other", "news"]


def test_a_file_and_simulated_lists_say_the_same(tmp_path):
    world = WorldConfig(users=30, items=60, days=3, requests_per_day=30, positions=3, list_lengths=(0.2, 0.3, 0.5))
    logs.write_log(world, tmp_path / "log", progress=False)
    written = log_rows.read(DatasetConfig(log=str(tmp_path / "log")), progress=False)
    feed = Feed.create(world)
    traffic = Fixed(feed, UserStates(feed))
    shown = [lists for day in range(3) for lists in simulate_day(feed, LoggingPolicy(feed), traffic, day)]
    of_days = log_profile.measure(log_rows.of_days(feed, shown))
    of_file = log_profile.measure(log_rows.ordered(written, world.channel_names))
    for name, value in vars(of_days).items():
        np.testing.assert_array_equal(getattr(of_file, name), value, err_msg=name)
    assert of_days.length_shares == pytest.approx([0.2, 0.3, 0.5], abs=0.15)
