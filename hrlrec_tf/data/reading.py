"""What a log consists of: its files, their columns, and the units of work that Beam reads."""

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

import pandas as pd
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems
from tqdm import tqdm

from hrlrec_tf import features
from hrlrec_tf.data import columns, config, formats
from hrlrec_tf.data.config import KINDS, LIST_COLUMNS, MODEL_VERSION, REQUIRED, DatasetConfig
from hrlrec_tf.data.files import COMPRESSIONS, LogFile
from hrlrec_tf.data.rules import Join
from hrlrec_tf.data.validation import Layout
from hrlrec_tf.errors import LogError
from hrlrec_tf.features import Kind

FORMATS = {".parquet": "parquet", ".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
UNIT_ROWS = 262_144

_UNREAD_COMPRESSIONS = set(".xz .zip .7z .rar .tar .tgz .z .lzo .snappy .br .lzma .deflate".split())
# Typical sizes on disk of a row of text, for the number of buckets only.
_TEXT_ROW_BYTES, _COMPRESSED_ROW_BYTES = 100, 25


@dataclasses.dataclass(frozen=True)
class Unit:
    """What one call of a worker reads: a text file or some row groups of a Parquet file.

    Attributes:
      file: the file.
      name: its path within the log.
      number: its place among the log's files, sorted by path.
      part: the unit's place within the file.
      row_groups: first and last (exclusive) row group.
    """

    file: LogFile
    name: str
    number: int
    part: int = 0
    row_groups: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Log:
    """A log before its rows are read.

    Attributes:
      units: all of its rows.
      layout: its columns.
      rows_estimate: rows, exact for Parquet.
      ignored: files of the folder that are no part of the log.
    """

    units: Sequence[Unit]
    layout: Layout
    rows_estimate: int
    ignored: Sequence[str]


def open_log(dataset: DatasetConfig, progress: bool = True) -> Log:
    """Lists a log's files and reads their schemas.

    Raises:
      LogError: there is nothing to read, a file is broken, or a required column is missing; names file and remedy.
    """
    sizes, ignored = _list_files(dataset)
    joined = [name for table in read_joins(dataset).values() for name in table.column_names]
    units, kinds, estimate = [], {}, 0
    for number, (file, size) in enumerate(tqdm(sizes.items(), "schemas", unit="file", disable=not progress)):
        kinds[file.path], groups = formats.describe(file)
        _check_columns(dataset, file, kinds[file.path], joined)
        name = _name(dataset, file.path)
        if file.format == "parquet":
            estimate += sum(groups)
            units += [Unit(file, name, number, part, span) for part, span in enumerate(_spans(groups))]
        else:
            estimate += size // (_COMPRESSED_ROW_BYTES if file.compression else _TEXT_ROW_BYTES)
            units.append(Unit(file, name, number))
    return Log(units, _layout(dataset, kinds, joined), estimate, ignored)


def sources(dataset: DatasetConfig, layout: Layout) -> list[str]:
    """The columns to read from the log's files; a sparse one may not have shown in a file's first rows."""
    standard = [name for name in KINDS if name not in LIST_COLUMNS or name in layout.columns]
    names = {dataset.source(name) for name in (*standard, *layout.optional)} | {join.key for join in dataset.joins}
    return sorted(name for name in names if name is not None)


def read_joins(dataset: DatasetConfig) -> dict[str, pa.Table]:
    """The side tables by key column, whole, one row per key.

    Raises:
      LogError: a table is broken or lacks its key.
    """
    tables = {}
    for join in dataset.joins:
        file = join_file(dataset, join)
        names, path = list(formats.describe(file)[0]), file.path
        if join.key not in names:
            raise LogError(f"{path}: has no column {join.key} to join on; its columns: {', '.join(names)}")
        batches = list(formats.read(file, names))
        if broken := [row for batch in batches for row in batch.broken]:
            raise LogError(
                f"{path}, line {broken[0].row}: {broken[0].reason}; mend the line, a side table must be whole"
            )
        table = pa.concat_tables([batch.table for batch in batches]).combine_chunks()
        keys, _ = columns.to_text(table[join.key])
        first = ~pd.Series(keys.to_numpy(zero_copy_only=False), dtype=object).duplicated()
        table = table.set_column(table.column_names.index(join.key), join.key, keys)
        tables[join.key] = table.filter(pa.array(first))
    return tables


def join_file(dataset: DatasetConfig, join: Join) -> LogFile:
    """How to read a side table.

    Raises:
      LogError: its name does not tell.
    """
    path = FileSystems.join(_folder(dataset), join.file)
    by_name = dataclasses.replace(dataset, format=None, separator=join.separator)
    file = _log_file(by_name, path) or _log_file(dataset, path)
    if file is None:
        raise LogError(f"{path}: neither Parquet, CSV nor JSONL by its name; state `format:`")
    return file


def _folder(dataset: DatasetConfig) -> str:
    log = dataset.log or ""
    return os.path.dirname(log) if os.path.isfile(log) else log


def _name(dataset: DatasetConfig, path: str) -> str:
    return path.removeprefix(_folder(dataset)).lstrip("/")


def _list_files(dataset: DatasetConfig) -> tuple[dict[LogFile, int], list[str]]:
    log, folder = dataset.log or "", _folder(dataset)
    patterns = [log] if os.path.isfile(log) else [FileSystems.join(log, each) for each in dataset.file_patterns]
    try:
        matches = FileSystems.match(patterns)
        found = {each.path: each.size_in_bytes for match in matches for each in match.metadata_list}
    except Exception as error:  # each file system has its own errors
        raise LogError(f"{log}: cannot be listed ({error}); check the path and the access to it") from error
    joined = {FileSystems.join(folder, join.file) for join in dataset.joins}
    files, ignored = {}, []
    for path, size in sorted(found.items()):
        name = _name(dataset, path)
        if any(part.startswith((".", "_")) for part in name.split("/")) or path in joined or name == config.FILE_NAME:
            continue
        file = _log_file(dataset, path)
        if file is None:
            ignored.append(name)
        else:
            files[file] = size
    if not files:
        _refuse_empty(dataset, ignored)
    return files, ignored


def _refuse_empty(dataset: DatasetConfig, ignored: Sequence[str]) -> NoReturn:
    if "://" not in (dataset.log or "") and not os.path.exists(dataset.log or ""):
        raise LogError(f"{dataset.log}: there is no such folder; check --log")
    names = f" (ignored: {', '.join(ignored[:5])})" if ignored else ""
    raise LogError(
        f"{dataset.log}: no Parquet, CSV or JSONL file matches {dataset.files!r}{names}; check the path, or state "
        "`files:` and `format:` in dataset.yaml"
    )


def _log_file(dataset: DatasetConfig, path: str) -> LogFile | None:
    """How to read a file, by its name; None where the name tells nothing."""
    stem, suffix = os.path.splitext(path.lower())
    compression = COMPRESSIONS.get(suffix)
    inner = os.path.splitext(stem)[1] if compression or suffix in _UNREAD_COMPRESSIONS else suffix
    name = dataset.format or FORMATS.get(inner)
    if name is None and os.path.splitext(stem)[1] not in FORMATS:
        return None
    if name is None or suffix in _UNREAD_COMPRESSIONS or (compression and name == "parquet"):
        known = ", ".join(COMPRESSIONS)
        raise LogError(
            f"{path}: unknown compression {suffix!r} for this format; unpack it, or use {known} on text files"
        )
    separator = dataset.separator or ("\t" if inner == ".tsv" else ",")
    return LogFile(path, name, compression, separator, dataset.typed_header)


def _spans(rows: Sequence[int]) -> Iterable[tuple[int, int]]:
    """Neighbouring row groups, together up to about UNIT_ROWS rows."""
    first, total = 0, 0
    for group, count in enumerate(rows):
        if total and total + count > UNIT_ROWS:
            yield first, group
            first, total = group, 0
        total += count
    if total:
        yield first, len(rows)


def _check_columns(
    dataset: DatasetConfig, file: LogFile, kinds: Mapping[str, pa.DataType], joined: Sequence[str]
) -> None:
    present = {*kinds, *joined}
    for name in (*KINDS, *features.optional_columns(kinds)):
        kind = kinds.get(dataset.source(name) or "")
        column = dataset.column(name)
        if kind is not None and pa.types.is_nested(kind) and not (_is_list(kind) and (name == "tags" or column.first)):
            raise LogError(
                f"{file.path}: column {column.source} holds {kind}, not single values; map another to {name}"
            )
    mapped = [name for name in dataset.columns if name != MODEL_VERSION]
    needed = [*REQUIRED, *(() if dataset.list_rule else LIST_COLUMNS), *mapped]
    for name in dict.fromkeys(needed):
        source = dataset.source(name)
        if source is None or source in present:
            continue
        behind = "" if source == name else f" (for {name})"
        rule = ", or give a `list_rule:` to make lists by time" if name in LIST_COLUMNS else ""
        raise LogError(
            f"{file.path}: column {source}{behind} is missing; its columns: {', '.join(sorted(present))}; map it under "
            f"`columns:` in dataset.yaml{rule}"
        )


def _is_list(kind: pa.DataType) -> bool:
    return (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and not pa.types.is_nested(kind.value_type)


def _layout(dataset: DatasetConfig, kinds: Mapping[str, Mapping[str, pa.DataType]], joined: Sequence[str]) -> Layout:
    present = {name for columns_of in kinds.values() for name in columns_of} | set(joined)
    used = {source for name in dataset.columns if (source := dataset.source(name)) not in (None, name)}
    standard = [name for name in KINDS if dataset.source(name) is None or dataset.source(name) in present]
    found = {*features.optional_columns(present - used), *features.optional_columns(dataset.columns)}
    optional = {name: _optional_kind(dataset, name, kinds) for name in sorted(found)}
    partly = [name for name in LIST_COLUMNS if name in standard and dataset.source(name) is not None]
    for name in partly:
        for path, columns_of in kinds.items():
            if dataset.source(name) not in columns_of:
                raise LogError(
                    f"{path}: column {name} is missing, which other files have; give it to all files or none"
                )
    return Layout((*standard, *optional), optional)


def _optional_kind(dataset: DatasetConfig, name: str, kinds: Mapping[str, Mapping[str, pa.DataType]]) -> Kind:
    """Stated, or: floats are numeric, anything else is categorical."""
    column = dataset.column(name)
    if column.type is not None:
        return config.TYPES[column.type]
    if column.cases or column.first or isinstance(column.constant, str):
        return Kind.STRING
    source = column.source or ""
    of_file = {path: columns_of[source] for path, columns_of in kinds.items() if source in columns_of}
    numeric = [path for path, kind in of_file.items() if pa.types.is_floating(kind) or pa.types.is_decimal(kind)]
    words = [path for path, kind in of_file.items() if re.match("(large_)?(string|binary)|dict|bool", str(kind))]
    if numeric and words:
        raise LogError(
            f"column {source} holds numbers in {numeric[0]} and words in {words[0]}; state its type: "
            f"`columns: {{{name}: {{source: {source}, type: string}}}}` (or float)"
        )
    return Kind.FLOAT if numeric else Kind.STRING
