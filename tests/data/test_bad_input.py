"""What is wrong with a log as a whole ends in one line that names file and remedy, and leaves nothing behind."""

import gzip
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hrlrec_tf.data import prepare, rules
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.errors import ConfigError, DataError, HrlrecError, LogError

from .logs import IN_MEMORY, START, random_rows, read_bytes, read_sessions, write_parquet
from .test_rejections import GOOD, good_rows, write_csv


def run(log, out, **settings):
    dataset = DatasetConfig(log=str(log), **settings)
    return prepare.prepare(dataset, str(out), IN_MEMORY, show_progress=False)


def refused(tmp_path, match, log=None, **settings):
    """Runs on `log`; the error must be one line, name the log, and leave no folder."""
    with pytest.raises(LogError, match=match) as caught:
        run(log or tmp_path / "log", tmp_path / "out", **settings)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
    assert not (tmp_path / "out").exists() and not (tmp_path / ".out.partial").exists()


def test_no_such_folder(tmp_path):
    refused(tmp_path, "no such folder")


def test_empty_folder(tmp_path):
    (tmp_path / "log").mkdir()
    refused(tmp_path, "no Parquet, CSV or JSONL file")


def test_folder_of_other_things(tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "notes.txt").write_text("hello")
    refused(tmp_path, "notes.txt")


def test_no_rows(tmp_path):
    write_csv([], tmp_path / "log" / "a.csv")
    refused(tmp_path, "no rows")


def test_file_without_header(tmp_path):
    write_csv(good_rows(), tmp_path / "log" / "a.csv")
    (tmp_path / "log" / "b.csv").write_text("")
    refused(tmp_path, "b.csv: the file is empty")


@pytest.mark.parametrize("name", ["clicks", "user_id", "timestamp", "channel", "item_id", "request_id", "position"])
def test_missing_column(tmp_path, name):
    rows = [{key: value for key, value in row.items() if key != name} for row in good_rows()]
    log = write_parquet(rows, tmp_path / "log")
    refused(tmp_path, f"column {name} is missing.*dataset.yaml" + (".*list_rule" if name[0] in "rp" else ""), log)


def test_column_of_lists(tmp_path):
    log = write_parquet([row | {"channel": ["a", "b"]} for row in good_rows()], tmp_path / "log")
    refused(tmp_path, "column channel holds list", log)


def test_truncated_parquet(tmp_path):
    log = write_parquet(good_rows(), tmp_path / "log")
    (path,) = (tmp_path / "log").iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    refused(tmp_path, f"{path.name}: cannot be read as parquet", log)


def test_damaged_parquet_pages(tmp_path):
    log = write_parquet(random_rows(0), tmp_path / "log")
    (path,) = (tmp_path / "log").iterdir()
    data = bytearray(path.read_bytes())
    data[4:400] = b"\xff" * 396
    path.write_bytes(data)
    refused(tmp_path, path.name, log)


def test_truncated_gzip(tmp_path):
    write_csv(good_rows(), tmp_path / "log" / "a.csv")
    data = gzip.compress((tmp_path / "log" / "a.csv").read_bytes())
    (tmp_path / "log" / "a.csv").unlink()
    (tmp_path / "log" / "a.csv.gz").write_bytes(data[:-30])
    refused(tmp_path, "a.csv.gz: cannot be read as gzip csv")


def test_unknown_compression(tmp_path):
    write_csv(good_rows(), tmp_path / "log" / "a.csv")
    (tmp_path / "log" / "b.csv.xz").write_bytes(b"\xfd7zXZ")
    refused(tmp_path, "b.csv.xz: unknown compression '.xz'")


def test_compression_in_name_only(tmp_path):
    write_csv(good_rows(), tmp_path / "log" / "a.csv.gz")
    refused(tmp_path, "a.csv.gz: cannot be read as gzip csv")


def test_parquet_of_another_kind_inside(tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "a.parquet").write_text("no parquet")
    refused(tmp_path, "a.parquet: cannot be read as parquet")


