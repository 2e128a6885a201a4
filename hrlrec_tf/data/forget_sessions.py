"""Forgets users in prepared sessions: their examples, their rejected rows, and the vocabularies made of them."""

import gzip
import json
import pathlib
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import tensorflow as tf

from hrlrec_tf.cli import write_json
from hrlrec_tf.data import masking, tfrecord
from hrlrec_tf.data.examples import SPLITS
from hrlrec_tf.data.prepare import SUMMARY, read_summary

_BATCH = 1024


def forget(folder: pathlib.Path, ids: Collection[str], column: str = "user_id") -> dict[str, Any]:
    """Removes some users from a finished folder of `hrlrec prepare`.

    A user's history stands in that user's own sessions alone. `transform/`, whose vocabularies and counts are made of
    all users, is removed; training fits it anew. Every file is replaced whole, `summary.json` last.

    Args:
      folder: of the sessions.
      ids: of users as the sessions hold them: masked ones where the log is masked.
      column: of the log that holds users; rejected rows show it.

    Returns:
      Counts: `sessions_removed`, `rejected_rows_removed`, `transform_removed`.

    Raises:
      DataError: the folder holds no finished sessions.
    """
    summary = dict(read_summary(str(folder)))
    wanted = frozenset(user.encode("utf-8") for user in ids)
    left: Counter[tuple[str, str]] = Counter()
    removed = rejected = 0
    for split in SPLITS:
        for file in sorted((folder / split).glob("*.tfrecord.gz")):
            removed += _forget_examples(file, wanted, split, left)
    for file in sorted((folder / "rejected").glob("*.jsonl.gz")):
        rejected += _forget_rejected(file, ids, column)
    transform = folder / "transform"
    made = transform.exists()
    if made:
        gone = transform.with_name(f".{transform.name}.partial")
        transform.rename(gone)
        shutil.rmtree(gone)
    for what in ("requests", "rows"):
        summary[what] = {split: left[what, split] for split in SPLITS}
    write_json(folder / SUMMARY, summary)
    return {"sessions_removed": removed, "rejected_rows_removed": rejected, "transform_removed": made}


def _forget_examples(file: pathlib.Path, users: Collection[bytes], split: str, left: Counter[tuple[str, str]]) -> int:
    """Rewrites one file if it must be; returns how many sessions went and adds what is left."""
    kept, removed, rows = 0, 0, 0.0
    for _, theirs, weight in _examples(file, users):
        kept, removed, rows = kept + (not theirs), removed + theirs, rows + (0.0 if theirs else weight)
    left["requests", split] += kept
    left["rows", split] += round(rows)
    if removed and kept:
        partial = file.with_name(f".{file.name}.partial")
        writer = tfrecord.Writer(str(partial))
        writer.write(record for record, theirs, _ in _examples(file, users) if not theirs)
        writer.close()
        partial.replace(file)
    elif removed:
        file.unlink()
    return removed


def _examples(file: pathlib.Path, users: Collection[bytes]) -> Iterator[tuple[bytes, bool, float]]:
    """Serialized sessions, whether each is of one of some users, and how many rows of it count."""
    parser = {"user_id": tf.io.FixedLenFeature([], tf.string), "weight": tf.io.VarLenFeature(tf.float32)}
    for records in tf.data.TFRecordDataset(str(file), "GZIP").batch(_BATCH):
        parsed = tf.io.parse_example(records, parser)
        weights = tf.sparse.reduce_sum(parsed["weight"], axis=1).numpy()
        for record, user, weight in zip(records.numpy(), parsed["user_id"].numpy(), weights, strict=True):
            yield record, user in users, float(weight)


def _forget_rejected(file: pathlib.Path, ids: Collection[str], column: str) -> int:
    with gzip.open(file, "rt", encoding="utf-8") as source:
        lines = list(source)
    left = [line for line in lines if not _names_one(json.loads(line)["values"].items(), ids, column)]
    if len(left) < len(lines):
        partial = file.with_name(f".{file.name}.partial")
        partial.write_bytes(gzip.compress("".join(left).encode("utf-8"), mtime=0))
        partial.replace(file)
    return len(lines) - len(left)


def _names_one(values: Iterable[tuple[str, Any]], ids: Collection[str], column: str) -> bool:
    """Whether a rejected row is of one of some users; the text of a line that was not taken apart may be."""
    for name, value in values:
        if name in (column, "user_id") and str(value) in ids:
            return True
        if name == "text" and any(masking.names(value, user) for user in ids):
            return True
    return False
