"""Files of a log and the batches of raw rows that come out of them."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from hrlrec_tf.errors import LogError

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}

MALFORMED = "malformed_row"
NOT_UTF8 = "not_utf8"


@dataclasses.dataclass(frozen=True)
class LogFile:
    """One file of a log.

    Attributes:
      path: as Beam's file systems take it.
      format: `parquet`, `csv` or `jsonl`.
      compression: Arrow's name of a text file's compression, or None.
      separator: of CSV columns; of several characters only where values are not quoted.
      typed_header: whether CSV header cells read `name:type`.
      names: columns of a CSV file that has no header line.
      quoted: whether CSV values may stand in quotes; if not, a quote is a character like any other.
      encoding: of a CSV file.
    """

    path: str
    format: str
    compression: str | None = None
    separator: str = ","
    typed_header: bool = False
    names: tuple[str, ...] | None = None
    quoted: bool = True
    encoding: str = "utf-8"


@dataclasses.dataclass(frozen=True)
class BrokenRow:
    """A row that could not even be taken apart."""

    row: int
    reason: str
    text: str


@dataclasses.dataclass(frozen=True)
class RawBatch:
    """Some rows of a file.

    Attributes:
      table: the wanted columns under the names they have in the file.
      rows: number of each row in its file: from 1 in Parquet, the line number in text files.
      broken: rows that are not in `table`.
    """

    table: pa.Table
    rows: npt.NDArray[np.int64]
    broken: Sequence[BrokenRow] = ()

    def with_table(self, table: pa.Table) -> "RawBatch":
        """The batch with other columns of the same rows."""
        return dataclasses.replace(self, table=table)


def open_file(file: LogFile) -> BinaryIO:
    """Opens a file for reading; text comes decompressed."""
    raw = FileSystems.open(file.path, compression_type=CompressionTypes.UNCOMPRESSED)
    return raw if file.format == "parquet" else pa.input_stream(raw, compression=file.compression)


@contextlib.contextmanager
def reading_errors(file: LogFile) -> Iterator[None]:
    """Turns what goes wrong while a file is read into a `LogError` that names it."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        kind = f"{file.compression} {file.format}" if file.compression else file.format
        what = " ".join(str(error).split())
        raise LogError(
            f"{file.path}: cannot be read as {kind} ({what}); replace the file or remove it from the log"
        ) from error
