"""Forgets users in prepared sessions: their examples, their rejected rows, and the vocabularies made of them."""

import dataclasses
import gzip
import json
import pathlib
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from hrlrec_tf.cli import write_json
from hrlrec_tf.data import masking, tfrecord
from hrlrec_tf.data.examples import SPLITS
from hrlrec_tf.data.prepare import SUMMARY, read_summary
from hrlrec_tf.errors import DataError

_BATCH = 1024
_LAYOUTS = ("{}", "Split-{}")  # a split's folder as `hrlrec prepare` names it, and as a pipeline's SessionExampleGen


@dataclasses.dataclass(frozen=True)
class Records:
    """What became of one file of examples.

    Attributes:
      kept, removed: examples.
      rows: that count, of the kept ones.
      users: whose examples were removed.
    """

    kept: int
    removed: int
    rows: int
    users: frozenset[bytes]


def forget(folder: pathlib.Path, ids: Collection[str], column: str | None = None) -> dict[str, Any]:
    """Removes some users from a finished folder of `hrlrec prepare` or of a pipeline's SessionExampleGen.

    A user's history stands in that user's own sessions alone. `transform/`, whose vocabularies and counts are made of
    all users, is removed; training fits it anew. Every file is replaced whole, `summary.json` last.

    Args:
      folder: of the sessions.
      ids: of users as the sessions hold them: masked ones where the log is masked.
      column: of the log that holds users, as rejected rows have it; None looks in all of their columns.

    Returns:
      Counts: `sessions_removed`, `rejected_rows_removed`, `transform_removed`; and `users`, the ids that were found.

    Raises:
      DataError: the folder holds no finished sessions, or not all of them.
    """
    summary = dict(read_summary(str(folder)))
    files = _session_files(folder, summary.get("requests", {}))
    wanted = frozenset(user.encode("utf-8") for user in ids)
    left: Counter[tuple[str, str]] = Counter()
    users: set[str] = set()
    removed = 0
    for split in SPLITS:
        for file in files[split]:
            records = forget_records(file, wanted)
            removed += records.removed
            left["requests", split] += records.kept
            left["rows", split] += records.rows
            users |= {user.decode("utf-8") for user in records.users}
    rejected = sum(_forget_rejected(file, ids, column) for file in sorted((folder / "rejected").glob("*.jsonl.gz")))
    transform = folder / "transform"
    made = transform.exists()
    if made:
        gone = transform.with_name(f".{transform.name}.partial")
        transform.rename(gone)
        shutil.rmtree(gone)
    for what in ("requests", "rows"):
        summary[what] = {split: left[what, split] for split in SPLITS}
    write_json(folder / SUMMARY, summary)
    return {
        "sessions_removed": removed,
        "rejected_rows_removed": rejected,
        "transform_removed": made,
        "users": frozenset(users),
    }


def forget_records(file: pathlib.Path, users: Collection[bytes]) -> Records:
    """Rewrites one gzipped TFRecord file of Examples without those of some users; a file of nothing else is removed.

    Raises:
      DataError: the file cannot be read to its end.
    """
    kept, removed, rows, found = 0, 0, 0.0, set[bytes]()
    for _, user, weight in _examples(file):
        if user in users:
            removed += 1
            found.add(user)
        else:
            kept, rows = kept + 1, rows + weight
    if removed and kept:
        # Not beside the file: TFX reads all that lies in the folder of a split.
        partial = file.parent.with_name(f".{file.parent.name}-{file.name}.partial")
        writer = tfrecord.Writer(str(partial))
        writer.write(record for record, user, _ in _examples(file) if user not in users)
        writer.close()
        partial.replace(file)
    elif removed:
        file.unlink()
    return Records(kept, removed, round(rows), frozenset(found))


def replace(file: pathlib.Path, content: bytes) -> None:
    """Gives a file other content, all at once."""
    partial = file.with_name(f".{file.name}.partial")
    partial.write_bytes(content)
    partial.replace(file)


def _session_files(folder: pathlib.Path, requests: Mapping[str, int]) -> dict[str, list[pathlib.Path]]:
    """Split -> its files; a layout that is not known must not read as sessions without these users."""
    folders = {split: [folder / layout.format(split) for layout in _LAYOUTS] for split in SPLITS}
    missing = [split for split, places in folders.items() if not any(place.is_dir() for place in places)]
    absent = [split for split in missing if requests.get(split)]
    if absent or len(missing) == len(SPLITS):
        raise DataError(
            f"{folder}: holds neither {absent[0] if absent else SPLITS[0]}/ of `hrlrec prepare` nor "
            f"Split-{absent[0] if absent else SPLITS[0]}/ of a pipeline's sessions; nothing was removed"
        )
    return {
        split: [file for place in places for file in sorted(place.glob("*.tfrecord.gz"))]
        for split, places in folders.items()
    }


def _examples(file: pathlib.Path) -> Iterator[tuple[bytes, bytes, float]]:
    """Serialized examples, whose each is, and how many rows of it count."""
    parser = {"user_id": tf.io.FixedLenFeature([], tf.string), "weight": tf.io.VarLenFeature(tf.float32)}
    try:
        for records in tf.data.TFRecordDataset(str(file), "GZIP").batch(_BATCH):
            parsed = tf.io.parse_example(records, parser)
            weights = tf.sparse.reduce_sum(parsed["weight"], axis=1).numpy()
            for record, user, weight in zip(records.numpy(), parsed["user_id"].numpy(), weights, strict=True):
                yield record, user, float(weight)
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        raise DataError(
            f"{file}: cannot be read to its end, so it cannot be said whose examples it holds; remove it and run again"
        ) from error


def _forget_rejected(file: pathlib.Path, ids: Collection[str], column: str | None) -> int:
    with gzip.open(file, "rt", encoding="utf-8") as source:
        lines = list(source)
    left = [line for line in lines if not _names_one(json.loads(line)["values"].items(), ids, column)]
    if len(left) < len(lines):
        replace(file, gzip.compress("".join(left).encode("utf-8"), mtime=0))
    return len(lines) - len(left)


def _names_one(values: Iterable[tuple[str, Any]], ids: Collection[str], column: str | None) -> bool:
    """Whether a rejected row is of one of some users; the text of a line that was not taken apart may be."""
    for name, value in values:
        if (column is None or name in (column, "user_id")) and str(value) in ids:
            return True
        if name == "text" and any(masking.names(value, user) for user in ids):
            return True
    return False
