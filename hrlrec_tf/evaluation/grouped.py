"""Rankings inside many groups of rows at once: a user's rows, a list's rows. Equal predictions share their places."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Places(NamedTuple):
    """Rows in order of group, then of value.

    Attributes:
      order: [N] the rows' numbers in that order.
      group: [N] their groups.
      first: [N] rows of the group with a smaller value.
      last: [N] rows of the group with a smaller or the same value, so that `last - first` rows share a place.
    """

    order: Ints
    group: Ints
    first: Ints
    last: Ints


def places(groups: np.ndarray, values: np.ndarray) -> Places:
    """Where each row stands inside its group by ascending value: groups [N] whole numbers, values [N]."""
    order = np.lexsort((values, groups))
    group, value = groups[order], values[order]
    count = len(order)
    new_group, new_value = np.ones(count, bool), np.ones(count, bool)
    new_group[1:] = group[1:] != group[:-1]
    new_value[1:] = new_group[1:] | (value[1:] != value[:-1])
    start = np.flatnonzero(new_group)[np.cumsum(new_group) - 1]
    ties, tie = np.flatnonzero(new_value), np.cumsum(new_value) - 1
    return Places(order, group, ties[tie] - start, np.append(ties[1:], count)[tie] - start)


def group_aucs(groups: np.ndarray, labels: np.ndarray, predictions: np.ndarray, count: int) -> Floats:
    """Area under the ROC curve of each group's rows, by rank sums (Mann and Whitney 1947); ties count half.

    Args:
      groups: [N] from 0 to `count` - 1.
      labels: [N] 0 or 1.
      predictions: [N].

    Returns:
      [count]; NaN where a group has one class only or no rows.
    """
    found = places(groups, predictions)
    clicked = labels[found.order].astype(bool)
    rank = (found.first + found.last + 1) / 2
    clicks = np.bincount(found.group, clicked, count)
    others = np.bincount(found.group, ~clicked, count)
    ranks = np.bincount(found.group, np.where(clicked, rank, 0.0), count)
    with np.errstate(invalid="ignore", divide="ignore"):
        aucs: Floats = (ranks - clicks * (clicks + 1) / 2) / (clicks * others)
    return np.where((clicks > 0) & (others > 0), aucs, np.nan)


class ListGains(NamedTuple):
    """Figures of lists, [count] each; NaN where a list has fewer than two rows or no click."""

    ndcg: Floats
    hit_rate: Floats


def list_gains(
    lists: np.ndarray, labels: np.ndarray, predictions: np.ndarray, count: int, ndcg_at: int, hit_rate_at: int
) -> ListGains:
    """How well predictions order the rows of each list.

    NDCG@k is the discounted gain 1 / log2(1 + place) of the clicked rows among the first k by prediction, over the
    largest that any order reaches. A hit is a clicked row among the first k. Rows of equal predictions stand in every
    order equally often, so both are expectations: a constant prediction earns what a random order does, and nothing
    from the order in which rows were logged.

    Args:
      lists: [N] from 0 to `count` - 1.
      labels: [N] 0 or 1.
      predictions: [N].
      ndcg_at: k of NDCG.
      hit_rate_at: k of the hit.
    """
    found = places(lists, -predictions)
    clicked = labels[found.order].astype(bool)
    rows = np.bincount(found.group, minlength=count)
    clicks = np.bincount(found.group, clicked, count).astype(np.int64)
    longest = int(rows.max(initial=0))
    discounts = np.where(np.arange(longest) < ndcg_at, 1 / np.log2(np.arange(longest) + 2.0), 0.0)
    reached = np.concatenate([[0.0], np.cumsum(discounts)])  # by the first n places
    discount = (reached[found.last] - reached[found.first]) / (found.last - found.first)
    gain = np.bincount(found.group, np.where(clicked, discount, 0.0), count)
    valid = (rows >= 2) & (clicks > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        ndcg = np.where(valid, gain / reached[clicks], np.nan)
    return ListGains(ndcg, np.where(valid, _hits(found, clicked, count, hit_rate_at), np.nan))


def _hits(found: Places, clicked: np.ndarray, count: int, at: int) -> Floats:
    """Chance of a clicked row among the first `at`: [count].

    At most one tie of a list reaches across that border; which of its rows stand inside is drawn without replacement.
    """
    sure = np.bincount(found.group, clicked & (found.last <= at), count) > 0
    across = (found.first < at) & (at < found.last)
    tied = np.bincount(found.group, across, count)
    tied_others = np.bincount(found.group, across & ~clicked, count)
    inside = np.zeros(count)
    inside[found.group[across]] = at - found.first[across]
    with np.errstate(invalid="ignore"):
        missed = special.comb(tied_others, inside) / special.comb(tied, inside)
    return np.where(sure, 1.0, 1.0 - missed)
