"""Forgets users in the working folder of `hrlrec daily`: wherever its runs and models hold ids of users.

A file is replaced whole, so a killed run is simply run again.
"""

import pathlib
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from tensorflow_metadata.proto.v0 import statistics_pb2

from hrlrec_tf.data import forget_sessions
from hrlrec_tf.data.prepare import SUMMARY
from hrlrec_tf.errors import DataError
from hrlrec_tf.folder_lock import FolderLock

_KEPT = ("pipeline/metadata.sqlite", "blessed")  # either shows whose folder it is
_QUICKSTART = "request.json"
_ARTIFACT = "pipeline/*/[!.]*/[0-9]*"  # COMPONENT/OUTPUT/EXECUTION
_REGISTRY = ("blessed/[0-9]*", "blessed/withdrawn/[0-9]*")
_IDS = ("user_id", "request_id")  # features whose values tell who it was

# What killed runs leave, in forms that nobody reads again.
_LEFTOVERS = (
    "pipeline/*/.system/executor_execution/*/.temp",
    f"{_ARTIFACT}/.[!.]*",
    f"{_ARTIFACT}/beam-temp-*",
    f"{_ARTIFACT}/Split-*/beam-temp-*",
    *(f"{folder}/.[!.]*" for folder in ("blessed", "blessed/withdrawn", "serving", "serving/withdrawn")),
)

Places = Mapping[str, int]  # file or folder, relative to the working folder -> how much was removed there


def forget(workdir: pathlib.Path, ids: Collection[str], column: str | None = None) -> dict[str, Any]:
    """Removes some users from the sessions, panels, scored impressions, statistics and vocabularies of daily runs.

    Vocabularies keep their lengths, for a model's rows are counted by them: an id gives way to a text that is nobody's.
    Of statistics, the most frequent user and request ids go, whosever they are.

    Args:
      workdir: the folder; no daily run may be at work in it.
      ids: of users as the sessions hold them: masked ones where the log is masked.
      column: of the log that holds users, as rejected rows have it; None looks in all of their columns.

    Returns:
      What was removed where: `sessions`, `rejected_rows`, `panels`, `impressions`, `statistics`, `vocabularies`, each
      place -> count; `leftovers` of killed runs; `users_found`.

    Raises:
      ConfigError: another command works in the folder.
      DataError: it is no working folder, or holds a file that cannot be read.
    """
    if not any((workdir / place).exists() for place in _KEPT):
        raise DataError(f"{workdir}: is no working folder of `hrlrec daily`, for it holds no {' and no '.join(_KEPT)}")
    if (workdir / _QUICKSTART).exists():
        raise DataError(
            f"{workdir}: is a folder of `hrlrec quickstart`, for it holds {_QUICKSTART}, a user's request; remove the "
            "folder and make it anew"
        )
    with FolderLock(workdir, "--workdir"):
        return _forget(workdir, ids, column)


def _forget(workdir: pathlib.Path, ids: Collection[str], column: str | None) -> dict[str, Any]:
    leftovers = sorted(_remove_leftovers(workdir))
    encoded = frozenset(user.encode("utf-8") for user in ids)
    sessions, rejected = Counter[str](), Counter[str]()
    found: set[str] = set()
    for summary in _find(workdir, f"{_ARTIFACT}/{SUMMARY}"):
        counts = forget_sessions.forget(summary.parent, ids, column)
        place = str(summary.parent.relative_to(workdir))
        sessions[place], rejected[place] = counts["sessions_removed"], counts["rejected_rows_removed"]
        found |= counts["users"]

    def forget_records(file: pathlib.Path) -> int:
        records = forget_sessions.forget_records(file, encoded)
        found.update(user.decode("utf-8") for user in records.users)
        return records.removed

    panels = [f"{folder}/panel.tfrecord.gz" for folder in (_ARTIFACT, *_REGISTRY)]
    # Sessions are done: what is left of examples are scored impressions.
    removed = {
        "sessions": +sessions,
        "rejected_rows": +rejected,
        "panels": _each(workdir, panels, forget_records),
        "impressions": _each(workdir, [f"{_ARTIFACT}/Split-*/*.gz"], forget_records),
        "statistics": _each(workdir, [f"{_ARTIFACT}/Split-*/FeatureStats.pb"], _forget_frequent),
        "vocabularies": _each(
            workdir,
            [f"{folder}/**/assets/user_id" for folder in ("pipeline", "blessed", "serving")],
            lambda file: _forget_known(file, encoded, found),
        ),
    }
    return {**removed, "leftovers": leftovers, "users_found": len(found)}


def _find(workdir: pathlib.Path, *patterns: str) -> list[pathlib.Path]:
    return sorted({path for pattern in patterns for path in workdir.glob(pattern)})


def _each(workdir: pathlib.Path, patterns: Collection[str], remove: Callable[[pathlib.Path], int]) -> Places:
    """Removes users from each file; returns where how much went."""
    counts = {str(file.relative_to(workdir)): remove(file) for file in _find(workdir, *patterns)}
    return {place: count for place, count in counts.items() if count}


def _remove_leftovers(workdir: pathlib.Path) -> Iterator[str]:
    """Removes what killed runs left, sessions without a summary among it; yields what."""
    unfinished = [
        path.parent for path in _find(workdir, f"{_ARTIFACT}/rejected") if not (path.parent / SUMMARY).exists()
    ]
    for path in (*_find(workdir, *_LEFTOVERS), *unfinished):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        yield str(path.relative_to(workdir))


def _forget_frequent(file: pathlib.Path) -> int:
    """Empties the lists of most frequent ids; returns how many values went."""
    statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read_bytes())
    removed = 0
    for dataset in statistics.datasets:
        for feature in dataset.features:
            if list(feature.path.step) in [[name] for name in _IDS]:
                lists = feature.string_stats
                removed += max(len(lists.top_values), len(lists.rank_histogram.buckets))
                lists.ClearField("top_values")
                lists.ClearField("rank_histogram")
    if removed:
        forget_sessions.replace(file, statistics.SerializeToString())
    return removed


def _forget_known(file: pathlib.Path, users: Collection[bytes], found: set[str]) -> int:
    """Puts texts that are nobody's in the place of some users' ids, which it adds to `found`; returns how many.

    Equal files stay equal: the Pusher knows a model that was pushed by its files.
    """
    lines = file.read_bytes().split(b"\n")
    taken = set(lines)
    theirs = [number for number, line in enumerate(lines) if line in users]
    for number in theirs:
        found.add(lines[number].decode("utf-8"))
        text = f"<forgotten-{number}>".encode()
        while text in taken:  # of an earlier model, whose rows went on into this one
            text += b"'"
        taken.add(text)
        lines[number] = text
    if theirs:
        forget_sessions.replace(file, b"\n".join(lines))
    return len(theirs)
