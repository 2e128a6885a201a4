"""What the second Beam stage tells of its buckets, and the sum over all of them."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from hrlrec_tf.data import days
from hrlrec_tf.data.days import Rejected
from hrlrec_tf.errors import LogError


@dataclasses.dataclass(frozen=True)
class BucketResult:
    """What came of a bucket.

    Attributes:
      accepted: rows.
      rejected: rows by day and reason.
      requests, rows: lists and rows per split; a list across a cut counts in both splits.
      channels: rows per (split, channel).
      users, lists, cut_lists: counts.
      cut: `users` and `rows` whose value of a user feature was cut, by (column, which).
      items: distinct hashes of item ids.
      first, last: timestamps.
      days: see `days.profile`; None without rows.
      fault: why the bucket could not be written; the rest is void then.
    """

    accepted: int = 0
    rejected: Rejected = dataclasses.field(default_factory=Counter)
    requests: Counter[str] = dataclasses.field(default_factory=Counter)
    rows: Counter[str] = dataclasses.field(default_factory=Counter)
    channels: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)
    users: int = 0
    lists: int = 0
    cut_lists: int = 0
    cut: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)
    items: npt.NDArray[np.uint64] = dataclasses.field(default_factory=lambda: np.zeros(0, np.uint64))
    first: int | None = None
    last: int | None = None
    days: pd.DataFrame | None = None
    fault: str | None = None


def total(results: Iterable[BucketResult]) -> BucketResult:
    """The sum of buckets' results; holds one at a time.

    Raises:
      LogError: a bucket could not be written.
    """
    return functools.reduce(_add, results, BucketResult())


def _add(one: BucketResult, other: BucketResult) -> BucketResult:
    if other.fault is not None:
        raise LogError(other.fault)
    profiles = [each for each in (one.days, other.days) if each is not None]
    return BucketResult(
        accepted=one.accepted + other.accepted,
        rejected=one.rejected + other.rejected,
        requests=one.requests + other.requests,
        rows=one.rows + other.rows,
        channels=one.channels + other.channels,
        users=one.users + other.users,
        lists=one.lists + other.lists,
        cut_lists=one.cut_lists + other.cut_lists,
        cut=one.cut + other.cut,
        items=np.union1d(one.items, other.items),
        first=min((each for each in (one.first, other.first) if each is not None), default=None),
        last=max((each for each in (one.last, other.last) if each is not None), default=None),
        days=days.total(profiles) if profiles else None,
    )
