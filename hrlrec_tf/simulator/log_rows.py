"""The rows of a log as plain arrays, whether a file holds them or a simulated day.

A log is read by the package's own reader, and its lists are those that `hrlrec prepare` would make.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from hrlrec_tf.data import columns, formats, lists, reading, session_stage
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.data.validation import Validator
from hrlrec_tf.errors import LogError
from hrlrec_tf.simulator.days import ShownLists
from hrlrec_tf.simulator.feed import Feed

Ints = npt.NDArray[np.int64]

_KEPT = (
    *("request_id", "user_id", "timestamp", "position", "item_id", "channel", "clicks", "dwell_seconds", "explored"),
    "source_row",
)


@dataclasses.dataclass(frozen=True)
class LogRows:
    """Rows of displayed lists; all arrays but `channels` are [rows], list after list in display order.

    Attributes:
      channels: names of the channels.
      list, user, item, channel: codes; those of lists begin at 0 and grow by 1.
      place: of the row in its list, from 1.
      time: ms UTC of the list.
      clicked, explored: bool.
      dwell: seconds.
      rejected: rows that broke a rule and are not among these.
    """

    channels: tuple[str, ...]
    list: Ints
    user: Ints
    item: Ints
    channel: Ints
    place: Ints
    time: Ints
    clicked: npt.NDArray[np.bool_]
    explored: npt.NDArray[np.bool_]
    dwell: npt.NDArray[np.float32]
    rejected: int = 0

    def __len__(self) -> int:
        return len(self.list)


def read(dataset: DatasetConfig, progress: bool = True) -> LogRows:
    """Reads a whole log into memory, about 100 bytes a row.

    Raises:
      LogError: the log cannot be read, or no row of it passes the checks.
    """
    log = reading.open_log(dataset, progress)
    checked, sources = Validator(dataset, log.layout, reading.read_joins(dataset)), reading.sources(dataset, log.layout)
    tables, rejected = [], 0
    with tqdm(desc="read", total=log.rows_estimate, unit="row", unit_scale=True, disable=not progress) as bar:
        for unit in log.units:
            for batch in formats.read(unit.file, sources, unit.row_groups):
                result = checked(batch)
                tables.append(result.rows.select([name for name in _KEPT if name in result.rows.column_names]))
                rejected += len(result.rejected)
                bar.update(len(batch.rows))
    if not sum(map(len, tables)):
        raise LogError(f"{dataset.log}: no row can be used ({rejected:,} rejected); hrlrec prepare says why")
    table = lists.in_total_order(pa.concat_tables(tables).combine_chunks())
    kept = _without_contradictions(table)
    return _of_table(kept, dataset, rejected + len(table) - len(kept))


def of_days(feed: Feed, shown: Iterable[ShownLists]) -> LogRows:
    """Rows of simulated lists."""
    parts = list(shown)
    items, clicked, dwell = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("items", "clicks", "dwell_seconds")
    )
    users, times = (
        np.concatenate([getattr(part.requests, name) for part in parts]) for name in ("users", "timestamps")
    )
    explored = np.concatenate([part.choice.explored for part in parts])
    number, column = np.nonzero(items >= 0)
    item = items[number, column].astype(np.int64)
    return LogRows(
        channels=feed.config.channel_names,
        list=number,
        user=users[number].astype(np.int64),
        item=item,
        channel=feed.corpus.channels[item].astype(np.int64),
        place=column + 1,
        time=times[number],
        clicked=clicked[number, column],
        explored=explored[number, column],
        dwell=dwell[number, column],
    )


def merged(rows: LogRows, most: int, rest: str) -> tuple[LogRows, Sequence[str]]:
    """The rows with at most `most` channels, and which ones became the channel `rest`: those with the fewest rows."""
    counts = np.bincount(rows.channel, minlength=len(rows.channels))
    if len(rows.channels) <= most:
        return rows, ()
    order = np.argsort(-counts, kind="stable")
    order = np.array([code for code in order if rows.channels[code] != rest])
    kept, small = np.sort(order[: most - 1]), order[most - 1 :]
    codes = np.full(len(counts), len(kept))
    codes[kept] = np.arange(len(kept))
    names = (*(rows.channels[code] for code in kept), rest)
    return dataclasses.replace(rows, channels=names, channel=codes[rows.channel]), [rows.channels[c] for c in small]


def ordered(rows: LogRows, channels: Sequence[str]) -> LogRows:
    """The rows with `channels`, which name all of theirs, in this order."""
    codes = np.array([channels.index(name) for name in rows.channels])
    return dataclasses.replace(rows, channels=tuple(channels), channel=codes[rows.channel])


def _without_contradictions(table: pa.Table) -> pa.Table:
    """Drops what `hrlrec prepare` drops: requests of several users, repeated positions."""
    if "request_id" not in table.column_names:
        return table
    request, user = (lists.encode(table[name]).codes for name in ("request_id", "user_id"))
    pairs = np.unique(np.stack([request, user]), axis=1)
    wrong = (np.bincount(pairs[0], minlength=request.max() + 1) > 1)[request]
    if "position" in table.column_names:
        own = np.flatnonzero(~wrong)
        wrong[own] = lists.repeated_positions(request[own], table["position"].to_numpy()[own])
    return table.filter(pa.array(~wrong))


def _of_table(table: pa.Table, dataset: DatasetConfig, rejected: int) -> LogRows:
    table, displayed = session_stage.make_lists(table, dataset)
    table = table.take(pa.array(displayed.rows))
    codes = {name: lists.encode(table[name]) for name in ("user_id", "item_id", "channel")}
    return LogRows(
        channels=tuple(codes["channel"].words.to_pylist()),
        list=np.repeat(np.arange(len(displayed.times)), displayed.sizes),
        user=codes["user_id"].codes,
        item=codes["item_id"].codes,
        channel=codes["channel"].codes,
        place=lists.places(displayed),
        time=np.repeat(displayed.times, displayed.sizes),
        clicked=columns.flat(table["clicks"]).to_numpy() > 0,
        explored=pc.equal(columns.flat(table["explored"]), 1).to_numpy(zero_copy_only=False),
        dwell=columns.flat(table["dwell_seconds"]).to_numpy(),
        rejected=rejected,
    )