def test_header_that_is_no_utf8(tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "a.csv").write_bytes("user_id;größe\n".encode("latin-1"))
    refused(tmp_path, "header is not UTF-8")


def test_all_timestamps_in_seconds(tmp_path):
    rows = [row | {"timestamp": row["timestamp"] // 1000} for row in good_rows()]
    log = write_parquet(rows, tmp_path / "log")
    refused(tmp_path, "timestamp_unit: s", log)
    assert run(log, tmp_path / "out", timestamp_unit="s")["accepted"] == len(rows)


def test_nothing_usable(tmp_path):
    log = write_parquet([row | {"channel": None} for row in good_rows()], tmp_path / "log")
    refused(tmp_path, "none of 180 rows can be used, 180 for missing_channel", log)


def test_nothing_left_to_train_on(tmp_path):
    log = write_parquet([row | {"timestamp": START} for row in good_rows()], tmp_path / "log")
    refused(tmp_path, "leave no row to train on", log)


def test_optional_column_of_two_types(tmp_path):
    write_parquet([row | {"item_size": 1.5} for row in good_rows()], tmp_path / "log", seed=1)
    write_parquet([row | {"item_size": "big"} for row in good_rows()], tmp_path / "log", seed=2)
    refused(tmp_path, "item_size holds numbers in .* and words in .*type")


def test_side_table_without_its_key(tmp_path):
    write_csv(good_rows(), tmp_path / "log" / "a.csv")
    (tmp_path / "log" / "items.csv").write_text("id,item_size\n1,2\n")
    refused(tmp_path, "items.csv: has no column item_id", joins=(rules.Join("items.csv", "item_id"),))


def test_channel_seen_only_in_evaluation_user_with_one_row_and_long_lists(tmp_path):
    rows = good_rows()
    late = START + 10**9
    rows += [GOOD | {"request_id": "new", "user_id": "once", "timestamp": late, "channel": "brand new"}]
    rows += [GOOD | {"request_id": "long", "timestamp": late, "position": n} for n in range(1, 26)]
    summary = run(write_parquet(rows, tmp_path / "log"), tmp_path / "out")
    assert summary["channels"]["brand new"] == {"train": 0, "validation": 0, "eval": 1}
    found = {session["request_id"][0]: session for session in read_sessions(tmp_path / "out", "eval")}
    assert found["new"]["history_item_id"] == [""] * 41 and found["new"]["profile_channel"] == []
    assert [sum(found[name]["weight"]) for name in ("long", "long#2", "long#3")] == [10, 10, 5]
    assert found["long#3"]["position"] == [21, 22, 23, 24, 25, 0, 0, 0, 0, 0]


def test_a_finished_folder_is_not_overwritten_by_accident(tmp_path):
    log = write_parquet(good_rows(), tmp_path / "log")
    run(log, tmp_path / "out")
    before = read_bytes(tmp_path / "out")
    with pytest.raises(ConfigError, match="--overwrite"):
        run(log, tmp_path / "out")
    assert read_bytes(tmp_path / "out") == before
    prepare.prepare(DatasetConfig(log=log), str(tmp_path / "out"), IN_MEMORY, overwrite=True, show_progress=False)
    assert read_bytes(tmp_path / "out") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "out"]


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    log = write_parquet(good_rows(), tmp_path / "log")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("dear")
    with pytest.raises(ConfigError, match="no finished sessions"):
        prepare.prepare(DatasetConfig(log=log), str(tmp_path / "out"), IN_MEMORY, overwrite=True, show_progress=False)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "dear"


def test_neighbours_of_the_result_are_left_alone(tmp_path):
    log = write_parquet(random_rows(3), tmp_path / "log")
    (tmp_path / "out.old").mkdir()
    (tmp_path / "out.old" / "mine.txt").write_text("kept")
    for overwrite in (False, True):
        prepare.prepare(DatasetConfig(log=log), str(tmp_path / "out"), IN_MEMORY, overwrite, show_progress=False)
    assert (tmp_path / "out.old" / "mine.txt").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "out", "out.old"]


