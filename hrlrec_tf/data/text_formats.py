"""CSV and JSONL by blocks of lines. Everything is read as text; types are the matter of `validation.py`.

One broken line never breaks its block: what pyarrow's fast CSV parser cannot account for line by line (another number
of cells, a quote without its pair) is parsed again by line. So quoted values cannot hold line breaks.
"""

import contextlib
import csv
import json
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from hrlrec_tf.data.files import MALFORMED, NOT_UTF8, BrokenRow, LogFile, RawBatch, open_file
from hrlrec_tf.errors import LogError

BLOCK_BYTES = 8 << 20
SAMPLE_BYTES = 1 << 18
MAX_LINE_BYTES = 64 << 20

_ONE_CHARACTER = "\x1f"  # stands for a separator of several, which pyarrow's parser does not take


def describe_csv(file: LogFile) -> dict[str, pa.DataType]:
    """Columns of a CSV file, in the types that pyarrow infers from its first rows; null where there are none.

    Raises:
      LogError: the file is empty, or its header is no UTF-8 or names a column twice.
    """
    with open_file(file) as stream:
        line, block = next(_blocks(stream, SAMPLE_BYTES), (1, b""))
    names, line, block = _take_header(file, line, block)
    if not block.strip():
        return dict.fromkeys(names, pa.null())
    raw = _parse_csv(file, names, names, line, block).table
    text = pa.BufferOutputStream()
    pyarrow.csv.write_csv(pa.table({name: _lossy_text(raw[name]) for name in names}), text)
    options = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
    found = pyarrow.csv.read_csv(pa.BufferReader(text.getvalue()), convert_options=options)
    return {field.name: field.type for field in found.schema}


def describe_jsonl(file: LogFile) -> dict[str, pa.DataType]:
    """Columns in the first rows of a JSONL file; columns of text read as binary."""
    with open_file(file) as stream:
        line, block = next(_blocks(stream, SAMPLE_BYTES), (1, b""))
    names: dict[str, None] = {}
    for raw in block.split(b"\n"):
        with contextlib.suppress(ValueError, RecursionError):  # rejected when the rows are read
            record = json.loads(raw)
            names |= dict.fromkeys(record) if isinstance(record, dict) else {}
    return {field.name: field.type for field in _parse_jsonl(list(names), line, block).table.schema}


def _lossy_text(column: pa.ChunkedArray) -> pa.Array:
    return pa.array([(value or b"").decode("utf-8", "replace") for value in column.to_pylist()], pa.string())


def read_csv(file: LogFile, columns: Sequence[str]) -> Iterator[RawBatch]:
    """Yields the rows of a CSV file as binary columns."""
    header: list[str] | None = None
    with open_file(file) as stream:
        for line, block in _blocks(stream):
            if header is None:
                header, line, block = _take_header(file, line, block)
                wanted = [name for name in header if name in columns]
            if block:
                yield _parse_csv(file, header, wanted, line, block)


def _parse_csv(file: LogFile, header: list[str], wanted: list[str], line: int, block: bytes) -> RawBatch:
    """Parses a block of whole lines; `line` is the number of its first one."""
    lines = block.count(b"\n") + (not block.endswith(b"\n"))
    block = block if file.encoding == "utf-8" else block.decode(file.encoding).encode("utf-8")
    delimiter = file.separator if len(file.separator) == 1 else _ONE_CHARACTER
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(block.replace(file.separator.encode(), delimiter.encode())),
            pyarrow.csv.ReadOptions(column_names=header, use_threads=False, block_size=len(block) + 1),
            pyarrow.csv.ParseOptions(delimiter=delimiter, quote_char='"' if file.quoted else False),
            pyarrow.csv.ConvertOptions(include_columns=wanted, column_types=dict.fromkeys(header, pa.binary())),
        )
        if table.num_rows == lines:
            return RawBatch(table, np.arange(line, line + lines))
    except pa.ArrowInvalid:
        pass  # some line has another number of cells, or a quote without its pair
    return _parse_csv_by_line(file, header, wanted, line, block)


