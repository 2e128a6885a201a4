"""Users leave a log, its side tables and its sessions; everything else stays as it was, byte for byte where it can."""

import gzip
import json
import pathlib
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny

from hrlrec_tf.data import forget, forget_sessions, forget_verb, prepare
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.data.examples import SPLITS
from hrlrec_tf.data.rules import Column, Join, Masking
from hrlrec_tf.errors import ConfigError, DataError

from . import logs

GONE = ("ann", "čeněk")
KEY = "TEST_FORGET_KEY"


def columns(log) -> set[str]:
    return {user for file in pathlib.Path(log).glob("*.parquet") for user in pq.read_table(file)["user_id"].to_pylist()}


@pytest.fixture
def users(tmp_path):
    file = tmp_path / "users.txt"
    file.write_text("\n".join([*GONE, "", "nobody"]) + "\n", encoding="utf-8")
    return str(file)


def test_a_parquet_log_keeps_all_other_rows_and_types(tmp_path, users):
    rows = logs.random_rows(3)
    log = logs.write_parquet(rows, tmp_path / "log", files=3, row_group_size=20)
    (tmp_path / "log" / "dataset.yaml").write_text("max_tags: 4\n")
    (tmp_path / "log" / "notes.txt").write_text("ann")
    words = f"--log {log} --out {tmp_path / 'left'} --user-file {users}"
    counts = tiny.run_verb(forget_verb.VERB, words)["log"]
    gone = [row for row in rows if row["user_id"] in GONE]
    assert (counts["users_found"], counts["users_asked"], counts["rows_removed"]) == (2, 3, len(gone))
    assert counts["ignored_files"] == ["notes.txt"]
    assert columns(tmp_path / "left") == {"bo", "дарья", "유진"} and (tmp_path / "left/dataset.yaml").exists()
    for file in pathlib.Path(log).glob("*.parquet"):
        before, after = (pq.read_table(folder / file.name) for folder in (file.parent, tmp_path / "left"))
        left = [row for row in before.to_pylist() if row["user_id"] not in GONE]
        assert after.schema == before.schema and after.to_pylist() == left
    assert not (tmp_path / "left" / "notes.txt").exists()


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.jsonl.gz"])
def test_text_files_keep_all_other_lines(tmp_path, name, users):
    rows = [row | {"tags": "a|b"} for row in logs.random_rows(5, requests=20)]
    header = [",".join(rows[0])] if "csv" in name else []
    lines = [",".join(map(str, row.values())) if "csv" in name else json.dumps(row, ensure_ascii=False) for row in rows]
    lines[3:3] = ["broken,of ann"] if "csv" in name else ['{"user_id": "ann", ']
    lines[5:5] = ["broken,of anna"] if "csv" in name else ['{"user_id": "anna", ']
    text = "\n".join([*header, *lines]) + "\n"
    path = tmp_path / "log" / name
    path.parent.mkdir()
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    counts = forget.forget(DatasetConfig(log=str(path.parent)), forget.read_users(users, False, None), None)
    left = path.read_bytes()
    left = gzip.decompress(left) if name.endswith("gz") else left
    expected = [line for line in lines if not re.search(rf"\b({'|'.join(GONE)})\b", line)]
    assert len(expected) < len(lines) - 3 and left.decode().splitlines() == [*header, *expected]
    assert counts["broken_lines_removed"] == 1 and counts["rows_removed"] == len(lines) - len(expected) - 1
    assert [file.name for file in path.parent.iterdir()] == [name]


