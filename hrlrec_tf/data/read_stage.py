"""First Beam stage: files into checked rows, partitioned by user, and requests that several users share."""

import contextlib
import dataclasses
import pickle
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from hrlrec_tf.data import buckets, columns, days, formats, item_counts, k_anonymity, reading, timecut
from hrlrec_tf.data.buckets import Batches, Partitioned, PartitionWriter
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.data.days import Rejected
from hrlrec_tf.data.item_counts import ItemCounts
from hrlrec_tf.data.reading import Unit
from hrlrec_tf.data.rejected import RejectedWriter
from hrlrec_tf.data.timecut import Histogram
from hrlrec_tf.data.validation import Layout, Validator
from hrlrec_tf.errors import HrlrecError, LogError


@dataclasses.dataclass(frozen=True)
class ReadJob:
    """What every reader knows.

    Attributes:
      dataset, layout: the log.
      work: folder for files between the stages.
      out: folder of the output.
      bits: of the hashes that name partitions.
    """

    dataset: DatasetConfig
    layout: Layout
    work: str
    out: str
    bits: int


@dataclasses.dataclass(frozen=True)
class UnitResult:
    """What came of a unit.

    Attributes:
      read: rows, broken ones included.
      rejected: rows by day and reason.
      passed: where the rows that passed lie; None if there are none.
      times: of the rows that passed.
      items: what was counted of items, if the log's configuration asks for it.
      holders: where `k_anonymity.holders` of the rows that passed lie, if the log's configuration asks for them.
      tags_dropped: tags beyond K of the rows that passed.
      fault: why the unit could not be read; the rest is void then.
    """

    read: int = 0
    rejected: Rejected = dataclasses.field(default_factory=Counter)
    passed: Partitioned | None = None
    times: Histogram | None = None
    items: ItemCounts | None = None
    holders: Partitioned | None = None
    tags_dropped: int = 0
    fault: str | None = None


def expand(pipeline: beam.Pipeline, job: ReadJob, units: Iterable[Unit]) -> None:
    """Adds the stage to a pipeline. Results lie under `job.work` afterwards: see `load_results`."""
    _ = (
        pipeline
        | "Units" >> beam.Create(list(units), reshuffle=False)
        | "Spread" >> beam.Reshuffle()
        | "Read" >> beam.ParDo(ReadUnit(job))
        | "ByRequest" >> beam.GroupByKey()
        | "FindShared" >> beam.ParDo(FindSharedRequests(job))
    )


def total(results: Iterable[UnitResult]) -> tuple[UnitResult, list[Partitioned], list[Partitioned]]:
    """The sum of units' results, without files of its own, and all `passed` and `holders`; holds one result at a time.

    Raises:
      LogError: a unit could not be read.
    """
    read, dropped, files, holders = 0, 0, list[Partitioned](), list[Partitioned]()
    rejected: Rejected = Counter()
    times, items = timecut.total([]), None
    for unit in results:
        if unit.fault is not None:
            raise LogError(unit.fault)
        read, dropped = read + unit.read, dropped + unit.tags_dropped
        rejected += unit.rejected
        if unit.passed is not None and unit.times is not None:
            files.append(unit.passed)
            times = timecut.total([times, unit.times])
        if unit.items is not None:
            items = unit.items if items is None else item_counts.total([items, unit.items])
        if unit.holders is not None:
            holders.append(unit.holders)
    summed = UnitResult(read, rejected, times=times, items=items, tags_dropped=dropped)
    return summed, files, holders


