import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from hrlrec_tf.errors import ConfigError, LogError
from hrlrec_tf.simulator import logs
from hrlrec_tf.simulator.config import CHANNELS, WorldConfig

SMALL = WorldConfig(users=30, items=60, days=3, requests_per_day=50)


@pytest.fixture(scope="module")
def default_log(tmp_path_factory):
    """The default log as a frame, its folder, and what `write_log` said of it."""
    folder = tmp_path_factory.mktemp("log") / "log"
    summary = logs.write_log(WorldConfig(), folder, progress=False)
    return pq.read_table(folder).to_pandas(), folder, summary


def test_the_summary_tells_what_the_files_hold(default_log):
    frame, folder, summary = default_log
    assert summary["rows"] == len(frame) == 100_100
    assert summary["files"] == sorted(path.name for path in folder.iterdir())
    assert summary["ctr"] == pytest.approx(frame["clicks"].mean())
    shares = frame["channel"].value_counts(normalize=True)
    assert summary["channel_shares"] == pytest.approx({channel: shares[channel] for channel in CHANNELS})
    assert (summary["users"], summary["items"], summary["days"]) == (1_000, 2_000, 14)


def test_rows_are_whole_lists_in_the_standard_columns(default_log):
    frame, folder, _ = default_log
    assert pq.read_schema(next(folder.iterdir())).remove_metadata() == logs.SCHEMA
    lists = frame.groupby("request_id", sort=False)
    assert lists.size().eq(10).all() and len(lists) == 10_010
    assert (frame["position"].to_numpy().reshape(-1, 10) == np.arange(1, 11)).all()
    for column in ("user_id", "timestamp", "context_device"):
        assert lists[column].nunique().eq(1).all()
    assert not frame.duplicated(["request_id", "item_id"]).any()
    assert (frame["dwell_seconds"] > 0).eq(frame["clicks"] > 0).all()
    assert frame[["propensity_channel", "propensity_item"]].gt(0).all(axis=None)
    assert frame[["propensity_channel", "propensity_item"]].le(1).all(axis=None)
    assert frame["explored"].mean() == pytest.approx(0.05, abs=0.005)


def test_positions_matter_and_exploration_costs(default_log):
    frame, _, _ = default_log
    by_position = frame.groupby("position")["clicks"].mean()
    assert by_position[1] > 1.5 * by_position[10]
    explored = frame.groupby("explored")["clicks"].mean()
    assert explored[True] < explored[False]


def test_days(default_log):
    frame, _, _ = default_log
    times = pd.to_datetime(frame["timestamp"], unit="ms")
    assert (times.dt.strftime("%Y-%m-%d").value_counts() == 7_150).all()


def test_personal_taste_persists_across_weeks(default_log):
    """A user's click rate in a channel, against this user's and this channel's means, returns in the second week."""
    frame, _, _ = default_log
    week = (frame["timestamp"] - WorldConfig().start_timestamp) // (7 * 86_400_000)
    cells = frame.groupby([week.rename("week"), "user_id", "channel"])["clicks"].agg(["mean", "size"])
    rates = cells["mean"].where(cells["size"] >= 8).unstack("week").dropna()
    rates = rates - rates.groupby("user_id").transform("mean") - rates.groupby("channel").transform("mean")
    assert len(rates) > 1_000
    assert rates[0].corr(rates[1]) > 0.3


def test_the_same_world_gives_the_same_files(tmp_path):
    for name in ("one", "two"):
        logs.write_log(SMALL, tmp_path / name, progress=False)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_an_existing_folder_with_content_is_refused_and_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="already exists and is not an empty folder"):
        logs.write_log(SMALL, tmp_path, progress=False)
    with pytest.raises(ConfigError, match="already exists"):
        logs.write_log(SMALL, tmp_path / "notes.txt", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_empty_folder_and_a_killed_runs_leftover_are_fine(tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / ".log.partial").mkdir()
    (tmp_path / ".log.partial" / "impressions-00000-of-00003.parquet").write_bytes(b"half")
    logs.write_log(SMALL, tmp_path / "log", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert pq.read_table(tmp_path / "log").num_rows == 1_500


def test_a_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(logs.pq.ParquetWriter, "write_table", full)
    with pytest.raises(LogError, match="No space left"):
        logs.write_log(SMALL, tmp_path / "log", progress=False)
    assert list(tmp_path.iterdir()) == []
