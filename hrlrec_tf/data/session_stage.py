"""Second Beam stage: the rows of a bucket of users into sessions, one file per split."""

import contextlib
import dataclasses
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.io.filesystems import FileSystems

from hrlrec_tf.data import buckets, columns, days, item_counts, k_anonymity, lists, mending, tfrecord
from hrlrec_tf.data.bucket_result import BucketResult
from hrlrec_tf.data.buckets import Partitioned
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.data.examples import SPLITS, SessionEncoder
from hrlrec_tf.data.item_counts import ItemCounts
from hrlrec_tf.data.lists import Lists
from hrlrec_tf.data.mending import BOT, DUPLICATE, REPEATED, Mask
from hrlrec_tf.data.read_stage import load, load_all, save
from hrlrec_tf.data.rejected import RejectedWriter
from hrlrec_tf.data.rules import ListRule
from hrlrec_tf.data.timecut import Cuts
from hrlrec_tf.features import FeatureSpec

SHARED = "request_with_two_users"


@dataclasses.dataclass(frozen=True)
class SessionPlan:
    """What the first stage learnt, for the second.

    Attributes:
      dataset, spec: the log and its features.
      work, out: folders.
      files: rows by partition.
      names: the log's files, by number.
      cuts: the cuts in time.
      bits: of the hashes that name buckets; there are 2 ** bits.
      part_bits: of the hashes that name what a worker takes at a time: a bucket or, if there are fewer partitions than
        buckets, a partition.
      items: counts of items over the whole log, if the dataset asks for them.
      kept: values of user features that stay, if the dataset asks for a cut; see `k_anonymity`.
    """

    dataset: DatasetConfig
    spec: FeatureSpec
    work: str
    out: str
    files: Sequence[Partitioned]
    names: Mapping[int, str]
    cuts: Cuts
    bits: int
    part_bits: int
    items: ItemCounts | None = None
    kept: pa.Array | None = None


def expand(pipeline: beam.Pipeline, make: "MakeSessions", part_bits: int) -> None:
    """Adds the stage to a pipeline; results lie under the plan's `work` afterwards.

    Args:
      pipeline: to add to.
      make: what is made of the plan's buckets.
      part_bits: of the plan.
    """
    _ = (
        pipeline
        | "Parts" >> beam.Create(range(1 << part_bits), reshuffle=False)
        | "Spread" >> beam.Reshuffle()
        | "Make" >> beam.ParDo(make)
    )


