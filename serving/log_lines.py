"""Lines of feedback logs on their way to an impression log: what makes a good one, tables of them, their columns."""

import json
import os
import pathlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hrlrec_tf import features
from hrlrec_tf.data import buckets
from hrlrec_tf.data.buckets import Partitioned
from serving.feedback import EVENT_KINDS
from serving.journal_files import FeedbackError
from serving.messages import RequestError, typed

Record = Mapping[str, Any]

_PLACED = ("position", "item_id", "channel")
_CHUNK_LINES = 4096
_LINE = pa.schema({"request_id": pa.string(), "text": pa.string(), "file": pa.string(), "row": pa.int64()})
_FIXED = {
    "request_id": pa.string(),
    "user_id": pa.string(),
    "timestamp": pa.int64(),
    "position": pa.int64(),
    "item_id": pa.string(),
    "channel": pa.string(),
    "tags": pa.list_(pa.string()),
    "clicks": pa.int64(),
    "dwell_seconds": pa.float64(),
    "propensity_channel": pa.float32(),
    "propensity_item": pa.float32(),
    "explored": pa.bool_(),
    "model_version": pa.string(),
}


def fault(record: Record | None, side: str) -> str | None:
    """Why a line is no served list or no event; None where it is one."""
    if record is None:
        return "not_json"
    try:
        if side == "events":
            for name, kind in EVENT_KINDS.items():
                if name in record:
                    typed(record[name], kind, name)
            is_right = bool(record.get("request_id")) and ("position" in record or "item_id" in record)
            is_right &= record.get("clicks", 0) >= 0 and record.get("dwell_seconds", 0) >= 0
            return None if is_right else "not_an_event"
        for name in ("request_id", "user_id", "timestamp"):
            typed(record[name], EVENT_KINDS.get(name, features.Kind.STRING), name)
        for row in record["items"]:
            for name in _PLACED:
                typed(row[name], EVENT_KINDS.get(name, features.Kind.STRING), name)
        return None if record["items"] and record["request_id"] else "not_a_served_list"
    except (RequestError, KeyError, TypeError, AttributeError):
        return "not_an_event" if side == "events" else "not_a_served_list"


def tables(lines: Iterable[Record]) -> Iterator[pa.Table]:
    """Good lines by the thousands: `request_id`, `text`, `file`, `row`."""
    for chunk in _chunks(lines):
        yield pa.table({name: [line[name] for line in chunk] for name in _LINE.names}, schema=_LINE)


def load(side: Partitioned, bucket: int, bits: int) -> list[Record]:
    """The lines of one partition with what they say, in order of file and row."""
    table = buckets.read_bucket([side], "request_id", bucket, bits)
    lines = [] if table is None else table.to_pylist()
    return [{**line, "record": json.loads(line["text"])} for line in sorted(lines, key=lambda x: (x["file"], x["row"]))]


def log_schema(optional: Mapping[str, Collection[type]]) -> pa.Schema:
    """Columns of the impression log, its optional ones by the types of their values."""
    return pa.schema({**_FIXED, **{name: _arrow_type(kinds) for name, kinds in sorted(optional.items())}})


def _arrow_type(kinds: Collection[type]) -> pa.DataType:
    """Text where any value is text, measured quantity where any is a float, else an integer, which names something."""
    if not set(kinds) <= {int, float}:
        return pa.string()
    return pa.float64() if float in kinds else pa.int64()


def as_row(schema: pa.Schema, row: Record) -> dict[str, Any]:
    """A row with its values in the schema's types."""
    made = {}
    for field in schema:
        value = row.get(field.name)
        if value is not None and pa.types.is_string(field.type) and not isinstance(value, str):
            value = str(value)
        made[field.name] = value
    return made


def read_items(path: str | os.PathLike[str]) -> dict[str, Record]:
    """Item id -> `tags` and `item_*` columns, from a Parquet or JSONL file with a row per item.

    Raises:
      FeedbackError: the file cannot be read or has no column `item_id`.
    """
    path = pathlib.Path(path)
    try:
        if path.suffix == ".parquet":
            rows = pq.read_table(path).to_pylist()
        else:
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
        return {
            row["item_id"]: {
                name: row[name] for name in ("tags", *features.optional_columns(row)) if row.get(name) is not None
            }
            for row in rows
        }
    except (OSError, ValueError, TypeError, KeyError, pa.ArrowException) as error:
        raise FeedbackError(
            f"{path}: no table of items ({' '.join(str(error).split())}); give Parquet or JSON lines with item_id"
        ) from error


def _chunks(lines: Iterable[Record]) -> Iterator[list[Record]]:
    chunk: list[Record] = []
    for line in lines:
        chunk.append(line)
        if len(chunk) == _CHUNK_LINES:
            yield chunk
            chunk = []
    yield chunk  # an empty last one gives the file its schema
