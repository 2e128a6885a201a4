"""Looks for texts, such as raw ids, in every byte of a folder: the proof that none got out.

A text is looked for as UTF-8, and as JSON, HTML and URLs write it. gzip, bzip2, zip (npz, wheels), Parquet and SQLite
are opened, also inside each other; TFRecords, checkpoints and SavedModels hold texts plainly.
"""

import bz2
import gzip
import html
import io
import json
import os
import pathlib
import sqlite3
import tempfile
import urllib.parse
import zipfile
import zlib
from collections.abc import Collection, Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

_DEEPEST = 5


class Finding(NamedTuple):
    """Where a text was found; which one is left unsaid."""

    path: str  # of the file, relative to the folder
    inside: str  # what had to be opened, outermost first: "name", "", "gzip", "zip:member", ...


def find(folder: str | os.PathLike[str], texts: Collection[str]) -> list[Finding]:
    """Every file of a folder whose name or content holds one of some texts; each file is read into memory whole.

    Raises:
      ValueError: there is no text, or one is shorter than 4 characters and would be found by chance.
    """
    if not texts or min(map(len, texts)) < 4:
        raise ValueError("give texts of at least 4 characters each, so that none is found by chance")
    forms = {form for text in texts for form in _forms(text)}
    found = []
    for path in sorted(pathlib.Path(folder).rglob("*")):
        name = str(path.relative_to(folder))
        if _holds(name.encode("utf-8"), forms):
            found.append(Finding(name, "name"))
        if path.is_file():
            layers = _layers(path.read_bytes(), "", _DEEPEST)
            found += [Finding(name, inside) for inside, data in layers if _holds(data, forms)]
    return found


def _forms(text: str) -> set[bytes]:
    escaped = json.dumps(text)[1:-1]
    written = {text, escaped, json.dumps(text, ensure_ascii=False)[1:-1], html.escape(text)}
    written |= {urllib.parse.quote(text), urllib.parse.quote(text, safe=""), urllib.parse.quote_plus(text)}
    return {form.encode("utf-8") for form in written} | {text.encode("utf-16-le")}


def _holds(data: bytes, forms: Collection[bytes]) -> bool:
    return any(form in data for form in forms)


def _layers(data: bytes, inside: str, depth: int) -> Iterator[tuple[str, bytes]]:
    """The content of a file, and what it holds packed."""
    yield inside, data
    if depth:
        for name, unpacked in _unpack(data):
            yield from _layers(unpacked, f"{inside}/{name}".lstrip("/"), depth - 1)


def _unpack(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents that a file of a known kind holds; nothing of one that only begins like it."""
    if data.startswith(b"\x1f\x8b"):
        try:
            yield "gzip", gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            return
    elif data.startswith(b"BZh"):
        try:
            yield "bzip2", bz2.decompress(data)
        except (OSError, ValueError):
            return
    elif data.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for member in archive.namelist():
                    yield f"zip:{member}", archive.read(member)
        except (zipfile.BadZipFile, zlib.error):
            return
    elif data.startswith(b"PAR1"):
        try:
            table = pq.read_table(io.BytesIO(data))
        except pa.ArrowException:
            return
        for column in table.column_names:
            yield f"parquet:{column}", "\n".join(map(str, table[column].to_pylist())).encode("utf-8")
    elif data.startswith(b"SQLite format 3\0"):
        yield "sqlite", _sqlite_text(data)


def _sqlite_text(data: bytes) -> bytes:
    """All values of a database; in its pages a long one may lie in pieces."""
    with tempfile.NamedTemporaryFile(suffix=".sqlite") as file:
        file.write(data)
        file.flush()
        connection = sqlite3.connect(file.name)
        try:
            connection.text_factory = bytes
            tables = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
            quoted = [name.decode("utf-8").replace('"', '""') for (name,) in tables]
            rows = [row for name in quoted for row in connection.execute(f'select * from "{name}"')]
        except sqlite3.DatabaseError:
            rows = []
        finally:
            connection.close()
    return b"\n".join(value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row)
