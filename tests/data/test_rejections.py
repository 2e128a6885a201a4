"""Every broken row is counted under its reason and kept in `rejected/`; the others pass."""

import collections
import csv
import gzip
import json
import pathlib

import pytest

from hrlrec_tf.data import prepare
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.data.rules import Masking
from hrlrec_tf.errors import ConfigError

from .logs import IN_MEMORY, START, read_sessions, write_parquet

GOOD = {
    "request_id": "r",
    "user_id": "u",
    "timestamp": START,
    "position": 1,
    "item_id": "i",
    "channel": "news",
    "clicks": 0,
    "dwell_seconds": 0.0,
    "propensity_channel": 1.0,
    "propensity_item": 1.0,
    "explored": 0,
}


def good_rows(lists=60):
    return [
        GOOD | {"request_id": f"r{n}", "user_id": f"u{n % 7}", "timestamp": START + 1000 * n, "position": position}
        for n in range(lists)
        for position in (1, 2, 3)
    ]


def rejected_rows(folder):
    found = []
    for path in sorted(pathlib.Path(folder, "rejected").glob("*.jsonl.gz")):
        found += [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    return found


def run(log, out, **settings):
    return prepare.prepare(DatasetConfig(log=str(log), **settings), str(out), IN_MEMORY, show_progress=False)


def write_csv(rows, path, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, list(GOOD))
        writer.writeheader()
        writer.writerows(rows)


# Reason -> what makes a row so; each such row stands in a request of its own.
BROKEN = {
    "missing_user_id": {"user_id": ""},
    "missing_item_id": {"item_id": ""},
    "missing_channel": {"channel": ""},
    "missing_clicks": {"clicks": ""},
    "missing_timestamp": {"timestamp": ""},
    "not_a_number_clicks": {"clicks": "many"},
    "not_a_number_timestamp": {"timestamp": "yesterday"},
    "not_an_integer_position": {"position": "1.5"},
    "negative_clicks": {"clicks": "-1"},
    "negative_dwell_seconds": {"dwell_seconds": "-0.5"},
    "position_below_one": {"position": "0"},
    "timestamp_in_seconds": {"timestamp": str(START // 1000)},
    "timestamp_out_of_range": {"timestamp": str(START * 1000)},
    "propensity_out_of_range": {"propensity_item": "1.25"},
    "not_a_truth_value_explored": {"explored": "2"},
    "too_large_clicks": {"clicks": "99999999999"},
    "not_a_number_dwell_seconds": {"dwell_seconds": "inf"},
}


def test_a_thousand_broken_rows_of_ten_kinds_are_each_counted(tmp_path):
    kinds = list(BROKEN)[:5] + list(BROKEN)[8:13]
    broken = [(reason, GOOD | {"request_id": f"b{n}"} | BROKEN[reason]) for n, reason in enumerate(kinds * 100)]
    good = good_rows()
    write_csv(good[:90] + [row for _, row in broken[:500]], tmp_path / "log" / "a.csv")
    write_csv([row for _, row in broken[500:]] + good[90:], tmp_path / "log" / "b.csv")
    summary = run(tmp_path / "log", tmp_path / "out")
    assert len(broken) == 1000 and len(kinds) == 10
    assert summary["rejected"] == dict.fromkeys(sorted(kinds), 100)
    assert summary["accepted"] == len(good)
    assert summary["read"] == summary["accepted"] + sum(summary["rejected"].values())
    kept = rejected_rows(tmp_path / "out")
    assert collections.Counter(row["reason"] for row in kept) == summary["rejected"]
    lines = {(row["file"], row["row"]): row["values"]["request_id"] for row in kept}
    assert lines["a.csv", 92] == "b0"  # the header is line 1, then 90 good rows
    assert lines["b.csv", 2] == "b500"


@pytest.mark.parametrize("reason", BROKEN)
def test_each_reason(tmp_path, reason):
    write_csv([*good_rows(), GOOD | {"request_id": "broken"} | BROKEN[reason]], tmp_path / "log" / "a.csv")
    summary = run(tmp_path / "log", tmp_path / "out")
    assert summary["rejected"] == {reason: 1}
    (row,) = rejected_rows(tmp_path / "out")
    assert row["values"]["request_id"] == "broken"


def test_rows_that_only_other_rows_prove_wrong(tmp_path):
    shared = [GOOD | {"request_id": "shared", "user_id": user, "position": n} for n, user in ((1, "x"), (2, "y"))]
    twice = [GOOD | {"request_id": "twice", "item_id": item, "clicks": 1} for item in ("second", "first")]
    log = write_parquet([*good_rows(), *shared, *twice], tmp_path / "log", files=3)
    summary = run(log, tmp_path / "out")
    assert summary["rejected"] == {"duplicate_position": 1, "request_with_two_users": 2}
    kept = {row["values"]["item_id"]: row["reason"] for row in rejected_rows(tmp_path / "out")}
    assert kept == {"i": "request_with_two_users", "second": "duplicate_position"}
    requests = {s["request_id"][0]: s for split in ("train", "eval") for s in read_sessions(tmp_path / "out", split)}
    assert "shared" not in requests and requests["twice"]["item_id"][0] == "first"


def test_csv_lines_that_cannot_be_taken_apart(tmp_path):
    path = tmp_path / "log" / "a.csv"
    write_csv(good_rows(), path)
    good = path.read_bytes().splitlines()[1]
    bad = [b"too,few", good + b",too many", b'"unclosed' + good, b"\xff\xfe" + good]
    path.write_bytes(path.read_bytes() + b"\r\n" + b"\r\n".join(bad) + b"\r\n\r\n" + good.replace(b"r0,", b"rz,"))
    summary = run(tmp_path / "log", tmp_path / "out")
    assert summary["rejected"] == {"malformed_row": 3, "not_utf8": 1}
    assert summary["accepted"] == len(good_rows()) + 1
    rows = {row["row"]: row for row in rejected_rows(tmp_path / "out")}
    assert sorted(rows) == [183, 184, 185, 186]
    assert rows[183]["values"] == {"text": "too,few"}
    assert rows[186]["values"]["request_id"].startswith("\\xff\\xfe")


def test_jsonl_lines_that_cannot_be_taken_apart(tmp_path):
    lines = [json.dumps(row | {"tags": ["a", "b"]}).encode() for row in good_rows()]
    lines += [b"{", b"[1, 2]", b'{"request_id": {"deep": 1}}', b'{"request_id": "\xff"}', b""]
    lines += [json.dumps(GOOD | {"request_id": "j", "clicks": value}).encode() for value in ("x", True, 2**70)]
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "a.jsonl").write_bytes(b"\n".join(lines))
    summary = run(tmp_path / "log", tmp_path / "out")
    assert summary["rejected"] == {"malformed_row": 3, "not_a_number_clicks": 1, "not_utf8": 1, "too_large_clicks": 1}
    assert summary["accepted"] == len(good_rows()) + 1


def test_a_tag_may_not_hold_what_separates_tags(tmp_path):
    rows = [row | {"tags": ["fine"]} for row in good_rows()]
    rows.append(GOOD | {"request_id": "t", "tags": ["a|b"]})
    summary = run(write_parquet(rows, tmp_path / "log"), tmp_path / "out")
    assert summary["rejected"] == {"tag_contains_separator": 1}


def test_tags_are_cleaned_and_cut_to_the_limit(tmp_path):
    rows = [row | {"tags": "b|a||b|c|d"} for row in good_rows()]
    summary = run(write_parquet(rows, tmp_path / "log"), tmp_path / "out", max_tags=3)
    assert summary["tags_dropped"] == len(rows)
    assert read_sessions(tmp_path / "out", "train")[0]["tags"][:3] == ["b", "a", "c"]


def test_masked_columns_are_hashed_everywhere(tmp_path, monkeypatch):
    rows = [*good_rows(), GOOD | {"request_id": "bad", "user_id": "secret", "clicks": -1}]
    write_csv(rows, tmp_path / "log" / "a.csv")
    with open(tmp_path / "log" / "a.csv", "a", encoding="utf-8") as file:
        file.write("secret,broken line\n")
    masking = Masking(("user_id", "item_id"), key_env="TEST_MASK_KEY")
    with pytest.raises(ConfigError, match="TEST_MASK_KEY"):
        run(tmp_path / "log", tmp_path / "out", masking=masking)
    for key in ("k1", "k2"):
        monkeypatch.setenv("TEST_MASK_KEY", key)
        run(tmp_path / "log", tmp_path / key, masking=masking)
    users = {key: read_sessions(tmp_path / key, "train")[0]["user_id"][0] for key in ("k1", "k2")}
    assert users["k1"] != users["k2"] and {len(user) for user in users.values()} == {64}
    rejected = rejected_rows(tmp_path / "k1")
    assert "secret" not in json.dumps(rejected) and len(rejected) == 2
    history = read_sessions(tmp_path / "k1", "eval")[0]["history_item_id"]
    assert {len(item) for item in history} <= {0, 64}


def test_masking_hides_what_is_known_not_more(tmp_path):
    with pytest.raises(ConfigError, match="clicks"):
        DatasetConfig(masking=Masking(("clicks",)))