def test_output_inside_the_log_is_refused(tmp_path):
    log = write_parquet(random_rows(3), tmp_path / "log")
    with pytest.raises(ConfigError, match="lies inside the log"):
        prepare.prepare(DatasetConfig(log=log), str(tmp_path / "log" / "out"), IN_MEMORY, show_progress=False)


def test_what_a_killed_run_left_is_cleared(tmp_path):
    log = write_parquet(good_rows(), tmp_path / "log")
    (tmp_path / ".out.partial" / "sessions" / "train").mkdir(parents=True)
    (tmp_path / ".out.partial" / "sessions" / "train" / "sessions-old.tfrecord.gz").write_bytes(b"half")
    run(log, tmp_path / "out")
    assert [path for path in read_bytes(tmp_path / "out") if "old" in path] == []
    assert not (tmp_path / ".out.partial").exists()


@pytest.mark.parametrize("part", ["units", "train", "buckets"])
def test_full_disk(tmp_path, monkeypatch, part):
    log = write_parquet(good_rows(), tmp_path / "log")
    create = prepare.FileSystems.create

    def full(path, *args, **kwargs):
        if f"/{part}/" in path:
            raise OSError(28, "No space left on device", path)
        return create(path, *args, **kwargs)

    monkeypatch.setattr("apache_beam.io.filesystems.FileSystems.create", staticmethod(full))
    with pytest.raises(LogError, match="disk"):
        run(log, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log"]


def test_dask_runner_is_refused(tmp_path):
    log = write_parquet(good_rows(), tmp_path / "log")
    with pytest.raises(ConfigError, match="Dask"):
        prepare.prepare(DatasetConfig(log=log), str(tmp_path / "out"), ["--runner=DaskRunner"], show_progress=False)


def test_summary_of_an_unfinished_folder(tmp_path):
    with pytest.raises(DataError, match="no finished sessions"):
        prepare.read_summary(str(tmp_path))


def test_files_that_are_no_part_of_the_log_are_told(tmp_path):
    write_csv(good_rows(), tmp_path / "log" / "deep" / "a.csv")
    for name in ("README.md", "_SUCCESS", ".a.csv.crc"):
        (tmp_path / "log" / name).write_text("x")
    summary = run(tmp_path / "log", tmp_path / "out")
    assert summary["ignored_files"] == ["README.md"]
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary


def test_unicode_and_strange_ids_survive(tmp_path):
    names = ["ann\x00", "空", "a|b", 'quote"d', "new\\nline", " padded ", "🙂"]
    rows = [row | {"user_id": names[int(row["user_id"][1:])]} for row in good_rows()]
    run(write_parquet(rows, tmp_path / "log"), tmp_path / "out")
    found = {
        s["user_id"][0] for split in ("train", "validation", "eval") for s in read_sessions(tmp_path / "out", split)
    }
    assert found == set(names)


def test_parquet_of_an_unsupported_type_of_number(tmp_path):
    (tmp_path / "log").mkdir()
    columns = {name: [row[name] for row in good_rows()] for name in GOOD}
    columns["timestamp"] = pa.array(columns["timestamp"], pa.timestamp("ms"))
    columns["user_id"] = pa.array(columns["user_id"]).dictionary_encode()
    columns["clicks"] = pa.array([float(value) for value in columns["clicks"]])
    columns["explored"] = pa.array([bool(value) for value in columns["explored"]])
    pq.write_table(pa.table(columns), tmp_path / "log" / "a.parquet")
    summary = run(tmp_path / "log", tmp_path / "out")
    assert summary["accepted"] == len(good_rows()) and summary["first_timestamp"] == START


def test_errors_are_the_packages_own(tmp_path):
    with pytest.raises(HrlrecError):
        run(tmp_path / os.devnull, tmp_path / "out")
