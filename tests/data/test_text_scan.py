"""The scan finds what is planted, however it is packed, and only that."""

import bz2
import gzip
import html
import io
import json
import sqlite3
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from hrlrec_tf.data import text_scan

SECRET = "Zoë<secret>/7f3a"


def zipped(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("member.txt", data)
    return file.getvalue()


def parquet(path):
    table = pa.table({"user": [SECRET] * 9, "tags": [["a", "b"]] * 9})
    pq.write_table(table, path, compression="zstd")


def sqlite(path):
    with sqlite3.connect(path) as connection:
        connection.execute('create table "odd "" name" (value text)')
        connection.execute('insert into "odd "" name" values (?)', ["x" * 4090 + SECRET])
    connection.close()


def npz(path):
    np.savez_compressed(path, users=np.array([SECRET.encode()]))


def tfrecord(path):
    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
        feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[SECRET.encode()]))
        features = tf.train.Features(feature={"user_id": feature})
        writer.write(tf.train.Example(features=features).SerializeToString())


def checkpoint(path):
    tf.train.Checkpoint(user=tf.Variable(SECRET)).write(str(path.parent / "made"))
    path.write_bytes(next(path.parent.glob("made.data*")).read_bytes())


PLANTS = {
    "plain": lambda path: path.write_text(f"a line\n{SECRET}!\n", encoding="utf-8"),
    "json": lambda path: path.write_text(json.dumps({"user": SECRET})),
    "html": lambda path: path.write_text(html.escape(SECRET), encoding="utf-8"),
    "url": lambda path: path.write_text("GET /Zo%C3%AB%3Csecret%3E%2F7f3a"),
    "gzip": lambda path: path.write_bytes(gzip.compress(SECRET.encode())),
    "bzip2": lambda path: path.write_bytes(bz2.compress(SECRET.encode())),
    "zip": lambda path: path.write_bytes(zipped(SECRET.encode())),
    "gzip_in_zip": lambda path: path.write_bytes(zipped(gzip.compress(SECRET.encode()))),
    "parquet": parquet,
    "sqlite": sqlite,
    "x.npz": npz,
    "tfrecord": tfrecord,
    "checkpoint": checkpoint,
}


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_text_is_found(tmp_path, name):
    PLANTS[name](tmp_path / name)
    assert name in {found.path for found in text_scan.find(tmp_path, [SECRET, "another text"])}
    assert text_scan.find(tmp_path, ["another text"]) == []


def test_names_of_files_and_what_was_opened(tmp_path):
    (tmp_path / f"log-{SECRET.replace('/', '-')}").mkdir()
    (tmp_path / "a.zip").write_bytes(zipped(gzip.compress(SECRET.encode())))
    found = text_scan.find(tmp_path, [SECRET, SECRET.replace("/", "-")])
    assert found == [("a.zip", "zip:member.txt/gzip"), (f"log-{SECRET.replace('/', '-')}", "name")]


@pytest.mark.parametrize("start", [b"\x1f\x8b", b"BZh", b"PK\x03\x04", b"PAR1", b"SQLite format 3\0"])
def test_broken_files_are_looked_at_as_they_are(tmp_path, start):
    (tmp_path / "broken").write_bytes(start + b"rubbish " + SECRET.encode())
    assert text_scan.find(tmp_path, [SECRET]) == [("broken", "")]


def test_short_texts_are_refused(tmp_path):
    for texts in ([], ["abc"]):
        with pytest.raises(ValueError, match="at least 4 characters"):
            text_scan.find(tmp_path, texts)
