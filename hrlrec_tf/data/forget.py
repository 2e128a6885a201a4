"""Forgets users: rewrites the files of a log without their rows. No id is ever printed or written.

Files without such rows stay as they are; any other is written under a temporary name beside its place and renamed, so a
killed run leaves every file whole and is simply run again. A JSONL file of nothing else is removed: without a line it
has no columns, and could not be read.
"""

import dataclasses
import io
import os
import pathlib
import shutil
from collections.abc import Collection
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hrlrec_tf.data import columns, formats, masking, reading
from hrlrec_tf.data.config import FILE_NAME, DatasetConfig
from hrlrec_tf.data.files import LogFile, open_file, reading_errors
from hrlrec_tf.data.prepare import check_outside
from hrlrec_tf.errors import ConfigError, LogError


@dataclasses.dataclass(frozen=True)
class Users:
    """Whom to forget.

    Attributes:
      ids: as the list of users holds them.
      masked: whether these are masked ids of the log's raw ones.
      secret: key of the masking; None where a log has none.
    """

    ids: frozenset[str]
    masked: bool = False
    secret: bytes | None = dataclasses.field(default=None, repr=False)

    @property
    def in_sessions(self) -> frozenset[str]:
        """Their ids as prepared sessions hold them."""
        if self.masked or self.secret is None:
            return self.ids
        return frozenset(masking.mask_text(user, self.secret) for user in self.ids)

    def among(self, texts: pa.Array) -> columns.Mask:
        """Which raw ids of a log are theirs: bool [rows]."""
        if self.masked and self.secret is not None:
            texts = masking.mask_texts(texts, self.secret)
        return columns.mask(pc.is_in(texts, value_set=pa.array(sorted(self.ids), pa.string())))

    def named_in(self, text: str) -> bool:
        """Whether a broken line may be theirs; where only masked ids are known, every one may be."""
        return (self.masked and self.secret is not None) or any(masking.names(text, user) for user in self.ids)


@dataclasses.dataclass
class _Found:
    """Rows of one file to leave out, by their number."""

    rows: set[int] = dataclasses.field(default_factory=set)
    broken: int = 0
    users: set[str] = dataclasses.field(default_factory=set)


def read_users(file: str, masked: bool, dataset: DatasetConfig | None) -> Users:
    """The users of a text file with one id per line.

    Raises:
      ConfigError: the file cannot be read or holds no id, or the key of the log's masking is not at hand.
    """
    try:
        lines = pathlib.Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.reason if isinstance(error, UnicodeDecodeError) else error.strerror
        raise ConfigError(f"{file}: cannot be read as UTF-8 text with one user id per line ({reason})") from None
    ids = frozenset(line.strip() for line in lines) - {""}
    if not ids:
        raise ConfigError(f"{file}: holds no user id; write one per line")
    rule = dataset.masking if dataset is not None else None
    hashed = rule is not None and "user_id" in rule.columns
    return Users(ids, masked, masking.key(rule) if rule is not None and hashed else None)


