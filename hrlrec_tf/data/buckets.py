"""The shuffle: rows by user, through files instead of Beam's memory.

Readers write each unit's rows to one Arrow file, one record batch per *partition* of the users' hashes. The job that
makes sessions reads a *bucket*, a range of hashes, from all files. The number of partitions follows the estimated size
of the log and only serves speed; the number of buckets follows the count of rows, so that output depends on rows alone.
Where a partition holds several buckets, as in logs beyond some 100 million rows, it is split once more, on its own.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from hrlrec_tf.data import columns

ROWS_PER_BUCKET = 200_000
_MAX_BUCKET_BITS = 16
MAX_PARTITION_BITS = 9  # many small record batches cost more than splitting a partition once more


def bucket_bits(rows: int) -> int:
    """Leading bits of the hash that make buckets of at most about ROWS_PER_BUCKET rows."""
    return min(max(math.ceil(math.log2(max(rows, 1) / ROWS_PER_BUCKET)), 0), _MAX_BUCKET_BITS)


def partition_bits(rows_estimate: int) -> int:
    """Leading bits of the hash that name a partition."""
    return min(bucket_bits(rows_estimate), MAX_PARTITION_BITS)


def hashes(texts: pa.Array) -> npt.NDArray[np.uint64]:
    """A stable 64-bit hash of each string."""
    encoded = columns.flat(texts).dictionary_encode()
    known = pd.util.hash_array(encoded.dictionary.to_numpy(zero_copy_only=False).astype(object), categorize=False)
    return known[encoded.indices.to_numpy()] if len(known) else np.zeros(0, np.uint64)


def bucket_of(hashed: npt.NDArray[np.uint64], bits: int) -> npt.NDArray[np.int64]:
    """The partition or bucket of each hash."""
    return (hashed >> np.uint64(64 - bits)).astype(np.int64) if bits else np.zeros(len(hashed), np.int64)


class Batches(NamedTuple):
    """Some record batches of a file."""

    path: str
    numbers: Sequence[int]

    def read(self) -> Iterator[pa.RecordBatch]:
        """Yields them one by one."""
        if self.numbers:
            with FileSystems.open(self.path, compression_type=CompressionTypes.UNCOMPRESSED) as source:
                reader = pa.ipc.open_file(source)
                for number in self.numbers:
                    yield reader.get_batch(number)


@dataclasses.dataclass(frozen=True)
class Partitioned:
    """A file of rows.

    Attributes:
      path: where it lies.
      bits: of the hash that name a partition.
      partitions: [batches], the partition of each record batch, in as few bytes as `bits` need.
    """

    path: str
    bits: int
    partitions: npt.NDArray[np.unsignedinteger[Any]]

    def batches(self, bucket: int, bits: int) -> Batches:
        """Where the rows of a bucket lie; with more `bits` than the file's, among others' rows."""
        finer, coarser = max(self.bits - bits, 0), max(bits - self.bits, 0)
        return Batches(self.path, np.flatnonzero(self.partitions >> finer == bucket >> coarser).tolist())


class PartitionWriter:
    """Writes tables to one Arrow file, each cut into partitions by the hash of a column."""

    def __init__(self, path: str, by: str, bits: int) -> None:
        self._path, self._by, self._bits = path, by, bits
        self._sink = FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)
        self._writer: pa.RecordBatchFileWriter | None = None
        self._partitions: list[int] = []

    def __enter__(self) -> "PartitionWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None and kind is None:
            self._writer.close()
        self._sink.close()

    def write(self, table: pa.Table) -> None:
        """Adds the rows of a table; all tables have one schema."""
        if self._writer is None:
            self._writer = pa.ipc.new_file(self._sink, table.schema)
        partition = bucket_of(hashes(table[self._by]), self._bits)
        order = np.argsort(partition, kind="stable")
        ends = np.cumsum(np.bincount(partition, minlength=1 << self._bits))
        ordered = table.take(pa.array(order)).combine_chunks()
        for number, (start, end) in enumerate(zip(np.concatenate([[0], ends[:-1]]), ends, strict=True)):
            if start < end:
                self._writer.write_batch(ordered.slice(start, end - start).to_batches()[0])
                self._partitions.append(number)

    @property
    def written(self) -> Partitioned:
        """What the file holds, once it is closed."""
        needed = np.min_scalar_type((1 << self._bits) - 1)
        return Partitioned(self._path, self._bits, np.array(self._partitions, needed))


def read_all(parts: Iterable[Batches]) -> pa.Table | None:
    """All rows of some record batches, in order; None where there is none."""
    batches = [batch for part in parts for batch in part.read()]
    return pa.Table.from_batches(batches).combine_chunks() if batches else None


def split(files: Iterable[Partitioned], partition: int, path: str, by: str, bits: int) -> Partitioned:
    """Writes a partition's rows to a file of their own, by more bits of the hash; holds a bucket's worth of rows."""
    held: list[pa.RecordBatch] = []
    with PartitionWriter(path, by, bits) as writer:
        for file in files:
            for batch in file.batches(partition, file.bits).read():
                held.append(batch)
                if sum(len(each) for each in held) >= ROWS_PER_BUCKET:
                    writer.write(pa.Table.from_batches(held))
                    held = []
        if held:
            writer.write(pa.Table.from_batches(held))
    return writer.written
