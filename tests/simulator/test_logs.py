import dataclasses

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hrlrec_tf.errors import ConfigError, LogError
from hrlrec_tf.simulator import logs
from hrlrec_tf.simulator.config import CHANNELS, WorldConfig
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.policy import LoggingPolicy

SMALL = WorldConfig(users=60, items=150, days=3, requests_per_day=50)


@pytest.fixture(scope="module")
def default_log(tmp_path_factory):
    """The log of the default world, and what `write_log` said about it."""
    out = tmp_path_factory.mktemp("simulated") / "log"
    summary = logs.write_log(WorldConfig(), out, progress=False)
    return pq.read_table(out).to_pandas(), summary, out


def file_bytes(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_same_seed_same_bytes_and_another_seed_other_bytes(tmp_path):
    logs.write_log(SMALL, tmp_path / "a", progress=False)
    logs.write_log(SMALL, tmp_path / "b", progress=False)
    logs.write_log(dataclasses.replace(SMALL, seed=1), tmp_path / "c", progress=False)
    first = file_bytes(tmp_path / "a")
    assert list(first) == [f"impressions-{day:05d}-of-00003.parquet" for day in range(3)]
    assert first == file_bytes(tmp_path / "b")
    assert all(first[name] != other for name, other in file_bytes(tmp_path / "c").items())


@pytest.mark.parametrize("chunk", [1, 7, 50])
def test_rows_do_not_depend_on_the_chunk_size(chunk):
    feed = Feed.create(SMALL)
    policy, table = LoggingPolicy(feed), logs.LogTable(feed)
    whole = pa.concat_tables(table.rows(lists) for lists in logs.simulate_day(feed, policy, 1))
    parts = pa.concat_tables(table.rows(lists) for lists in logs.simulate_day(feed, policy, 1, chunk=chunk))
    assert parts.equals(whole)


def test_schema_is_the_standard_columns_in_order(default_log):
    frame, _, out = default_log
    for path in out.iterdir():
        assert pq.read_schema(path).equals(logs.SCHEMA)
    assert list(frame.columns[:7]) == ["request_id", "user_id", "timestamp", "position", "item_id", "channel", "tags"]
    assert not frame.isna().any().any()


def test_rows_obey_the_log_rules(default_log):
    frame, summary, _ = default_log
    assert len(frame) == summary["rows"] == 100_100
    lists = frame.groupby("request_id")
    assert (lists.size() == 10).all()
    assert (lists[["user_id", "timestamp", "context_device"]].nunique() == 1).all().all()
    assert (lists["item_id"].nunique() == 10).all()
    assert (frame["position"].to_numpy().reshape(-1, 10) == np.arange(1, 11)).all()
    assert frame["clicks"].isin([0, 1]).all()
    assert ((frame["dwell_seconds"] > 0) == (frame["clicks"] > 0)).all()
    assert frame["tags"].map(len).between(1, 3).all()
    assert (frame.groupby("item_id")[["channel", "item_author", "item_length_seconds"]].nunique() == 1).all().all()
    assert (frame.groupby("user_id")[["user_age_band", "user_gender", "user_tenure_days"]].nunique() == 1).all().all()


def test_summary_says_what_the_files_hold(default_log):
    frame, summary, out = default_log
    assert summary["ctr"] == pytest.approx(frame["clicks"].mean())
    assert summary["channel_shares"] == pytest.approx(frame["channel"].value_counts(normalize=True).to_dict())
    assert set(summary["channel_shares"]) == set(CHANNELS)
    assert sorted(path.name for path in out.iterdir()) == summary["files"]
    assert (summary["users"], summary["items"], summary["days"]) == (1_000, 2_000, 14)


def test_figures_of_the_default_world_are_those_of_a_feed(default_log):
    frame, summary, _ = default_log
    assert 0.08 < summary["ctr"] < 0.20
    shares = sorted(summary["channel_shares"].values())
    assert shares[0] > 0.05 and shares[-1] > 2 * shares[0]
    assert frame["explored"].mean() == pytest.approx(0.05, abs=0.005)


def test_position_bias_is_visible(default_log):
    frame, _, _ = default_log
    ctr = frame.groupby("position")["clicks"].mean()
    assert (ctr.diff().dropna() < 0.01).all() and ctr[10] < 0.6 * ctr[1]
    explored = frame[frame["explored"]].groupby("position")["clicks"].mean()  # chosen without regard to the user
    assert explored[[6, 7, 8, 9, 10]].mean() < explored[[1, 2, 3]].mean()


def test_days_and_hours(default_log):
    frame, _, _ = default_log
    times = pd.to_datetime(frame["timestamp"], unit="ms")
    assert (times.dt.strftime("%Y-%m-%d").value_counts() == 7_150).all()
    assert frame["timestamp"].is_monotonic_increasing
    by_hour = times.dt.hour.value_counts(normalize=True)
    assert by_hour[20] > 3 * by_hour[8]


def test_personal_taste_persists_across_weeks(default_log):
    """A user's click rate in a channel, against this user's and this channel's means, returns in the second week."""
    frame, _, _ = default_log
    week = (frame["timestamp"] - WorldConfig().start_timestamp) // (7 * 86_400_000)
    cells = frame.groupby([week.rename("week"), "user_id", "channel"])["clicks"].agg(["mean", "size"])
    rates = cells["mean"].where(cells["size"] >= 8).unstack("week").dropna()
    rates = rates - rates.groupby("user_id").transform("mean") - rates.groupby("channel").transform("mean")
    assert len(rates) > 1_000
    assert rates[0].corr(rates[1]) > 0.3


def test_the_true_click_probability_separates_clicks_as_real_feeds_do():
    feed = Feed.create(WorldConfig())
    policy = LoggingPolicy(feed)
    batches = [lists for day in range(3) for lists in logs.simulate_day(feed, policy, day)]
    truth = np.concatenate([lists.click_probability.ravel() for lists in batches])
    clicks = np.concatenate([lists.clicks.ravel() for lists in batches])
    assert truth.mean() == pytest.approx(clicks.mean(), abs=0.01)
    ranks = pd.Series(truth).rank().to_numpy()
    auc = (ranks[clicks].mean() - (clicks.sum() + 1) / 2) / (~clicks).sum()
    assert 0.75 < auc < 0.86


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
