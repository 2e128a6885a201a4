import math

import pytest

from hrlrec_tf.data import buckets, prepare, schema
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.data.rules import ItemCountsRule, KAnonymity, ListRule, Split
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.features import FeatureSpec, Kind

from .logs import IN_MEMORY, START, random_rows, read_bytes, read_records, read_sessions, write_parquet
from .oracle import Oracle, displayed_lists, lists_by_rule

OPTIONAL = {
    "context_device": Kind.STRING,
    "item_author": Kind.STRING,
    "item_length_seconds": Kind.FLOAT,
    "user_age_band": Kind.STRING,
}
SPLITS = ("train", "validation", "eval")


def run(dataset, out):
    return prepare.prepare(dataset, str(out), IN_MEMORY, show_progress=False)


def assert_same(folder, oracle):
    for split in SPLITS:
        made, expected = read_sessions(folder, split), oracle.sessions(split)
        assert [session["request_id"] for session in made] == [session["request_id"] for session in expected]
        for one, other in zip(made, expected, strict=True):
            assert one == other


@pytest.mark.parametrize("seed", range(6))
def test_sessions_agree_with_the_definition(tmp_path, seed):
    rows = random_rows(seed, ties=seed % 2 == 0)
    delay = 0 if seed < 3 else 90
    spec = FeatureSpec(list_length=5, history_length=4 + seed, max_tags=3, optional=OPTIONAL)
    dataset = DatasetConfig(
        log=write_parquet(rows, tmp_path / "log", files=3, seed=seed, row_group_size=20),
        list_length=5,
        sequence_length=8 + seed,
        max_tags=3,
        feedback_delay_seconds=delay,
    )
    summary = run(dataset, tmp_path / "out")
    oracle = Oracle(rows, displayed_lists(rows, 5), spec, delay * 1000)
    assert schema.from_schema(schema.read(tmp_path / "out" / "schema.pbtxt")) == spec
    assert_same(tmp_path / "out", oracle)
    assert summary["accepted"] == len(rows) and summary["rejected"] == {}
    assert summary["requests"] == {split: len(oracle.sessions(split)) for split in SPLITS}
    assert summary["users"] == len({row["user_id"] for row in rows})
    assert summary["items"] == len({row["item_id"] for row in rows})
    assert sum(summary["rows"].values()) == len(rows)


def test_some_random_list_crosses_a_cut_and_some_is_cut_at_its_length(tmp_path):
    rows = random_rows(1)
    summary = run(DatasetConfig(log=write_parquet(rows, tmp_path / "log"), list_length=5), tmp_path / "out")
    assert sum(summary["requests"].values()) > summary["lists"]
    assert summary["lists_cut_at_length"] > 0


@pytest.mark.parametrize("seed", range(3))
def test_lists_by_rule_agree_with_the_definition(tmp_path, seed):
    rows = random_rows(seed, requests=30)
    rows = [{k: v for k, v in row.items() if k not in ("request_id", "position")} for row in rows]
    unique = {(row["user_id"], row["timestamp"], row["item_id"]): row for row in rows}
    rows = list(unique.values())
    dataset = DatasetConfig(
        log=write_parquet(rows, tmp_path / "log", files=2, seed=seed),
        list_rule=ListRule(gap_seconds=150),
        list_length=4,
        sequence_length=9,
        max_tags=3,
    )
    run(dataset, tmp_path / "out")
    spec = FeatureSpec(list_length=4, history_length=6, max_tags=3, optional=OPTIONAL)
    lists = lists_by_rule(rows, 150_000, 4)
    for name, _, members in lists:
        for row in members:
            row["request_id"] = name
    assert_same(tmp_path / "out", Oracle(rows, lists, spec))


def test_output_is_the_same_whatever_the_files_and_workers(tmp_path, monkeypatch):
    monkeypatch.setattr("hrlrec_tf.data.buckets.ROWS_PER_BUCKET", 40)
    monkeypatch.setattr("hrlrec_tf.data.formats.BATCH_ROWS", 16)
    rows = random_rows(7, users=7, requests=60)
    made = {}
    for files, groups in ((1, None), (4, 9), (9, 30)):
        log = write_parquet(rows, tmp_path / f"log{files}", files, seed=files, row_group_size=groups)
        run(DatasetConfig(log=log), tmp_path / f"out{files}")
        made[files] = read_bytes(tmp_path / f"out{files}")
    assert len([path for path in made[1] if path.startswith("train/")]) > 1
    assert made[1] == made[4] == made[9]


def test_partitions_of_several_buckets_give_the_same_bytes(tmp_path, monkeypatch):
    log = write_parquet(random_rows(8, users=7, requests=60), tmp_path / "log", files=4)
    dataset = DatasetConfig(log=log, k_anonymity=KAnonymity(("user_age_band",), k=2))
    monkeypatch.setattr("hrlrec_tf.data.buckets.ROWS_PER_BUCKET", 8)
    split, calls = buckets.split, []
    monkeypatch.setattr("hrlrec_tf.data.buckets.split", lambda *args: calls.append(args) or split(*args))
    summary = run(dataset, tmp_path / "one")
    assert not calls
    cut = summary["k_anonymity"]["columns"]["user_age_band"]
    assert (cut["values_kept"], cut["values_cut"], cut["users"]) == (1, 1, 1) and 0 < cut["rows"] < summary["accepted"]
    monkeypatch.setattr("hrlrec_tf.data.buckets.MAX_PARTITION_BITS", 1)
    run(dataset, tmp_path / "two")
    assert len(calls) == 2
    assert len(read_bytes(tmp_path / "one")) > 4 and read_bytes(tmp_path / "one") == read_bytes(tmp_path / "two")


