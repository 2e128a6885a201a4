"""The main job, end to end, on a small simulated log; and again, from the cache."""

import json
import pathlib
import re
import subprocess
import sys

import pytest

from hrlrec_tf.simulator.config import CHANNELS, WorldConfig
from hrlrec_tf.simulator.logs import write_log

WORLD = WorldConfig(users=300, items=600, days=7, requests_per_day=150)


def hrlrec(*arguments: str) -> subprocess.CompletedProcess:
    """Runs the command line in a process of its own, as a user does."""
    return subprocess.run([sys.executable, "-m", "hrlrec_tf.cli", *arguments], capture_output=True, text=True)


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> pathlib.Path:
    return tmp_path_factory.mktemp("quickstart")


@pytest.fixture(scope="module")
def arguments(work) -> list[str]:
    log = work / "log"
    write_log(WORLD, log, progress=False)
    return ["quickstart", "--log", str(log), "--workdir", str(work / "run"), "--set", "training.epochs=2"]


@pytest.fixture(scope="module")
def first(work, arguments) -> subprocess.CompletedProcess:
    return hrlrec(*arguments, "--json", str(work / "result.json"))


@pytest.fixture(scope="module")
def result(work, first) -> dict:
    assert first.returncode == 0, first.stderr
    return json.loads((work / "result.json").read_text())


def test_evaluates_every_impression_of_the_newest_fifth(result):
    impressions = WORLD.days * WORLD.requests_per_day * 10
    assert result["rows"] == impressions // 5
    assert sum(result["lists"].values()) >= impressions // 10
    assert 0.55 < result["auc"] < 1.0
    assert set(result["auc_by_channel"]) == set(CHANNELS)


def test_recommends_several_channels_and_lists_that_differ(result):
    recommended = result["recommended"]
    assert len(recommended["channel_shares"]) >= 2
    assert recommended["distinct_lists"] > recommended["requests"] / 10
    assert recommended["between_user_channel_variance"] > 0


def test_ranks_ten_distinct_items(result):
    items = result["ranked"]["items"]
    assert [item["position"] for item in items] == list(range(1, 11))
    assert len({item["item_id"] for item in items}) == 10
    assert {item["channel"] for item in items} <= set(CHANNELS)
    assert all(0 < item["click_probability"] < 1 for item in items)


def test_prints_the_list_and_where_things_are(first, result):
    assert all(item["item_id"] in first.stdout for item in result["ranked"]["items"])
    assert result["version"] in first.stdout
    assert result["report"] in first.stdout


def test_pushes_a_version_with_warm_up_requests(result):
    version = pathlib.Path(result["version"])
    assert version.name.isdigit()
    assert (version / "saved_model.pb").is_file()
    assert (version / "assets.extra/tf_serving_warmup_requests").stat().st_size > 0


def test_report_is_one_file_without_network(result):
    page = pathlib.Path(result["report"]).read_text()
    assert "<svg" in page
    assert "<script" not in page
    assert 'src="http' not in page
    assert "Blessed" in page


def test_second_run_comes_from_the_cache(result, work, arguments):
    again = hrlrec(*arguments, "--json", str(work / "again.json"))
    assert again.returncode == 0, again.stderr
    repeated = json.loads((work / "again.json").read_text())
    assert repeated["version"] == result["version"]
    assert repeated["auc"] == result["auc"]
    assert re.search(r"Trainer +cached", again.stderr)
