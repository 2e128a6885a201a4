"""Beam stage between reading and sessions: which values of user features are held by enough users."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import pandas as pd
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from hrlrec_tf.data import buckets
from hrlrec_tf.data.buckets import Partitioned
from hrlrec_tf.data.k_anonymity import KEY, SEPARATOR
from hrlrec_tf.data.read_stage import save
from hrlrec_tf.data.rules import KAnonymity


@dataclasses.dataclass(frozen=True)
class Counted:
    """What came of one partition of values.

    Attributes:
      kept: keys of the values that enough users hold.
      columns: column of each value. cut: whether it was cut; both by value.
    """

    kept: pa.Array
    columns: Sequence[str]
    cut: Sequence[bool]


def expand(
    pipeline: beam.Pipeline, files: Sequence[Partitioned], bits: int, rule: KAnonymity, before: int, out: str
) -> None:
    """Adds the count to a pipeline.

    Args:
      files: what `holders` gave, by partition of `bits` bits.
      before: when the evaluation split begins, ms UTC.
      out: folder for one `Counted` per partition.
    """
    _ = (
        pipeline
        | "Partitions" >> beam.Create(range(1 << bits), reshuffle=False)
        | "Spread" >> beam.Reshuffle()
        | "CountHolders" >> beam.ParDo(CountHolders(list(files), bits, rule, before, out))
    )


class CountHolders(beam.DoFn):
    """Partition of values -> a file that says which of them stay; arguments as of `expand`."""

    def __init__(self, files: Sequence[Partitioned], bits: int, rule: KAnonymity, before: int, out: str) -> None:
        self._files, self._bits, self._rule, self._before, self._out = files, bits, rule, before, out

    def process(self, partition: int) -> Iterator[str]:
        """Handles one partition; yields where its result lies."""
        table = buckets.read_all(file.batches(partition, self._bits) for file in self._files)
        result = Counted(pa.array([], pa.string()), (), ()) if table is None else self._count(table.to_pandas())
        path = FileSystems.join(self._out, f"{partition:05d}.pkl")
        save(path, result)
        yield path

    def _count(self, held: pd.DataFrame) -> Counted:
        users = held[held["time"] < self._before].groupby(KEY)["user"].nunique()
        every = pd.Series(held[KEY].unique(), dtype=object)
        cut = (every.map(users).fillna(0) < self._rule.k).to_numpy(bool)
        names = [key.split(SEPARATOR, 1)[0] for key in every]
        return Counted(pa.array(every[~cut].tolist(), pa.string()), names, cut.tolist())


def kept_values(results: Sequence[Counted]) -> pa.Array:
    """Keys of the values that stay."""
    return pa.concat_arrays([pa.array([], pa.string()), *(result.kept for result in results)])


def summarise(rule: KAnonymity, results: Sequence[Counted]) -> dict[str, Any]:
    """How many distinct values of each column stay and are cut."""
    found = pd.DataFrame(
        {"column": [n for each in results for n in each.columns], "cut": [n for each in results for n in each.cut]}
    )
    return {
        name: {
            "values_kept": int(((found["column"] == name) & ~found["cut"].astype(bool)).sum()),
            "values_cut": int(((found["column"] == name) & found["cut"].astype(bool)).sum()),
        }
        for name in rule.columns
    }