def forget(dataset: DatasetConfig, users: Users, out: str | None) -> dict[str, Any]:
    """Removes the rows of some users from a log and from side tables with one row per user.

    Args:
      dataset: the log. users: whom to forget.
      out: folder to make with the log's files, side tables and dataset.yaml; None: the log itself is rewritten.

    Returns:
      Counts: `files`, `files_changed`, `rows_removed`, `broken_lines_removed`, `users_found`, `users_asked`, and
      `ignored_files`, which are no part of the log, were not looked at and are not in `out`.

    Raises:
      ConfigError: the log lies on another machine, its users derive from other columns, or `out` is taken.
      LogError: the log cannot be read.
    """
    source = _user_column(dataset)
    root, files, ignored = _files(dataset, source)
    if out is None:
        return _forget(files, source, users, root, root) | {"ignored_files": ignored}
    target = pathlib.Path(out).resolve()
    check_outside(dataset, str(target), "--out")
    if target.exists() and any(target.iterdir()):
        raise ConfigError(f"{target} exists already; name another --out, or remove it")
    scratch = target.with_name(f".{target.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    counts = _forget(files, source, users, root, scratch)
    if (root / FILE_NAME).is_file():
        shutil.copyfile(root / FILE_NAME, scratch / FILE_NAME)
    if target.exists():
        target.rmdir()
    scratch.rename(target)
    return counts | {"ignored_files": ignored}


def _files(dataset: DatasetConfig, source: str) -> tuple[pathlib.Path, dict[LogFile, bool], list[str]]:
    """The log's folder; its files and those of its side tables, and whether they tell users; other files."""
    log = dataset.log or ""
    if "://" in log:
        raise ConfigError(f"{log} is not on this machine; copy it here, forget, and copy the result back")
    opened = reading.open_log(dataset, progress=False)
    files = {unit.file: True for unit in opened.units}
    files |= {reading.join_file(dataset, join): join.key == source for join in dataset.joins}
    path = pathlib.Path(log)
    return (path.parent if path.is_file() else path), files, list(opened.ignored)


def _user_column(dataset: DatasetConfig) -> str:
    column = dataset.column("user_id")
    if column.source is None or column.first or column.cases:
        raise ConfigError("users are made of other values by `columns: {user_id: ...}`; forget needs a column of them")
    return column.source


def _forget(
    files: dict[LogFile, bool], source: str, users: Users, root: pathlib.Path, out: pathlib.Path
) -> dict[str, Any]:
    """Rewrites or copies the files below `root` to the same places below `out`, which may be `root`."""
    changed, removed, broken, seen = 0, 0, 0, set[str]()
    for file, with_users in files.items():
        path = pathlib.Path(os.path.abspath(file.path))
        if out != root and not path.is_relative_to(root):
            raise ConfigError(f"{path}: a side table outside the log's folder has no place in --out; use --in-place")
        target = path if out == root else out / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        found = _find(file, source, users) if with_users else _Found()
        if found.rows:
            partial = target.with_name(f".{target.name}.partial")
            _write_without(file, found.rows, partial)
            if partial.exists():
                partial.replace(target)
            elif out == root:
                target.unlink()
        elif out != root:
            shutil.copyfile(path, target)
        changed, removed, broken = changed + bool(found.rows), removed + len(found.rows), broken + found.broken
        seen |= found.users
    return {
        "files": len(files),
        "files_changed": changed,
        "rows_removed": removed - broken,
        "broken_lines_removed": broken,
        "users_found": len(seen),
        "users_asked": len(users.ids),
    }


def _find(file: LogFile, source: str, users: Users) -> _Found:
    """The rows of some users, and lines that cannot be taken apart and name one."""
    found = _Found()
    for batch in formats.read(file, [source]):
        if source not in batch.table.column_names:
            raise LogError(f"{file.path}: column {source} is missing, which tells the users; add it or remove the file")
        texts, _ = columns.to_text(batch.table[source])
        theirs = users.among(texts)
        found.rows |= set(batch.rows[theirs].tolist())
        found.users |= set(texts.filter(pa.array(theirs)).to_pylist())
        broken = {row.row for row in batch.broken if users.named_in(row.text)}
        found.rows |= broken
        found.broken += len(broken)
    return found


def _write_without(file: LogFile, rows: Collection[int], target: pathlib.Path) -> None:
    """Writes a file without some rows; no file where it would have neither rows nor columns (JSONL)."""
    with reading_errors(file):
        if file.format == "parquet":
            _write_parquet_without(file, rows, target)
        else:
            _write_text_without(file, rows, target)


def _write_parquet_without(file: LogFile, rows: Collection[int], target: pathlib.Path) -> None:
    """By row groups, which stay as they are but for the rows that go."""
    with pq.ParquetFile(file.path) as reader:
        codec = reader.metadata.row_group(0).column(0).compression.lower()
        drop = np.zeros(reader.metadata.num_rows + 1, bool)  # rows count from 1
        drop[list(rows)] = True
        first = 1
        with pq.ParquetWriter(target, reader.schema_arrow, compression="none" if "un" in codec else codec) as writer:
            for group in range(reader.num_row_groups):
                table = reader.read_row_group(group)
                left = table.filter(pa.array(~drop[first : first + len(table)]))
                first += len(table)
                if len(left):
                    writer.write_table(left)


def _write_text_without(file: LogFile, rows: Collection[int], target: pathlib.Path) -> None:
    with (
        io.BufferedReader(cast(io.RawIOBase, open_file(file))) as lines,
        pa.output_stream(str(target), compression=file.compression) as sink,
    ):
        empty = True
        for number, line in enumerate(lines, start=1):
            if number not in rows:
                sink.write(line)
                empty = False
    if empty:
        target.unlink()
