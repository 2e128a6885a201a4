"""Raw rows into standard columns: derived, checked, masked. A row that breaks a rule keeps its reason.

A row has one reason, the first that applies in the order of the checks below; `schemas/README.md` explains each.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hrlrec_tf import features
from hrlrec_tf.data import columns, days, masking
from hrlrec_tf.data.config import KINDS, LIST_COLUMNS, REQUIRED, DatasetConfig
from hrlrec_tf.data.files import NOT_UTF8, BrokenRow, RawBatch
from hrlrec_tf.features import Kind

TIMESTAMP_IN_SECONDS = "timestamp_in_seconds"
LEFT_OUT = "day_left_out"

# Milliseconds from 1973 to 2286; as seconds, numbers below would be years up to 5138.
_MIN_TIMESTAMP, _MAX_TIMESTAMP = 10**11, 10**13
_MIN_SECONDS = 10**8
_MAX_COUNT = 2**31 - 1

_LOWEST = {"clicks": (0, "negative_clicks"), "position": (1, "position_below_one")}
_DEFAULTS = {"dwell_seconds": 0.0, "propensity_channel": 1.0, "propensity_item": 1.0, "explored": 0}


@dataclasses.dataclass(frozen=True)
class Layout:
    """Which columns a log has, over all its files.

    Attributes:
      columns: standard columns, optional ones included.
      optional: optional columns and their kinds.
    """

    columns: tuple[str, ...]
    optional: Mapping[str, Kind]

    @property
    def texts(self) -> list[str]:
        """Columns of single strings."""
        base = [name for name in self.columns if KINDS.get(name) is Kind.STRING and name != "tags"]
        return base + [name for name, kind in self.optional.items() if kind is Kind.STRING]


@dataclasses.dataclass(frozen=True)
class Rejection:
    """A row that goes to `rejected/`.

    Attributes:
      row: its number in the file.
      reason: which rule it breaks.
      values: the row as the file has it, masked columns masked, those under k-anonymity withheld.
    """

    row: int
    reason: str
    values: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Validated:
    """Rows of one batch.

    Attributes:
      rows: those that pass, in standard columns with `source_row`.
      rejected: the others.
      rejected_times: of each of those, ms UTC. Of one without a readable time it is that of the nearest row with one,
        before it rather than behind it; 0 where the batch has none.
      tags_dropped: of those that pass, beyond K.
    """

    rows: pa.Table
    rejected: Sequence[Rejection]
    rejected_times: npt.NDArray[np.int64]
    tags_dropped: int


class _Faults:
    """The first fault of each row."""

    def __init__(self, rows: int) -> None:
        self.codes = np.zeros(rows, np.int16)
        self.reasons = [""]

    def mark(self, where: columns.Mask, reason: str) -> None:
        if where.any():
            self.reasons.append(reason)
            self.codes[where & (self.codes == 0)] = len(self.reasons) - 1


class Validator:
    """Validates the batches of a log.

    Args:
      config: the log's configuration.
      layout: its columns.
      joins: side table -> its columns, by key column.
    """

    def __init__(self, config: DatasetConfig, layout: Layout, joins: Mapping[str, pa.Table]) -> None:
        self._config, self._layout, self._joins = config, layout, joins
        self._masked = set(config.masking.columns) if config.masking else set()
        self._secret = masking.key(config.masking) if config.masking else b""
        self._withheld = set(config.k_anonymity.columns) if config.k_anonymity else set()

    def __call__(self, batch: RawBatch) -> Validated:
        """Validates one batch."""
        count = len(batch.rows)
        faults = _Faults(count)
        if self._config.without:
            faults.mark(self._left_out(batch.table, count), LEFT_OUT)
        arrays = {name: self._text(name, batch.table, count, faults) for name in self._layout.texts}
        if "user_id" in self._masked and "request_id" in arrays:
            users, _ = columns.to_text(self._source("user_id", batch.table, count))
            arrays["request_id"] = masking.mask_where_named(arrays["request_id"], users, self._secret)
        arrays["timestamp"] = self._timestamp(batch.table, count, faults)
        for name in ("position", "clicks", "explored"):
            arrays[name] = self._integers(name, batch.table, count, faults)
        floats = [name for name, kind in self._layout.optional.items() if kind is Kind.FLOAT]
        for name in ("dwell_seconds", "propensity_channel", "propensity_item", *floats):
            arrays[name] = self._floats(name, batch.table, count, faults)
        arrays["tags"], dropped = self._tags(batch.table, count, faults)
        arrays["source_row"] = pa.array(batch.rows)
        passed = pa.array(faults.codes == 0)
        rows = pa.table({name: array for name, array in arrays.items() if array is not None}).filter(passed)
        rejected = [self._broken(row) for row in batch.broken] + self._rejections(batch, faults)
        places = [*np.searchsorted(batch.rows, [row.row for row in batch.broken]) - 1, *np.flatnonzero(faults.codes)]
        times = _nearest(columns.flat(arrays["timestamp"]).to_numpy(), places)
        return Validated(rows, rejected, times, int(dropped[faults.codes == 0].sum()))

    def _source(self, name: str, table: pa.Table, count: int) -> pa.Array:
        """The column that a standard column derives from; nulls where this file lacks it."""
        column = self._config.column(name)
        if column.constant is not None:
            return pa.array([column.constant]).take(pa.array(np.zeros(count, np.int64)))
        if column.source in table.column_names:
            return columns.flat(table[column.source])
        for key, side in self._joins.items():
            if column.source in side.column_names:
                keys, _ = columns.to_text(table[key])
                return columns.flat(side[column.source].take(pc.index_in(keys, value_set=columns.flat(side[key]))))
        return pa.nulls(count, pa.string())

    def _text(self, name: str, table: pa.Table, count: int, faults: _Faults) -> pa.Array:
        column, source = self._config.column(name), self._source(name, table, count)
        if column.first:
            source = columns.first_of(source, column.separator or "")
        elif column.cases:
            source = columns.by_case(columns.to_numbers(source), column.cases)
        text, bad = columns.to_text(source)
        faults.mark(bad, NOT_UTF8)
        if name in REQUIRED or name in LIST_COLUMNS:
            faults.mark(columns.mask(pc.equal(text, "")), f"missing_{name}")
        return masking.mask_texts(text, self._secret) if name in self._masked else text

    def _left_out(self, table: pa.Table, count: int) -> columns.Mask:
        """Rows of the days that the log's configuration leaves out."""
        times = self._times(table, count).values.astype(np.int64)
        numbers = days.dates(np.where(_readable(times), times, 0), self._config.day)
        left_out = np.array(self._config.without, "datetime64[D]").astype(np.int64)
        return _readable(times) & np.isin(numbers, left_out)

    def _times(self, table: pa.Table, count: int) -> columns.Numbers:
        return columns.to_milliseconds(self._source("timestamp", table, count), self._config.timestamp_unit)

    def _timestamp(self, table: pa.Table, count: int, faults: _Faults) -> pa.Array:
        times = self._times(table, count)
        faults.mark(times.missing, "missing_timestamp")
        faults.mark(times.bad, "not_a_number_timestamp")
        outside = (times.values < _MIN_TIMESTAMP) | (times.values >= _MAX_TIMESTAMP)
        seconds = (times.values >= _MIN_SECONDS) & (times.values < _MIN_TIMESTAMP)
        faults.mark(seconds, TIMESTAMP_IN_SECONDS)
        faults.mark(outside, "timestamp_out_of_range")
        return pa.array(times.values)

    def _numbers(self, name: str, table: pa.Table, count: int, faults: _Faults) -> npt.NDArray[Any]:
        column = self._config.column(name)
        numbers = columns.to_numbers(self._source(name, table, count))
        faults.mark(numbers.bad, f"not_a_number_{name}")
        if name in REQUIRED or name in LIST_COLUMNS:
            faults.mark(numbers.missing, f"missing_{name}")
        values = numbers.values if column.scale == 1.0 else numbers.values * column.scale
        if column.at_least is not None:
            values = (values >= column.at_least).astype(np.int64)
        return np.where(numbers.missing | numbers.bad, _DEFAULTS.get(name, 0), values)

    def _integers(self, name: str, table: pa.Table, count: int, faults: _Faults) -> pa.Array | None:
        if name in LIST_COLUMNS and name not in self._layout.columns:
            return None
        values = self._numbers(name, table, count, faults)
        faults.mark(values != np.floor(values), f"not_an_integer_{name}")
        if name in _LOWEST:
            lowest, reason = _LOWEST[name]
            faults.mark(values < lowest, reason)
            faults.mark(values > _MAX_COUNT, f"too_large_{name}")
        else:
            faults.mark((values != 0) & (values != 1), f"not_a_truth_value_{name}")
        return pa.array(np.clip(values, -_MAX_COUNT, _MAX_COUNT).astype(np.int64))

    def _floats(self, name: str, table: pa.Table, count: int, faults: _Faults) -> pa.Array:
        values = self._numbers(name, table, count, faults)
        if name == "dwell_seconds":
            faults.mark(values < 0, "negative_dwell_seconds")
        elif name.startswith("propensity_"):
            faults.mark((values <= 0) | (values > 1), "propensity_out_of_range")
        limit = np.finfo(np.float32).max
        faults.mark(np.abs(values) > limit, f"too_large_{name}")
        return pa.array(np.clip(values, -limit, limit).astype(np.float32))

    def _tags(self, table: pa.Table, count: int, faults: _Faults) -> tuple[pa.Array, npt.NDArray[np.int64]]:
        """Tags as lists, without repetitions and cut to K per row, and how many each row lost by the cut."""
        separator = self._config.column("tags").separator or self._config.tags_separator
        rows, tags, bad = columns.to_lists(self._source("tags", table, count), separator)
        faults.mark(bad, NOT_UTF8)
        with_separator = np.zeros(count, bool)
        with_separator[rows[columns.mask(pc.match_substring(tags, features.TAG_SEPARATOR))]] = True
        faults.mark(with_separator, "tag_contains_separator")
        encoded = tags.dictionary_encode()
        codes = encoded.indices.to_numpy().astype(np.int64)
        _, first = np.unique(rows * max(len(encoded.dictionary), 1) + codes, return_index=True)
        first.sort()
        rows, tags = rows[first], tags.take(pa.array(first))
        rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
        kept = rank < self._config.max_tags
        dropped = np.bincount(rows[~kept], minlength=count)
        offsets = np.concatenate([[0], np.cumsum(np.bincount(rows[kept], minlength=count))]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), tags.filter(pa.array(kept))), dropped

    def _rejections(self, batch: RawBatch, faults: _Faults) -> list[Rejection]:
        where = np.flatnonzero(faults.codes)
        masked, withheld = ({self._config.source(name) for name in names} for names in (self._masked, self._withheld))
        values = batch.table.take(pa.array(where)).to_pylist()
        user = self._config.source("user_id") if "user_id" in self._masked else None
        return [
            Rejection(
                int(batch.rows[row]),
                faults.reasons[faults.codes[row]],
                {
                    name: self._shown(value, name in masked, _text(raw.get(user)))
                    for name, value in raw.items()
                    if name not in withheld
                },
            )
            for row, raw in zip(where, values, strict=True)
        ]

    def _shown(self, value: Any, masked: bool, user: str) -> Any:
        """A raw value as JSON can hold it; hashed if it is masked or names a `user`, "" for none."""
        if isinstance(value, list):
            return [self._shown(each, masked, user) for each in value]
        if isinstance(value, bytes):
            value = _text(value)
        if (masked and value is not None) or masking.names(str(value), user):
            return masking.mask_text(str(value), self._secret)
        plain = isinstance(value, (str, int, type(None))) or (isinstance(value, float) and np.isfinite(value))
        return value if plain else str(value)

    def _broken(self, row: BrokenRow) -> Rejection:
        """The text of a row that cannot be taken apart; withheld where columns are, for it may hold their values."""
        return Rejection(row.row, row.reason, {} if self._masked or self._withheld else {"text": row.text})


def _nearest(times: npt.NDArray[np.int64], places: Sequence[int]) -> npt.NDArray[np.int64]:
    """The times at some places; see `Validated.rejected_times`."""
    readable = np.flatnonzero(_readable(times))
    if not len(readable):
        return np.zeros(len(places), np.int64)
    before = np.searchsorted(readable, places, side="right") - 1
    return times[readable[np.maximum(before, 0)]]


def _readable(times: npt.NDArray[np.int64]) -> columns.Mask:
    return (times >= _MIN_TIMESTAMP) & (times < _MAX_TIMESTAMP)


def _text(value: Any) -> str:
    """A raw value as text; bytes that are no UTF-8 escaped."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value or "")