class ReadUnit(beam.DoFn):
    """Unit -> files of its rows; yields (partition of requests, where (request, user) pairs lie)."""

    def __init__(self, job: ReadJob) -> None:
        self._job = job

    def setup(self) -> None:
        """Loads side tables and the masking key, once per worker."""
        dataset, layout = self._job.dataset, self._job.layout
        self._validator = Validator(dataset, layout, reading.read_joins(dataset))
        self._sources = reading.sources(dataset, layout)

    def process(self, unit: Unit) -> Iterator[tuple[int, Batches]]:
        """Reads one unit. A file that cannot be read becomes a fault in its result, for the caller to raise."""
        name = f"{unit.number:05d}-{unit.part:05d}"
        try:
            result, pairs = self._read(unit, name)
        except HrlrecError as error:
            result, pairs = UnitResult(fault=str(error)), None
        except (OSError, pa.ArrowException) as error:
            result, pairs = UnitResult(fault=f"{unit.file.path}: cannot be used ({error})"), None
        save(FileSystems.join(self._job.work, "units", f"{name}.pkl"), result)
        if pairs is not None:
            for partition in np.unique(pairs.partitions).tolist():
                yield partition, pairs.batches(partition, pairs.bits)

    def _read(self, unit: Unit, name: str) -> tuple[UnitResult, Partitioned]:
        job, read, dropped, times, items = self._job, 0, 0, list[Histogram](), list[ItemCounts]()
        counts: Rejected = Counter()
        rejected = RejectedWriter(FileSystems.join(job.out, "rejected", f"rows-{name}.jsonl.gz"))
        rows = PartitionWriter(FileSystems.join(job.work, "units", f"{name}.rows"), "user_id", job.bits)
        pairs = PartitionWriter(FileSystems.join(job.work, "units", f"{name}.pairs"), "request_id", job.bits)
        holders = PartitionWriter(FileSystems.join(job.work, "units", f"{name}.holders"), k_anonymity.KEY, job.bits)
        rule = job.dataset.k_anonymity
        with rows, pairs, holders, contextlib.closing(rejected):
            for batch in formats.read(unit.file, self._sources, unit.row_groups):
                checked = self._validator(batch)
                read += len(batch.rows) + len(batch.broken)
                dropped += checked.tags_dropped
                reasons = [row.reason for row in checked.rejected]
                counts += days.rejected(reasons, checked.rejected_times, job.dataset.day)
                rejected.write({"file": unit.name, **dataclasses.asdict(row)} for row in checked.rejected)
                times.append(timecut.histogram(columns.flat(checked.rows["timestamp"]).to_numpy()))
                items += self._count_items(checked.rows)
                number = pa.array(np.full(len(checked.rows), unit.number, np.int32))
                rows.write(checked.rows.append_column("source_file", number))
                if rule is not None:
                    holders.write(k_anonymity.holders(checked.rows, rule))
                if "request_id" in checked.rows.column_names:
                    pairs.write(_distinct_pairs(checked.rows))
        counted = item_counts.total(items) if items else None
        held = holders.written if rule is not None else None
        result = UnitResult(read, counts, rows.written, timecut.total(times), counted, held, dropped)
        return result, pairs.written

    def _count_items(self, rows: pa.Table) -> list[ItemCounts]:
        """What a batch adds to the items' counts: nothing unless they are asked for."""
        rule = self._job.dataset.item_counts
        if rule is None:
            return []
        time, clicks = (columns.flat(rows[name]).to_numpy() for name in ("timestamp", "clicks"))
        return [item_counts.count(buckets.hashes(rows["item_id"]), time, clicks, rule)]


class FindSharedRequests(beam.DoFn):
    """(partition, where its pairs lie) -> a file of the request ids that have several users."""

    def __init__(self, job: ReadJob) -> None:
        self._job = job

    def process(self, element: tuple[int, Iterable[Batches]]) -> Iterator[str]:
        """Handles one partition of requests; yields the file's path, if there are such requests."""
        partition, parts = element
        pairs = buckets.read_all(parts)
        if pairs is None:
            return
        requests = columns.flat(_distinct_pairs(pairs)["request_id"]).dictionary_encode()
        several = np.bincount(requests.indices.to_numpy(), minlength=len(requests.dictionary)) > 1
        if several.any():
            path = FileSystems.join(self._job.work, "shared", f"{partition:05d}.pkl")
            save(path, requests.dictionary.filter(pa.array(several)))
            yield path


def _distinct_pairs(rows: pa.Table) -> pa.Table:
    """Distinct (request_id, user_id) of some rows."""
    pairs = rows.select(["request_id", "user_id"])
    requests, users = (columns.flat(pairs[name]).dictionary_encode() for name in pairs.column_names)
    keys = requests.indices.to_numpy().astype(np.int64) * (len(users.dictionary) + 1) + users.indices.to_numpy()
    return pairs.take(pa.array(np.unique(keys, return_index=True)[1]))


def save(path: str, value: Any) -> None:
    """Writes one file between the stages."""
    with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as sink:
        sink.write(pickle.dumps(value))


def load_all(pattern: str) -> Iterator[Any]:
    """Reads what `save` wrote, one by one in order of path."""
    for path in sorted(each.path for each in FileSystems.match([pattern])[0].metadata_list):
        yield load(path)


def load(path: str) -> Any:
    """Reads one file that `save` wrote."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as source:
        return pickle.loads(source.read())