class MakeSessions(beam.DoFn):
    """Bucket, or partition of several -> its session files.

    Args:
      plan_path: where the plan lies.
    """

    def __init__(self, plan_path: str) -> None:
        self._plan_path = plan_path

    def setup(self) -> None:
        """Loads the plan, once per worker."""
        self._plan: SessionPlan = load(self._plan_path)
        shared = list(load_all(FileSystems.join(self._plan.work, "shared", "*.pkl")))
        self._shared = pa.concat_arrays(shared) if shared else pa.array([], pa.string())

    def process(self, part: int) -> Iterator[str]:
        """Handles one element; yields where the results of its buckets lie.

        What the disk refuses becomes a fault in the result, for the caller to raise.
        """
        further = self._plan.bits - self._plan.part_bits
        first, end = part << further, (part + 1) << further
        try:
            with self._files(part) as files:
                for bucket in range(first, end):
                    yield self._save(bucket, self.make(bucket, files))
        except OSError as error:
            fault = f"the disk refuses the output ({error}); free space or name another --out"
            yield self._save(first, BucketResult(fault=fault))

    @contextlib.contextmanager
    def _files(self, part: int) -> Iterator[Sequence[Partitioned]]:
        """Files that know each bucket of an element by its own record batches."""
        plan = self._plan
        if plan.part_bits == plan.bits:
            yield plan.files
            return
        # A runner may try an element twice at a time, so each attempt has a file of its own.
        own = FileSystems.join(plan.work, "buckets", f"{part:05d}-{uuid.uuid4().hex}.rows")
        yield [buckets.split(plan.files, part, own, "user_id", plan.bits)]
        FileSystems.delete([own])

    def _save(self, bucket: int, result: BucketResult) -> str:
        path = FileSystems.join(self._plan.work, "buckets", f"{bucket:05d}.pkl")
        save(path, result)
        return path

    def make(self, bucket: int, files: Sequence[Partitioned]) -> BucketResult:
        """Writes what is to be made of one bucket, whose rows lie in `files`, and counts."""
        plan = self._plan
        table = buckets.read_all(file.batches(bucket, plan.bits) for file in files)
        if table is None:
            return BucketResult()
        rule = plan.dataset.k_anonymity
        if rule is not None:
            table = k_anonymity.cut(table, rule, plan.kept)
        table = lists.in_total_order(table)  # step by step, so that no copy outlives its step
        table, rejected = self._reject(table, bucket)
        if not len(table):
            return BucketResult(rejected=rejected)
        table, displayed = make_lists(table, plan.dataset)
        delay_ms = round(plan.dataset.feedback_delay_seconds * 1000)
        table = self._with_item_counts(table, displayed, delay_ms)
        encoder = SessionEncoder(plan.spec, table, displayed, plan.cuts, delay_ms)
        return dataclasses.replace(self.write(encoder, table, displayed, bucket), rejected=rejected)

    def write(self, encoder: SessionEncoder, table: pa.Table, displayed: Lists, bucket: int) -> BucketResult:
        """Writes the sessions of a bucket's rows, and counts."""
        requests = Counter({split: self._write(encoder, bucket, split) for split in SPLITS})
        rule = self._plan.dataset.k_anonymity
        times = columns.flat(table["timestamp"]).to_numpy()
        return BucketResult(
            accepted=len(table),
            requests=requests,
            rows=Counter({split: int(encoder.rows_in(split).sum()) for split in SPLITS}),
            channels=Counter(_channels(encoder, table)),
            users=len(pc.unique(table["user_id"])),
            lists=len(displayed.times),
            cut_lists=displayed.cut,
            cut=k_anonymity.count_cut(table, rule) if rule is not None else Counter(),
            items=np.unique(buckets.hashes(pc.unique(table["item_id"]))),
            first=int(times.min()),
            last=int(times.max()),
            days=days.profile(table, self._plan.dataset.day),
        )

    def _with_item_counts(self, table: pa.Table, displayed: Lists, delay_ms: int) -> pa.Table:
        """Adds the features that `item_counts` asks for, as of each row's list."""
        items, rule = self._plan.items, self._plan.dataset.item_counts
        if items is None or rule is None:
            return table
        time = np.zeros(len(table), np.int64)
        time[displayed.rows] = np.repeat(displayed.times, displayed.sizes)
        impressions, clicks = items.before(buckets.hashes(table["item_id"]), time - delay_ms)
        prior = items.click_rate(self._plan.cuts.validation_from)
        for name, values in item_counts.features(impressions, clicks, prior, rule.strength).items():
            table = table.append_column(name, pa.array(values))
        return table

    def _reject(self, table: pa.Table, bucket: int) -> tuple[pa.Table, days.Rejected]:
        """Drops rows that only other rows prove wrong; the first rule that a row breaks is its reason."""
        rules = {
            DUPLICATE: mending.duplicates,
            BOT: mending.bots,
            SHARED: self._shared_requests,
            REPEATED: mending.repeated_positions,
        }
        reasons = mending.wrong(table, self._plan.dataset, rules)
        counts: days.Rejected = Counter()
        times = columns.flat(table["timestamp"]).to_numpy()
        for reason, where in reasons.items():
            if where.any():
                counts += days.rejected([reason] * int(where.sum()), times[where], self._plan.dataset.day)
        if "request_id" in table.column_names or counts:
            out = FileSystems.join(self._plan.out, "rejected", f"requests-{bucket:05d}.jsonl.gz")
            with contextlib.closing(RejectedWriter(out)) as writer:
                writer.write(self._rejections(table, reasons))
        return mending.without(table, reasons), counts

    def _shared_requests(self, table: pa.Table, _: DatasetConfig) -> Mask:
        """Rows of requests that two users share."""
        if "request_id" not in table.column_names:
            return np.zeros(len(table), bool)
        return columns.mask(pc.is_in(table["request_id"], value_set=self._shared))

    def _rejections(self, table: pa.Table, reasons: Mapping[str, Mask]) -> Iterable[dict[str, Any]]:
        for reason, where in reasons.items():
            for values in table.filter(pa.array(where)).to_pylist():
                file, row = self._plan.names[values.pop("source_file")], values.pop("source_row")
                yield {"file": file, "row": row, "reason": reason, "values": values}

    def _write(self, encoder: SessionEncoder, bucket: int, split: str) -> int:
        """Writes the sessions of one split, if there are any; returns how many."""
        count = int(encoder.lists_in(split).sum())
        if count:
            name = f"sessions-{bucket:05d}-of-{1 << self._plan.bits:05d}.tfrecord.gz"
            with contextlib.closing(tfrecord.Writer(FileSystems.join(self._plan.out, split, name))) as writer:
                for records in encoder.encode(split):
                    writer.write(records)
        return count


def make_lists(table: pa.Table, dataset: DatasetConfig) -> tuple[pa.Table, Lists]:
    """The lists of rows in total order, by time, and the table with `position`."""
    timestamp, length = columns.flat(table["timestamp"]).to_numpy(), dataset.list_length
    if "request_id" not in table.column_names:
        rule = dataset.list_rule or ListRule()
        found = lists.by_rule(lists.encode(table["user_id"]), timestamp, rule.gap_seconds * 1000, length)
    else:
        named = "position" in table.column_names
        position = table["position"].to_numpy() if named else np.arange(len(table))
        found = lists.by_request(lists.encode(table["request_id"]), position, timestamp, length)
        if named:
            return table, lists.in_order_of_time(found)
    position = np.empty(len(table), np.int64)
    position[found.rows] = lists.places(found)
    if "position" in table.column_names:
        table = table.drop(["position"])
    return table.append_column("position", pa.array(position)), lists.in_order_of_time(found)


def _channels(encoder: SessionEncoder, table: pa.Table) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for split in SPLITS:
        rows = table["channel"].filter(pa.array(encoder.rows_in(split)))
        counts |= {(split, each["values"]): each["counts"] for each in pc.value_counts(rows).to_pylist()}
    return counts
