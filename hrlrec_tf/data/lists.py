"""Rows of some users into displayed lists: total order, repeated positions, the list rule, lists longer than T."""

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hrlrec_tf.data import columns

Ints = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Codes:
    """A string column as integers that sort like the strings.

    Attributes:
      codes: int64 [rows].
      words: the strings, ascending.
    """

    codes: Ints
    words: pa.Array


@dataclasses.dataclass(frozen=True)
class Lists:
    """Displayed lists over the rows of a table.

    Attributes:
      rows: int64 [rows], row numbers, list after list in display order.
      starts: int64 [lists + 1], where each list starts in `rows`.
      times: int64 [lists], ms: the earliest row of the request a list belongs to.
      ids: strings [lists]; the later parts of a request longer than T end with `#2`, `#3`, ...
      cut: how many lists are such later parts.
    """

    rows: Ints
    starts: Ints
    times: Ints
    ids: pa.Array
    cut: int

    @property
    def sizes(self) -> Ints:
        """Rows of each list."""
        return np.diff(self.starts)


def encode(strings: pa.Array | pa.ChunkedArray) -> Codes:
    """Integer codes in the strings' order."""
    encoded = columns.flat(strings).dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return Codes(rank[encoded.indices.to_numpy()], encoded.dictionary.take(pa.array(order)))


def in_total_order(table: pa.Table) -> pa.Table:
    """Rows by user, then by (timestamp, request_id, position, item_id); what else differs and the source break ties."""
    keys = []
    for name in (
        "user_id", "timestamp", "request_id", "position", "item_id",
        "channel", "clicks", "dwell_seconds", "explored", "source_file", "source_row",
    ):  # fmt: skip
        if name in table.column_names:
            column = columns.flat(table[name])
            keys.append(encode(column).codes if pa.types.is_string(column.type) else column.to_numpy())
    return table.take(pa.array(np.lexsort(keys[::-1])))


def repeated_positions(request: Ints, position: Ints) -> npt.NDArray[np.bool_]:
    """Rows whose (request, position) an earlier row has."""
    order = np.lexsort((position, request))
    same = (np.diff(request[order], prepend=-1) == 0) & (np.diff(position[order], prepend=-1) == 0)
    repeated = np.zeros(len(request), bool)
    repeated[order] = same
    return repeated


def by_request(requests: Codes, position: Ints, timestamp: Ints, length: int) -> Lists:
    """Lists by request id, displayed in order of position."""
    order = np.lexsort((position, requests.codes))
    return _cut(order, requests.codes[order], timestamp, length, requests.words)


def by_rule(users: Codes, timestamp: Ints, gap_ms: float, length: int) -> Lists:
    """Lists of rows in total order: a pause longer than `gap_ms`, or `length` rows, start a new one."""
    rows = np.arange(len(timestamp))
    new_user = np.diff(users.codes, prepend=-1) != 0
    sitting = np.cumsum(new_user | (np.diff(timestamp, prepend=timestamp[:1]) > gap_ms)) - 1
    starts_sitting = np.flatnonzero(np.diff(sitting, prepend=-1))
    rank = rows - starts_sitting[sitting]
    number = np.cumsum(rank % length == 0) - 1
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    first_of_user = number[np.searchsorted(users.codes, users.codes[starts])]
    ordinals = np.arange(len(starts)) - first_of_user + 1
    names = users.words.take(pa.array(users.codes[starts]))
    ids = pc.binary_join_element_wise(names, pa.array([f"{n:08d}" for n in ordinals]), "/")
    return Lists(rows, np.append(starts, len(rows)), timestamp[starts], ids, 0)


def _cut(order: Ints, request: Ints, timestamp: Ints, length: int, words: pa.Array) -> Lists:
    """Lists of at most `length` rows of each request; all of them know what was known before the request."""
    request_starts = np.flatnonzero(np.diff(request, prepend=-1))
    sizes = np.diff(np.append(request_starts, len(request)))
    earliest = np.minimum.reduceat(timestamp[order], request_starts) if len(order) else timestamp
    parts = -(-sizes // length)
    owner = np.repeat(np.arange(len(sizes)), parts)
    part = np.arange(len(owner)) - np.repeat(np.cumsum(parts) - parts, parts)
    starts = request_starts[owner] + part * length
    ids = words.take(pa.array(request[starts]))
    later = part > 0
    numbered = pc.binary_join_element_wise(ids, pa.array([str(n + 1) for n in part], pa.string()), "#")
    ids = pc.if_else(pa.array(~later), ids, numbered)
    return Lists(order, np.append(starts, len(order)), earliest[owner], ids, int(later.sum()))


def in_order_of_time(lists: Lists) -> Lists:
    """The same lists by (time, id)."""
    order = np.lexsort((encode(lists.ids).codes, lists.times))
    sizes = lists.sizes[order]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    rows = np.repeat(lists.starts[:-1][order] - starts[:-1], sizes) + np.arange(starts[-1])
    return Lists(lists.rows[rows], starts, lists.times[order], lists.ids.take(pa.array(order)), lists.cut)


def places(lists: Lists) -> Ints:
    """The place of each of `lists.rows` in its list, from 1."""
    return np.arange(len(lists.rows)) - np.repeat(lists.starts[:-1], lists.sizes) + 1
