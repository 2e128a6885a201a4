"""The same rows in any format give the same sessions."""

import bz2
import gzip
import json

import pyarrow as pa
import pytest

from hrlrec_tf.data import files, formats, text_formats
from hrlrec_tf.data.files import LogFile
from hrlrec_tf.errors import LogError

from .logs import random_rows, read_bytes, write_parquet
from .test_rejections import run


def as_csv(rows, separator=","):
    lines = [separator.join(rows[0])]
    for row in rows:
        cells = ["|".join(value) if isinstance(value, list) else str(value) for value in row.values()]
        lines.append(separator.join(f'"{cell}"' if "ü" in cell else cell for cell in cells))
    return "\n".join(lines).encode()


def as_jsonl(rows):
    return "\n".join(json.dumps(row, ensure_ascii=bool(n % 2)) for n, row in enumerate(rows)).encode()


def multi_member(data):
    half = len(data) // 2
    return gzip.compress(data[:half]) + gzip.compress(data[half:])


VARIANTS = {
    "a.csv": as_csv,
    "a.CSV": lambda rows: as_csv(rows).replace(b"\n", b"\r\n"),
    "bom.csv": lambda rows: b"\xef\xbb\xbf" + as_csv(rows),
    "a.tsv": lambda rows: as_csv(rows, "\t"),
    "a.csv.gz": lambda rows: multi_member(as_csv(rows)),
    "a.tsv.bz2": lambda rows: bz2.compress(as_csv(rows, "\t")),
    "a.jsonl": as_jsonl,
    "a.ndjson.gz": lambda rows: gzip.compress(as_jsonl(rows)),
    "a.jsonl.zst": lambda rows: pa.compress(as_jsonl(rows), codec="zstd", asbytes=True),
}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parquet")
    run(write_parquet(random_rows(3), folder / "log"), folder / "out")
    return read_bytes(folder / "out")


@pytest.mark.parametrize("name", VARIANTS)
def test_each_format_gives_the_same_sessions(tmp_path, expected, name):
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / name).write_bytes(VARIANTS[name](random_rows(3)))
    run(tmp_path / "log", tmp_path / "out")
    assert read_bytes(tmp_path / "out") == expected


def test_one_file_may_be_the_log(tmp_path, expected):
    (tmp_path / "one.csv").write_bytes(as_csv(random_rows(3)))
    (tmp_path / "other.csv").write_bytes(b"no log")
    run(tmp_path / "one.csv", tmp_path / "out")
    assert read_bytes(tmp_path / "out") == expected


def test_format_and_separator_may_be_stated(tmp_path, expected):
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "impressions.dat").write_bytes(as_csv(random_rows(3), ";"))
    run(tmp_path / "log", tmp_path / "out", format="csv", separator=";")
    assert read_bytes(tmp_path / "out") == expected


def test_small_blocks_lose_no_line(tmp_path, monkeypatch):
    monkeypatch.setattr(text_formats, "BLOCK_BYTES", 50)
    lines = [b"a,b", *(f"{n},{'x' * (n % 120)}".encode() for n in range(200)), b"bad", b"", b"200,end"]
    (tmp_path / "a.csv").write_bytes(b"\n".join(lines))
    batches = list(formats.read(LogFile(str(tmp_path / "a.csv"), "csv"), ["a", "b"]))
    values = [int(value) for batch in batches for value in batch.table["a"].to_pylist()]
    rows = [int(row) for batch in batches for row in batch.rows]
    assert values == list(range(201))
    assert rows == [*range(2, 202), 204]
    assert [row for batch in batches for row in batch.broken] == [files.BrokenRow(202, "malformed_row", "bad")]


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(text_formats, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(text_formats, "BLOCK_BYTES", 100)
    (tmp_path / "a.jsonl").write_bytes(b"x" * 5000)
    with pytest.raises(LogError, match="longer than 1000 bytes"):
        list(formats.read(LogFile(str(tmp_path / "a.jsonl"), "jsonl"), ["a"]))


@pytest.mark.parametrize(
    "values,kind",
    [
        ([1, None, 2], pa.int64()),
        ([1, 2.5, None], pa.float64()),
        ([True, None], pa.bool_()),
        (["a", None], pa.binary()),
        (["a", 1], pa.binary()),
        ([1, 2**70], pa.binary()),
        ([None, None], pa.binary()),
        ([["a", 1], None, "b"], pa.list_(pa.binary())),
    ],
)
def test_json_columns_take_the_type_their_values_share(values, kind):
    array = text_formats.json_column(values)
    assert array.type == kind and len(array) == len(values)


def test_a_half_surrogate_is_no_text(tmp_path):
    rows = [row | {"item_author": "\ud800" if n == 5 else "a"} for n, row in enumerate(random_rows(3))]
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    summary = run(tmp_path / "log", tmp_path / "out")
    assert summary["rejected"] == {"not_utf8": 1}
