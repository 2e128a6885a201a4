"""Scored rows as Parquet files, for comparisons of models on the same rows; read and written piece by piece."""

import os
import pathlib
from collections.abc import Iterator
from types import TracebackType

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hrlrec_tf.errors import DataError
from hrlrec_tf.evaluation.packing import OPTIONAL, REQUIRED

_PROBABILITY = b"hrlrec_tf.probability"  # in the file's metadata; absent where another program wrote the file
_CHUNK_ROWS = 1 << 17


class Writer:
    """Writes a file of scored rows, one row group per `add`; a context.

    The file gets its name when the context ends without an error; until then it is `.NAME.partial`.

    Args:
      path: of the file; its folder is made.
      probability: whether predictions are probabilities, which the file then says; see `read_is_probability`.
    """

    def __init__(self, path: str | os.PathLike[str], probability: bool = True) -> None:
        self._path = pathlib.Path(path)
        self._partial = self._path.with_name(f".{self._path.name}.partial")
        self._metadata = {_PROBABILITY: str(probability).lower().encode()}
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> "Writer":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
            if kind is None:
                self._partial.replace(self._path)
            else:
                self._partial.unlink()

    def add(self, rows: pd.DataFrame) -> None:
        """Appends rows, see `scoring.score_batches`; all frames need the same columns."""
        if self._writer is None:
            schema = pa.Schema.from_pandas(rows, preserve_index=False)
            if not len(rows):  # nothing tells the type of a text
                texts = [name for name in ("request_id", "user_id", "channel") if name in rows]
                for name in texts:
                    schema = schema.set(schema.get_field_index(name), pa.field(name, pa.string()))
            self._writer = pq.ParquetWriter(self._partial, schema.with_metadata(self._metadata))
        self._writer.write_table(pa.Table.from_pandas(rows, self._writer.schema, preserve_index=False))


def write(path: str | os.PathLike[str], rows: pd.DataFrame, probability: bool = True) -> None:
    """Writes a file of rows in memory."""
    with Writer(path, probability) as writer:
        writer.add(rows)


def read(path: str | os.PathLike[str]) -> Iterator[pd.DataFrame]:
    """The scored rows of a file, some hundred thousand at a time; at least one frame, perhaps without rows.

    Raises:
      DataError: there is no such file, it is no Parquet file, or it lacks a column of `packing.REQUIRED`.
    """
    with _open(path) as file:
        present = set(file.schema_arrow.names)
        columns = [*REQUIRED, *(name for name in OPTIONAL if name in present)]
        if not file.metadata.num_rows:
            yield file.schema_arrow.empty_table().select(columns).to_pandas()
        for batch in file.iter_batches(_CHUNK_ROWS, columns=columns):
            yield batch.to_pandas()


def read_is_probability(path: str | os.PathLike[str]) -> bool:
    """Whether the predictions of a file are probabilities, as far as the file says; raises like `read`."""
    with _open(path) as file:
        return (file.schema_arrow.metadata or {}).get(_PROBABILITY) != b"false"


def _open(path: str | os.PathLike[str]) -> pq.ParquetFile:
    wanted = f"a Parquet file of scored rows with the columns {', '.join(REQUIRED)}"
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as {wanted}: {error}") from error
    missing = [name for name in REQUIRED if name not in file.schema_arrow.names]
    if missing:
        file.close()
        raise DataError(f"{path} has no column {', '.join(missing)}; needed is {wanted}")
    return file