@pytest.mark.parametrize("in_place", [False, True])
def test_files_of_these_users_alone_leave_a_log_that_can_be_read(tmp_path, users, in_place):
    rows = logs.random_rows(4)
    log = logs.write_parquet([row for row in rows if row["user_id"] not in GONE], tmp_path / "log")
    theirs = [row for row in rows if row["user_id"] in GONE]
    (tmp_path / "log" / "theirs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in theirs))
    pq.write_table(pa.Table.from_pylist(theirs), tmp_path / "log" / "theirs.parquet")
    out = None if in_place else str(tmp_path / "left")
    forget.forget(DatasetConfig(log=log), forget.read_users(users, False, None), out)
    left = out or log
    assert not (pathlib.Path(left) / "theirs.jsonl").exists()
    made = prepare.prepare(DatasetConfig(log=left), str(tmp_path / "out"), logs.IN_MEMORY, show_progress=False)
    assert made["users"] == 3 and not list(pathlib.Path(left).glob(".*"))


def test_side_tables_of_users_lose_them_too(tmp_path, users):
    log = logs.write_parquet(logs.random_rows(3), tmp_path / "log")
    (tmp_path / "log" / "people.csv").write_text("user_id,city\nann,Rome\nbo,Oslo\n")
    (tmp_path / "log" / "items.csv").write_text("item_id,about\ni,ann\n")
    dataset = DatasetConfig(log=log, joins=(Join("people.csv", "user_id"), Join("items.csv", "item_id")))
    forget.forget(dataset, forget.read_users(users, False, None), None)
    assert (tmp_path / "log" / "people.csv").read_text() == "user_id,city\nbo,Oslo\n"
    assert (tmp_path / "log" / "items.csv").read_text() == "item_id,about\ni,ann\n"


def test_a_log_without_these_users_is_not_touched(tmp_path, users):
    log = logs.write_parquet(logs.random_rows(3, users=2), tmp_path / "log")
    (tmp_path / "users.txt").write_text("nobody\n")
    before = {file: file.stat().st_mtime_ns for file in pathlib.Path(log).iterdir()}
    counts = forget.forget(DatasetConfig(log=log), forget.read_users(users, False, None), None)
    assert counts["files_changed"] == 0 and {f: f.stat().st_mtime_ns for f in pathlib.Path(log).iterdir()} == before


@pytest.mark.parametrize("masked", [False, True])
def test_sessions_of_a_masked_log(tmp_path, monkeypatch, masked, capsys):
    """Raw ids are hashed to meet the sessions; masked ones are compared with what the log's raw ones hash to."""
    monkeypatch.setenv(KEY, "k")
    rows = [*logs.random_rows(4), dict(logs.random_rows(4)[0], user_id="ann", request_id="bad", clicks=-1)]
    log, out = logs.write_parquet(rows, tmp_path / "log"), tmp_path / "sessions"
    (tmp_path / "log" / "dataset.yaml").write_text(f"masking: {{columns: [user_id], key_env: {KEY}}}\n")
    dataset = DatasetConfig(log=log, masking=Masking(("user_id",), KEY))
    made = prepare.prepare(dataset, str(out), logs.IN_MEMORY, show_progress=False)
    (out / "transform").mkdir()
    file = tmp_path / "users.txt"
    ids = sorted(forget.Users(frozenset(GONE), False, b"k").in_sessions) if masked else GONE
    file.write_text("\n".join(ids), encoding="utf-8")
    words = f"--log {log} --in-place --sessions {out} --user-file {file}"
    result = tiny.run_verb(forget_verb.VERB, words, *["--masked"] * masked)
    assert columns(log) == {"bo", "дарья", "유진"}
    hashes = forget.Users(frozenset(GONE), False, b"k").in_sessions
    left = {split: logs.read_sessions(out, split, ["user_id"]) for split in ("train", "validation", "eval")}
    assert not hashes & {user for each in left.values() for session in each for user in session["user_id"]}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["requests"] == {split: len(each) for split, each in left.items()} != made["requests"]
    assert sum(summary["rows"].values()) == sum(row["user_id"] not in GONE for row in rows)
    assert result["sessions"]["rejected_rows_removed"] == 1 and not (out / "transform").exists()
    assert not any(user in capsys.readouterr().out for user in (*GONE, *hashes))
    assert forget_sessions.forget(out, hashes)["sessions_removed"] == 0  # again: nothing is left to do


def as_artifact(sessions: pathlib.Path) -> pathlib.Path:
    """Lays a folder of `prepare` out as the pipeline's SessionExampleGen does."""
    for split in SPLITS:
        (sessions / split).rename(sessions / f"Split-{split}")
    return sessions


def test_sessions_of_a_pipeline(tmp_path, users):
    log, plain, artifact = (tmp_path / name for name in ("log", "plain", "artifact"))
    dataset = DatasetConfig(log=logs.write_parquet(logs.random_rows(4), log))
    for folder in (plain, artifact):
        prepare.prepare(dataset, str(folder), logs.IN_MEMORY, show_progress=False)
    as_artifact(artifact)
    counts = [
        tiny.run_verb(forget_verb.VERB, f"--user-file {users} --sessions {folder}")["sessions"]
        for folder in (plain, artifact)
    ]
    assert counts[0] == counts[1] and counts[0]["sessions_removed"] and counts[0]["users_found"] == len(GONE)
    assert (artifact / "summary.json").read_bytes() == (plain / "summary.json").read_bytes()
    for split in SPLITS:
        left = logs.read_sessions(artifact, f"Split-{split}", ["user_id"])
        assert left == logs.read_sessions(plain, split, ["user_id"])
    (artifact / "Split-eval").rename(artifact / "eval-of-old")
    before = (artifact / "summary.json").read_bytes()
    with pytest.raises(DataError, match="neither eval/ of `hrlrec prepare` nor Split-eval/ .* nothing was removed"):
        forget_sessions.forget(artifact, GONE)
    assert (artifact / "summary.json").read_bytes() == before


def test_what_is_left_can_be_prepared(tmp_path, users):
    log = logs.write_parquet(logs.random_rows(6), tmp_path / "log")
    forget.forget(DatasetConfig(log=log), forget.read_users(users, False, None), str(tmp_path / "left"))
    summary = prepare.prepare(
        DatasetConfig(log=str(tmp_path / "left")), str(tmp_path / "out"), logs.IN_MEMORY, show_progress=False
    )
    assert summary["users"] == 3


class TestRefusals:
    def test_words(self, tmp_path, users):
        for words, named in (("", "nothing to forget in"), (f"--log {tmp_path}", "--out DIR or --in-place")):
            with pytest.raises(ConfigError, match=named):
                tiny.run_verb(forget_verb.VERB, f"{words} --user-file {users}")

    def test_lists_of_users(self, tmp_path, monkeypatch):
        empty, broken = tmp_path / "empty", tmp_path / "broken"
        empty.write_text("\n")
        broken.write_bytes(b"secret\xff\n")
        for file, named in ((empty, "holds no user id"), (broken, "cannot be read"), (tmp_path / "no", "cannot be")):
            with pytest.raises(ConfigError, match=named) as caught:
                forget.read_users(str(file), False, None)
            assert "secret" not in str(caught.value)
        empty.write_text("u")
        monkeypatch.delenv(KEY, raising=False)
        with pytest.raises(ConfigError, match=f"set the environment variable {KEY}"):
            forget.read_users(str(empty), False, DatasetConfig(masking=Masking(("user_id",), KEY)))

    def test_logs(self, tmp_path, users):
        them = forget.read_users(users, False, None)
        with pytest.raises(ConfigError, match="is not on this machine"):
            forget.forget(DatasetConfig(log="gs://bucket/log"), them, None)
        log = logs.write_parquet(logs.random_rows(3), tmp_path / "log")
        with pytest.raises(ConfigError, match="exists already"):
            forget.forget(DatasetConfig(log=log), them, str(tmp_path))
        derived = {"user_id": Column(source="tags", separator="|", first=True)}
        with pytest.raises(ConfigError, match="users are made of other values"):
            forget.forget(DatasetConfig(log=log, columns=derived), them, None)
        with pytest.raises(DataError, match="holds no finished sessions"):
            forget_sessions.forget(tmp_path, ["a"])

    def test_folders_that_hold_no_sessions_in_a_known_place(self, tmp_path):
        (tmp_path / "summary.json").write_text("{}")
        with pytest.raises(DataError, match="neither train/ of `hrlrec prepare` nor Split-train/"):
            forget_sessions.forget(tmp_path, ["a"])
        assert (tmp_path / "summary.json").read_text() == "{}"
