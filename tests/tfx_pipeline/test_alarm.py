"""The alarm, in the simulator: a model that loses clicks is withdrawn and the one before it serves again."""

import dataclasses

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from hrlrec_tf.cli import main
from hrlrec_tf.data.config import find
from hrlrec_tf.errors import ConfigError, DataError, LogError
from hrlrec_tf.simulator import logs
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.policy import Choice, LoggingPolicy
from hrlrec_tf.simulator.state import UserStates
from hrlrec_tf.simulator.traffic import Fixed
from tfx_pipeline import alarm


class Reversed:
    """Shows the last candidates of each request."""

    def lists(self, requests, candidates):
        filled = candidates.items >= 0
        columns = np.argsort(~filled, axis=1, kind="stable")  # those with an item first, in their order
        last = filled.sum(axis=1)[:, np.newaxis] - 1 - np.arange(10)
        return Choice.certain(np.take_along_axis(columns, last, axis=1))


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    """A log of two days, by one version each: the first serves popular items, the second whatever stands last."""
    folder = tmp_path_factory.mktemp("online")
    feed = Feed.create(WorldConfig(users=300, items=400, days=2, requests_per_day=600))
    traffic = Fixed(feed, UserStates(feed))
    for day, (version, policy) in enumerate({"5": LoggingPolicy(feed), "8": Reversed()}.items()):
        file = folder / f"day={day}.parquet"
        logs.write_days(feed, policy, traffic, [day], folder, progress=False)
        (written,) = folder.glob("impressions-*.parquet")
        pd.read_parquet(written).assign(model_version=version).to_parquet(file)
        written.unlink()
    return folder


@pytest.fixture
def workdir(tmp_path):
    for folder in ("serving", "blessed"):
        for version in ("3", "5", "8"):
            (tmp_path / folder / version).mkdir(parents=True)
    return tmp_path


def read(log, **settings):
    return alarm.read_rows(dataclasses.replace(find(str(log), None), **settings))


def versions(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.isdecimal())


def test_a_model_that_loses_clicks_is_withdrawn(days, workdir, capsys):
    assert main(["alarm", "--log", str(days), "--workdir", str(workdir), "--roll-back"]) == 1
    told = capsys.readouterr().err
    assert "version 8 was withdrawn, 5 serves again" in told and told.count("\n") == 1
    assert versions(workdir / "serving") == versions(workdir / "blessed") == ["3", "5"]
    assert (workdir / "serving" / "withdrawn" / "8").is_dir()


def test_without_roll_back_the_alarm_only_rings(days, workdir, capsys):
    assert main(["alarm", "--log", str(days), "--workdir", str(workdir)]) == 1
    assert "withdraw it: the same command with --roll-back" in capsys.readouterr().err
    assert versions(workdir / "serving") == ["3", "5", "8"]


def test_the_same_model_rings_no_alarm(days, workdir, tmp_path, capsys):
    rows = pd.read_parquet(days / "day=0.parquet")
    halves = np.where(pd.factorize(rows["request_id"])[0] % 2, "5", "8")
    (tmp_path / "log").mkdir()
    rows.assign(model_version=halves).to_parquet(tmp_path / "log" / "a.parquet")
    assert main(["alarm", "--log", str(tmp_path / "log"), "--workdir", str(workdir), "--roll-back"]) == 0
    assert "version 8 has a click rate of" in capsys.readouterr().out
    assert versions(workdir / "serving") == ["3", "5", "8"]


def test_false_alarms_are_rare_where_nothing_changed():
    rng = np.random.default_rng(0)
    rung = 0
    for _ in range(200):
        user = rng.integers(0, 200, 2000)
        liking = rng.beta(1, 9, 200)[user]  # a user's rows hang together
        rows = pd.DataFrame({"user_id": user, "clicks": rng.random(2000) < liking})
        rows["model_version"] = np.where(rng.random(2000) < 0.5, "1", "2")
        rung += alarm.rings(alarm.compare(rows, "2", "1"), accepted=0.0)
    assert rung <= 8  # 2 expected; more than 8 in 1 of 6,000 cases


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda log, work: alarm.compare(read(log), "9", "5"), DataError, "no rows of version 9"),
        (lambda log, work: read(log, files="day=7*"), LogError, r"no Parquet, CSV or JSONL file matches 'day=7\*'"),
        (lambda log, work: alarm.newest_two(log), ConfigError, "holds 0 versions, a comparison needs two"),
        (lambda log, work: alarm.roll_back([f"{work}/one"], "8"), ConfigError, "version 8 is the only one"),
    ],
)
def test_what_cannot_be_compared_is_told(call, error, message, days, tmp_path):
    (tmp_path / "one" / "8").mkdir(parents=True)
    with pytest.raises(error, match=message):
        call(str(days), str(tmp_path))


def test_a_log_without_versions_is_told(days, tmp_path):
    table = pq.read_table(days / "day=0.parquet").drop(["model_version"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="no row has a model_version; write it into the log, or map it"):
        read(tmp_path)


def test_a_log_is_read_as_its_dataset_yaml_says(days, workdir, tmp_path, capsys):
    """CSV in other columns, with broken rows, rows that came twice and a bot: the same figures as of the clean log."""
    log = tmp_path / "log"
    log.mkdir()
    renamed = {"user_id": "uid", "timestamp": "at", "clicks": "stars", "model_version": "served_by"}
    for path in days.glob("*.parquet"):
        rows = pd.read_parquet(path).assign(tags="")
        rows["clicks"] = np.where(rows["clicks"] > 0, 5, 1)
        bot = pd.concat([rows.head(1)] * 2500).assign(user_id="bot", clicks=5)
        bot["request_id"] = [f"bot-{path.stem}-{n}" for n in range(len(bot))]
        again = rows[rows["clicks"] == 5].assign(position=lambda rows: rows["position"] + 50)
        broken = rows.head(500).assign(item_id="", clicks=5)
        changed = pd.concat([rows, bot, again, broken]).rename(columns=renamed)
        changed.assign(at=changed["at"] // 1000).to_csv(log / f"{path.stem}.csv", index=False)
    (log / "dataset.yaml").write_text(
        "files: day=*.csv\ntimestamp_unit: s\ndeduplicate: true\nbots: {rows_per_day: 2000}\n"
        "masking: {columns: [user_id], key_env: NO_KEY_IS_NEEDED}\n"
        "columns: {user_id: uid, timestamp: at, clicks: {source: stars, at_least: 4}, model_version: served_by}\n"
    )
    assert main(["alarm", "--log", str(log), "--workdir", str(workdir)]) == 1
    told = capsys.readouterr().err
    assert main(["alarm", "--log", str(days), "--workdir", str(workdir)]) == 1
    assert capsys.readouterr().err == told and "version 8 has a click rate of" in told
    assert read(log, files="day=0.csv")["model_version"].unique().tolist() == ["5"]