def _parse_csv_by_line(file: LogFile, header: list[str], wanted: list[str], line: int, block: bytes) -> RawBatch:
    rows, cells, broken = [], [], []
    for number, raw in enumerate(block.split(b"\n"), start=line):
        raw = raw.removesuffix(b"\r")
        if not raw:
            continue
        text = raw.decode("latin-1")  # carries any bytes through the parser unharmed
        try:
            values = (
                next(csv.reader([text], delimiter=file.separator, strict=True))
                if file.quoted
                else text.split(file.separator)
            )
        except csv.Error:
            values = []
        if len(values) == len(header):
            rows.append(number)
            cells.append(values)
        else:
            broken.append(BrokenRow(number, MALFORMED, raw.decode("utf-8", "backslashreplace")))
    positions = {name: header.index(name) for name in wanted}
    columns = {
        name: pa.array([values[position].encode("latin-1") for values in cells], pa.binary())
        for name, position in positions.items()
    }
    return RawBatch(pa.table(columns), np.array(rows, np.int64), broken)


def _take_header(file: LogFile, line: int, block: bytes) -> tuple[list[str], int, bytes]:
    """The columns of a file, and where the rows of its first block begin."""
    if file.names is not None:
        return list(file.names), line, block
    first, _, rest = block.partition(b"\n")
    return _header(file, first), line + 1, rest


def _header(file: LogFile, line: bytes) -> list[str]:
    try:
        text = line.decode("utf-8-sig").rstrip("\r")
    except UnicodeDecodeError:
        raise LogError(f"{file.path}: the header is not UTF-8; convert the file or rename its columns") from None
    if not text:
        raise LogError(f"{file.path}: the file is empty, it lacks even a header; remove it from the log")
    names = next(csv.reader([text], delimiter=file.separator))
    if file.typed_header:
        names = [name.split(":")[0] for name in names]
    if len(set(names)) < len(names):
        raise LogError(f"{file.path}: the header names a column twice ({text}); rename one of them")
    return names


def read_jsonl(file: LogFile, columns: Sequence[str]) -> Iterator[RawBatch]:
    """Yields the rows of a JSONL file, each column in the type that its values share, or as binary text."""
    with open_file(file) as stream:
        for line, block in _blocks(stream):
            yield _parse_jsonl(columns, line, block)


def _parse_jsonl(columns: Sequence[str], line: int, block: bytes) -> RawBatch:
    rows, records, broken = [], [], []
    for number, raw in enumerate(block.split(b"\n"), start=line):
        if not raw.strip():
            continue
        try:
            record = json.loads(raw.decode("utf-8-sig"))
            if not isinstance(record, dict) or any(map(_is_nested, record.values())):
                raise ValueError("not a flat object")
        except UnicodeDecodeError:
            broken.append(BrokenRow(number, NOT_UTF8, raw.decode("utf-8", "backslashreplace")))
        except (ValueError, RecursionError):
            broken.append(BrokenRow(number, MALFORMED, raw.decode("utf-8")))
        else:
            rows.append(number)
            records.append(record)
    table = {name: json_column([record.get(name) for record in records]) for name in columns}
    return RawBatch(pa.table(table), np.array(rows, np.int64), broken)


def _is_nested(value: Any) -> bool:
    """Whether a JSON value is neither a scalar nor a list of scalars."""
    if isinstance(value, list):
        return any(isinstance(each, (list, dict)) for each in value)
    return isinstance(value, dict)


def json_column(values: list[Any]) -> pa.Array:
    """An Arrow column of JSON values: in their common type if they have one, else as text."""
    kinds = {type(value) for value in values} - {type(None)}
    if list in kinds:
        lists = [value if isinstance(value, list) else None if value is None else [value] for value in values]
        return pa.array([row and [_text(each) for each in row] for row in lists], pa.list_(pa.binary()))
    if kinds in ({int}, {float}, {int, float}, {bool}):
        try:
            return pa.array(values, pa.bool_() if bool in kinds else pa.float64() if float in kinds else pa.int64())
        except (pa.ArrowInvalid, OverflowError):
            pass  # beyond 64 bits: as text, which validation turns down
    return pa.array([_text(value) for value in values], pa.binary())


def _text(value: Any) -> bytes | None:
    if value is None:
        return None
    return (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "surrogatepass")


def _blocks(stream: BinaryIO, size: int = BLOCK_BYTES) -> Iterator[tuple[int, bytes]]:
    """Yields (number of the first line, whole lines) until the stream ends."""
    line, rest = 1, b""
    while data := stream.read(size):
        head, newline, tail = data.rpartition(b"\n")
        if not newline:
            rest += data
            if len(rest) > MAX_LINE_BYTES:
                raise OSError(f"line {line} is longer than {MAX_LINE_BYTES} bytes")
            continue
        block = rest + head + newline
        yield line, block
        line, rest = line + block.count(b"\n"), tail
    if rest:
        yield line, rest