def test_worker_processes_give_the_same_bytes(tmp_path):
    rows = random_rows(8)
    log = write_parquet(rows, tmp_path / "log", files=4)
    run(DatasetConfig(log=log), tmp_path / "one")
    workers = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
    prepare.prepare(DatasetConfig(log=log), str(tmp_path / "two"), workers, show_progress=False)
    assert read_bytes(tmp_path / "one") == read_bytes(tmp_path / "two")


def test_labels_of_a_list_enter_nothing_but_its_labels(tmp_path):
    rows = random_rows(9)
    last = max(rows, key=lambda row: row["timestamp"])["request_id"]
    flipped = [row | ({"clicks": 9, "dwell_seconds": 99.0} if row["request_id"] == last else {}) for row in rows]
    sessions = []
    for name, each in (("one", rows), ("two", flipped)):
        run(DatasetConfig(log=write_parquet(each, tmp_path / f"log_{name}")), tmp_path / name)
        (found,) = [s for s in read_sessions(tmp_path / name, "eval") if s["request_id"] == [last]]
        sessions.append({k: v for k, v in found.items() if k not in ("clicks", "dwell_seconds")})
    assert sessions[0] == sessions[1]


@pytest.mark.parametrize("delay", [0, 90])
def test_item_counts_are_those_of_everybody_before_the_list(tmp_path, delay):
    rows = random_rows(12)
    rule = ItemCountsRule(refresh_seconds=60, strength=2)
    dataset = DatasetConfig(
        log=write_parquet(rows, tmp_path / "log", files=3), item_counts=rule, feedback_delay_seconds=delay
    )
    summary = run(dataset, tmp_path / "out")
    prior = summary["item_counts"]["prior_click_rate"]
    checked = 0
    for session in (each for split in SPLITS for each in read_sessions(tmp_path / "out", split)):
        before = (session["timestamp"][0] - delay * 1000) // 60_000 * 60_000
        for item, rate, shown in zip(session["item_id"], session["item_click_rate"], session["item_log_impressions"]):
            known = [row for row in rows if row["item_id"] == item and row["timestamp"] < before]
            if item:
                clicked = sum(row["clicks"] for row in known)
                assert rate == pytest.approx((clicked + 2 * prior) / (len(known) + 2), rel=1e-5)
                assert shown == pytest.approx(math.log1p(len(known)), rel=1e-5)
                checked += len(known) > 0
    assert checked > 100


def test_item_counts_do_not_overwrite_the_logs_own(tmp_path):
    rows = [row | {"item_click_rate": 0.5} for row in random_rows(1)]
    dataset = DatasetConfig(log=write_parquet(rows, tmp_path / "log"), item_counts=ItemCountsRule())
    with pytest.raises(ConfigError, match="item_counts makes item_click_rate, which the log has"):
        run(dataset, tmp_path / "out")


def test_stated_cuts_split_by_the_rows_own_time(tmp_path):
    rows = random_rows(10)
    split = Split(validation_from=START + 600_000, eval_from=START + 1_200_000)
    summary = run(DatasetConfig(log=write_parquet(rows, tmp_path / "log"), split=split), tmp_path / "out")
    times = [row["timestamp"] for row in rows]
    assert summary["rows"]["eval"] == sum(time >= split.eval_from for time in times)
    assert summary["rows"]["train"] == sum(time < split.validation_from for time in times)


def test_one_heavy_user_fills_many_buckets_worth_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("hrlrec_tf.data.buckets.ROWS_PER_BUCKET", 10)
    rows = [row | {"user_id": "only"} for row in random_rows(11)]
    summary = run(DatasetConfig(log=write_parquet(rows, tmp_path / "log")), tmp_path / "out")
    assert summary["accepted"] == len(rows) and summary["users"] == 1
    assert len({record for split in SPLITS for record in read_records(tmp_path / "out", split)}) >= summary["lists"]


def test_rows_before_train_from_are_history_only(tmp_path):
    rows = random_rows(2)
    log = write_parquet(rows, tmp_path / "log")
    whole = run(DatasetConfig(log=log, list_length=5), tmp_path / "whole")
    times = sorted(row["timestamp"] for row in rows)
    since = times[len(times) // 3]
    split = Split(train_from=since, validation_from=whole["validation_from"], eval_from=whole["eval_from"])
    summary = run(DatasetConfig(log=log, list_length=5, split=split), tmp_path / "newest")
    for name in ("validation", "eval"):
        assert read_sessions(tmp_path / "newest", name) == read_sessions(tmp_path / "whole", name)
    every = {session["request_id"][0]: session for session in read_sessions(tmp_path / "whole", "train")}
    kept = read_sessions(tmp_path / "newest", "train")
    assert 0 < len(kept) < len(every)
    for session in kept:  # the same history and counts; a list across the edge counts with its newer rows
        same = every[session["request_id"][0]]
        assert {k: v for k, v in session.items() if k != "weight"} == {k: v for k, v in same.items() if k != "weight"}
    newer = {name for name, session in every.items() if session["timestamp"][0] >= since}
    assert newer <= {session["request_id"][0] for session in kept}
    assert summary["accepted"] == len(rows)
    assert summary["rows"]["train"] == sum(since <= time < whole["validation_from"] for time in times)
