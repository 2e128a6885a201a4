"""The input pipeline alone: how fast `hrlrec train` could read batches if it did nothing else."""

import dataclasses
import pathlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hrlrec_tf import verbs
from hrlrec_tf.benchmark.timing import Times, measure
from hrlrec_tf.benchmark.workload import Workload, random_sessions
from hrlrec_tf.data import example_bytes, schema, tfrecord, transform
from hrlrec_tf.data.input import SessionDataset, SessionReader

_BATCHES = 8  # of the random sessions


class Inputs:
    """Batches of sessions.

    Args:
      workload: sizes of the random sessions, and of a batch.
      folder: prepared sessions; random ones are written there if it is empty or absent.
    """

    def __init__(self, workload: Workload, folder: str) -> None:
        sessions = pathlib.Path(folder)
        if not (sessions / "schema.pbtxt").exists():
            write_sessions(workload, sessions)
        log = schema.read(sessions / "schema.pbtxt")
        if not (sessions / "transform").exists():
            transform.fit(str(sessions / "train" / "*"), log, str(sessions / "transform"))
        self._reader = SessionReader(log, str(sessions / "transform"))
        self._files, self._batch = verbs.session_files(sessions, "train"), workload.batch

    def run(self, repeat: int) -> dict[str, Times]:
        """Time per batch in each of `repeat` epochs, of a split kept in memory and of one read from its files."""
        kept = SessionDataset(self._reader, self._files)
        read = SessionDataset(self._reader, self._files, kept_bytes=0)
        return {name: self._epochs(sessions, repeat) for name, sessions in (("memory", kept), ("files", read))}

    def _epochs(self, sessions: SessionDataset, repeat: int) -> Times:
        batches = sessions.batches(self._batch, shuffle_seed=1)
        count = sum(1 for _ in batches)
        times = measure(lambda: sum(1 for _ in batches), repeat)
        return [{clock: seconds / count for clock, seconds in epoch.items()} for epoch in times]


def write_sessions(workload: Workload, folder: pathlib.Path) -> None:
    """Random sessions, as `hrlrec prepare` leaves them, to train on."""
    lists = dataclasses.replace(workload, batch=_BATCHES * workload.batch)
    (folder / "train").mkdir(parents=True, exist_ok=True)
    writer = tfrecord.Writer(str(folder / "train" / "sessions-0.tfrecord.gz"))
    writer.write(example_bytes.serialize({name: _lists(rows) for name, rows in random_sessions(lists).items()}))
    writer.close()
    schema.write(schema.to_schema(workload.spec), folder / "schema.pbtxt")


def _lists(rows: npt.NDArray) -> pa.ListArray:
    flat = pa.array(rows.reshape(-1))
    values = example_bytes.text_values(flat) if pa.types.is_string(flat.type) else flat
    return pa.ListArray.from_arrays(pa.array(np.linspace(0, len(flat), len(rows) + 1).astype(np.int32)), values)
