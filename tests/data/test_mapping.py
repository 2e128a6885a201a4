"""A log with names, units and tables of its own, mapped by `dataset.yaml` alone."""

import pytest

from hrlrec_tf.data import config, prepare
from hrlrec_tf.errors import LogError

from .logs import IN_MEMORY, START, read_sessions

YAML = """
files: "*.views"
format: csv
separator: ";"
typed_header: true
timestamp_unit: s
joins:
  - {file: films.csv, key: film}
  - {file: people.csv, key: user_id}
columns:
  timestamp: at
  item_id: film
  channel:
    source: minutes
    cases: [{equals: 0, value: still}, {below: 30, value: short}, {value: long}]
  tags: {source: genres, separator: " "}
  clicks: {source: stars, at_least: 4}
  dwell_seconds: {source: watched_ms, scale: 0.001}
  user_age: {source: age, type: int}
  item_genre: {source: genres, separator: " ", first: true}
  item_minutes: {source: minutes, type: float}
  context_app: {constant: web}
list_rule: {gap_seconds: 60}
list_length: 3
"""


def write(folder, films="film,minutes,genres\n1,0,Art\n2,12.5,Drama War Drama\n3,90,\n3,1,again\n"):
    (folder / "dataset.yaml").write_text(YAML)
    (folder / "films.csv").write_text(films)
    (folder / "people.csv").write_text("user_id,age,item_owner\nann,31,no\nbo,,no\n")
    rows = ["user_id:token;film:token;stars:float;watched_ms:float;at:float"]
    for n in range(12):
        rows.append(f"{('ann', 'bo')[n % 2]};{n % 4};{n % 6};{n * 250};{START // 1000 + n * 50}")
    (folder / "a.views").write_text("\n".join(rows) + "\n")
    return config.find(str(folder), None)


def run(dataset, out):
    return prepare.prepare(dataset, str(out), IN_MEMORY, show_progress=False)


def test_a_mapped_log(tmp_path):
    (tmp_path / "log").mkdir()
    summary = run(write(tmp_path / "log"), tmp_path / "out")
    assert summary["read"] == 12 and summary["rejected"] == {"missing_channel": 3}  # film 0 is in no table
    assert set(summary["channels"]) == {"still", "short", "long"}
    assert summary["ignored_files"] == []
    rows = {}
    for split in ("train", "validation", "eval"):
        for session in read_sessions(tmp_path / "out", split):
            width = int(sum(map(bool, session["item_id"])))
            for n in range(width):
                rows[session["user_id"][0], session["item_id"][n], session["dwell_seconds"][n]] = session, n
    session, n = rows["bo", "1", 0.25]
    assert (session["user_age"], session["context_app"], session["timestamp"]) == ([""], ["web"], [START + 50_000])
    assert (session["clicks"][n], session["channel"][n], session["item_minutes"][n]) == (0, "still", 0.0)
    session, n = rows["ann", "2", 2.5]
    assert (session["user_age"], session["clicks"][n], session["channel"][n]) == (["31"], 1, "short")
    assert session["tags"][8 * n : 8 * n + 3] == ["Drama", "War", ""] and session["item_genre"][n] == "Drama"
    session, n = rows["bo", "3", 0.75]
    assert (session["item_minutes"][n], session["item_genre"][n]) == (90.0, "")


def test_rows_far_apart_are_lists_of_their_own(tmp_path):
    (tmp_path / "log").mkdir()
    summary = run(write(tmp_path / "log"), tmp_path / "out")
    assert summary["lists"] == summary["accepted"] == 9  # a user's rows are 100 s apart


def test_a_broken_side_table_is_refused(tmp_path):
    (tmp_path / "log").mkdir()
    dataset = write(tmp_path / "log", films="film,minutes,genres\n1,0,Art\n2,12\n")
    with pytest.raises(LogError, match="films.csv, line 3: malformed_row"):
        run(dataset, tmp_path / "out")


def test_an_absent_side_table_is_refused(tmp_path):
    (tmp_path / "log").mkdir()
    dataset = write(tmp_path / "log")
    (tmp_path / "log" / "people.csv").unlink()
    with pytest.raises(LogError, match="people.csv"):
        run(dataset, tmp_path / "out")
