"""Rows and columns of a file, whatever its format."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hrlrec_tf.data import text_formats
from hrlrec_tf.data.files import LogFile, RawBatch, open_file, reading_errors

BATCH_ROWS = 65_536


def read(file: LogFile, columns: Sequence[str], row_groups: tuple[int, int] | None = None) -> Iterator[RawBatch]:
    """Yields the rows of a file (Parquet: of some of its row groups) batch by batch; absent columns are left out.

    Raises:
      LogError: the file breaks off or is of another format than its name says.
    """
    with reading_errors(file):
        if file.format == "parquet":
            yield from _read_parquet(file, columns, row_groups)
        elif file.format == "csv":
            yield from text_formats.read_csv(file, columns)
        else:
            yield from text_formats.read_jsonl(file, columns)


def describe(file: LogFile) -> tuple[Mapping[str, pa.DataType], Sequence[int]]:
    """A file's columns with their types, and the rows of its row groups if it is Parquet.

    Types of a text file are what its first rows suggest.

    Raises:
      LogError: the file cannot be read.
    """
    with reading_errors(file):
        if file.format == "parquet":
            reader = pq.ParquetFile(open_file(file))
            groups = range(reader.num_row_groups)
            rows = [reader.metadata.row_group(group).num_rows for group in groups]
            return {field.name: field.type for field in reader.schema_arrow}, rows
        if file.format == "csv":
            return text_formats.describe_csv(file), []
        return text_formats.describe_jsonl(file), []


def _read_parquet(file: LogFile, columns: Sequence[str], groups: tuple[int, int] | None) -> Iterator[RawBatch]:
    reader = pq.ParquetFile(open_file(file))
    first, last = groups or (0, reader.num_row_groups)
    row = 1 + sum(reader.metadata.row_group(group).num_rows for group in range(first))
    present = [name for name in columns if name in reader.schema_arrow.names]
    for batch in reader.iter_batches(BATCH_ROWS, row_groups=list(range(first, last)), columns=present):
        yield RawBatch(pa.Table.from_batches([batch]), np.arange(row, row + batch.num_rows))
        row += batch.num_rows
