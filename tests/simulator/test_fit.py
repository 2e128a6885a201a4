"""`simulate --like`: a log of known parameters is recovered; logs that say too little are refused by name."""

import argparse
import dataclasses
import datetime

import numpy as np
import pytest

from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.errors import ConfigError, LogError
from hrlrec_tf.simulator import fit_start, log_profile, log_rows, logs, world_file
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.verb import VERB

TRUTH = WorldConfig(
    users=300,
    items=600,
    days=14,
    requests_per_day=250,
    positions=6,
    seed=7,
    start_date="2023-06-02",
    channel_names=("shop", "talk", "video"),
    channel_shares=(0.2, 0.3, 0.5),
    channel_intercepts=(0.5, 0.0, -0.3),
    click_intercept=-2.0,
    position_decay=0.6,
    policy_channels=(0.5, -0.5, 0.0),
    dwell_scales=(2.0, 1.0, 0.5),
    activity_spread=1.0,
    another_request=0.6,
    weekday_cycle=0.2,
)


def run(*words):
    parser = argparse.ArgumentParser()
    VERB.add_arguments(parser)
    return VERB.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibration") / "log"
    logs.write_log(TRUTH, folder, progress=False)
    return folder


@pytest.fixture(scope="module")
def fitted(log):
    """The verb's result, where its log is, of the same truth in another world: another seed."""
    out = log.parent / "like"
    return run("--like", log, "--out", out, "--seed", "1"), out


def test_statistics_come_out_like_the_log(fitted):
    allowed = {"click rate": 0.025, "share of impressions": 0.02, "lists per user and day": 0.2}
    allowed |= {"share of lists": 0.03, "mean list length": 0.0}
    checked = 0
    for each in fitted[0]["fit"]:
        if each["statistic"] in allowed:
            checked += 1
            assert each["simulated"] == pytest.approx(each["log"], abs=allowed[each["statistic"]]), each
        if each["statistic"] in ("median dwell seconds", "users", "lists", "items"):
            assert each["simulated"] == pytest.approx(each["log"], rel=0.1), each
        if each["statistic"] in ("lists per user", "rows of history"):
            assert each["simulated"] == pytest.approx(each["log"], rel=0.3, abs=2), each
    assert checked == 1 + 1 + 3 + 6 + 3 + 1 + 5


def test_parameters_are_recovered(fitted):
    world = WorldConfig(**{**fitted[0]["world"], "shocks": ()})
    for name in ("days", "positions", "start_date", "channel_names"):
        assert getattr(world, name) == getattr(TRUTH, name)
    assert world.requests_per_day == pytest.approx(TRUTH.requests_per_day, rel=0.01)
    assert world.users == pytest.approx(TRUTH.users, rel=0.1)
    assert world.items == pytest.approx(TRUTH.items, rel=0.1)
    assert world.weekday_cycle == pytest.approx(TRUTH.weekday_cycle, abs=0.02)
    assert world.another_request == pytest.approx(TRUTH.another_request, abs=0.06)
    assert world.activity_spread == pytest.approx(TRUTH.activity_spread, rel=0.2)
    np.testing.assert_allclose(world.channel_shares, TRUTH.channel_shares, atol=0.04)


def test_the_fitted_world_is_beside_its_log_and_loads(fitted, tmp_path):
    result, out = fitted
    world = world_file.load(str(out / "world.yaml"))
    assert dataclasses.asdict(world) == result["world"] and world.seed == 1
    smaller = run("--world", out / "world.yaml", "--out", tmp_path / "log", "--days", "2", "--requests-per-day", "30")
    assert smaller["days"] == 2 and set(smaller["channel_shares"]) == {"shop", "talk", "video"}


def test_sizes_of_the_command_stand_above_the_log(log, tmp_path, capsys):
    # One round is enough here.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hrlrec_tf.simulator.calibration.SIZE_ROUNDS", 0)
        patch.setattr("hrlrec_tf.simulator.calibration.ROUNDS", 1)
        result = run("--like", log, "--out", tmp_path / "out", "--users", "50", "--days", "2")
    assert (result["users"], result["days"]) == (50, 2)
    printed = capsys.readouterr()
    assert "simulated" in printed.out and "click rate, position 6" in printed.out and "world.yaml" in printed.out
    assert "fit" in printed.err and "1/1" in printed.err


def test_out_within_the_log_and_a_config_without_a_log_are_refused(log, tmp_path):
    with pytest.raises(ConfigError, match="lies inside the log"):
        run("--like", log, "--out", log / "like")
    with pytest.raises(ConfigError, match="name the log with --like"):
        run("--config", "ml100k", "--out", tmp_path / "out")


@pytest.fixture(scope="module")
def profile(log):
    return log_profile.measure(log_rows.read(DatasetConfig(log=str(log)), progress=False))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rows": 12}, "cannot be fitted to 12 rows; give a log with 1,000 or more"),
        ({"users": 3}, "cannot be fitted to 3 users"),
        ({"clicks": 0}, "a log with no click; check the column `clicks`"),
        ({"channels": ("news",)}, r"one channel \(news\); map a column"),
        ({"days": 400}, "at most 366 days and this log 400"),
        ({"days": 1, "hours": np.eye(24)[3]}, "all lists fall into one hour"),
    ],
)
def test_logs_that_say_too_little_are_refused(profile, values, message):
    with pytest.raises(LogError, match=message):
        fit_start.refuse(dataclasses.replace(profile, **values))


def test_what_stays_open_is_noted(profile):
    assert fit_start.notes(profile, [], 0) == []
    poor = dataclasses.replace(
        profile,
        position_rows=np.array([9.0]),
        dwell_medians=np.array([1.0, np.nan, 1.0]),
        channel_clicks=np.array([0.0, 1.0, 1.0]),
        start=datetime.date(2024, 1, 1),
        days=3,
    )
    found = " ".join(fit_start.notes(poor, ["radio", "fax"], 5))
    for part in (
        "5 rows were rejected",
        "other: radio, fax",
        "one row",
        "in talk",
        "a click: shop",
        "no weekday cycle",
    ):
        assert part in found
