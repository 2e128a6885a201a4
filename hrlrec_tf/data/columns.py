"""Arrow columns of any type into text, numbers, times and tags, with a mark on every value that does not fit.

Missing means null, "" or NaN; whether a missing value is a fault is the caller's matter.
"""

import dataclasses
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hrlrec_tf.data.rules import Case

Mask = npt.NDArray[np.bool_]
ArrowArray: TypeAlias = pa.Array | pa.ChunkedArray

_PER_UNIT = {"s": 1000.0, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
# pandas 2 takes the format of the first value for all, unless told that each has its own; pandas 1 looks at each.
_ANY_ISO8601 = {"format": "ISO8601"} if int(pd.__version__.split(".")[0]) >= 2 else {}
_TRUTH = {"true": 1.0, "false": 0.0}


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Numbers with what could not be read.

    Attributes:
      values: float64 [rows], or int64 where the source is exact integers; 0 where missing or bad.
      missing: bool [rows].
      bad: bool [rows], neither missing nor a finite number.
    """

    values: npt.NDArray[np.float64] | npt.NDArray[np.int64]
    missing: Mask
    bad: Mask


def flat(array: ArrowArray) -> pa.Array:
    """One contiguous array without dictionaries."""
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    if isinstance(array, pa.ChunkedArray):  # of no chunks or several, by pyarrow's version
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def mask(array: ArrowArray) -> Mask:
    """A boolean Arrow array as NumPy; null reads as False."""
    return flat(pc.fill_null(array, False)).to_numpy(zero_copy_only=False)


def to_text(array: ArrowArray) -> tuple[pa.Array, Mask]:
    """Strings ("" where missing or bad) and which values are no UTF-8."""
    array = flat(array)
    kind = array.type
    if pa.types.is_floating(kind):
        array = _whole_numbers(array)
    if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        array = array.cast(pa.string() if pa.types.is_large_string(kind) else pa.binary(), safe=False)
    if not (pa.types.is_string(array.type) or pa.types.is_binary(array.type)):
        array = array.cast(pa.string())
    array = pc.fill_null(array, "" if pa.types.is_string(array.type) else b"")
    try:
        text = array.cast(pa.string())
        text.validate(full=True)
        return text, np.zeros(len(text), bool)
    except pa.ArrowInvalid:
        return _decode_each(array.cast(pa.binary()))


def _whole_numbers(array: pa.Array) -> pa.Array:
    """Integers that a missing value once turned to floats read as integers again."""
    array = pc.if_else(pc.is_nan(array), None, array)
    try:
        return array.cast(pa.int64())
    except pa.ArrowInvalid:
        return array


def _decode_each(array: pa.Array) -> tuple[pa.Array, Mask]:
    texts, bad = [], np.zeros(len(array), bool)
    for row, value in enumerate(array.to_pylist()):
        try:
            texts.append(value.decode("utf-8"))
        except UnicodeDecodeError:
            texts.append("")
            bad[row] = True
    return pa.array(texts, pa.string()), bad


def to_numbers(array: ArrowArray) -> Numbers:
    """Numbers of a numeric, boolean or text column; in text, `true` and `false` read as 1 and 0."""
    array = flat(array)
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int64())
    if pa.types.is_integer(array.type):
        missing = mask(pc.is_null(array))
        return Numbers(flat(pc.fill_null(array, 0)).to_numpy().astype(np.int64), missing, np.zeros(len(array), bool))
    if pa.types.is_floating(array.type) or pa.types.is_decimal(array.type):
        return _finite(array.cast(pa.float64()).to_numpy(zero_copy_only=False), np.zeros(len(array), bool))
    text, not_text = to_text(array)
    if not_text.any():
        return _parse_floats(text, not_text)
    try:
        return to_numbers(pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text).cast(pa.int64()))
    except pa.ArrowInvalid:
        return _parse_floats(text, not_text)


def _parse_floats(text: pa.Array, bad: Mask) -> Numbers:
    strings = pd.Series(text.to_numpy(zero_copy_only=False), dtype=object).str.strip().str.lower()
    values = pd.to_numeric(strings, errors="coerce").to_numpy(np.float64)
    truth = strings.map(_TRUTH).to_numpy(np.float64)
    values = np.where(np.isnan(truth), values, truth)
    return _finite(values, bad | (np.isnan(values) & ~strings.isin(["", "nan"]).to_numpy()))


def _finite(values: npt.NDArray[np.float64], bad: Mask) -> Numbers:
    bad = bad | np.isinf(values)
    missing = np.isnan(values) & ~bad
    return Numbers(np.where(np.isfinite(values), values, 0.0), missing, bad)


def to_milliseconds(array: ArrowArray, unit: str) -> Numbers:
    """Milliseconds since 1970 of a numeric or text column in `unit`, or of Arrow timestamps."""
    array = flat(array)
    if unit == "iso8601" and not pa.types.is_timestamp(array.type):
        text, bad = to_text(array)
        strings = pd.Series(text.to_numpy(zero_copy_only=False), dtype=object)
        times = pd.to_datetime(strings.where(strings != ""), errors="coerce", utc=True, **_ANY_ISO8601)
        missing = (strings == "").to_numpy()
        bad = bad | (times.isna().to_numpy() & ~missing)
        whole = (times - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(milliseconds=1)
        return Numbers(whole.fillna(0).to_numpy(np.int64), missing, bad)
    if pa.types.is_timestamp(array.type) or pa.types.is_date(array.type):
        numbers = to_numbers(array.cast(pa.timestamp("ms"), safe=False).cast(pa.int64()))
        unit = "ms"
    else:
        numbers = to_numbers(array)
    if unit == "ms" and numbers.values.dtype == np.int64:
        return numbers
    scaled = np.round(numbers.values * _PER_UNIT[unit])
    too_large = np.abs(scaled) > 2.0**62
    values = np.where(too_large, 0.0, scaled).astype(np.int64)
    return Numbers(values, numbers.missing, numbers.bad | too_large)


def to_lists(array: ArrowArray, separator: str) -> tuple[npt.NDArray[np.int64], pa.Array, Mask]:
    """Values of a list column, or of text split by `separator`.

    Returns:
      `row` [values] in ascending order, `value` [values] strings without missing ones, and which rows are no UTF-8.
    """
    array = flat(array)
    not_text: Mask = np.zeros(len(array), bool)
    if not (pa.types.is_list(array.type) or pa.types.is_large_list(array.type)):
        text, not_text = to_text(array)
        array = pc.split_pattern(text, separator)
    elif array.null_count:
        array = array.take(pa.array(np.arange(len(array))))  # a null may hide values: drop them
    rows = flat(pc.list_parent_indices(array)).to_numpy().astype(np.int64)
    values, bad = to_text(pc.list_flatten(array))
    not_text[rows[bad]] = True
    keep = mask(pc.not_equal(values, ""))
    return rows[keep], values.filter(pa.array(keep)), not_text


def first_of(array: ArrowArray, separator: str) -> pa.Array:
    """The first of the values of a list column or of split text; null where there is none."""
    rows, values, _ = to_lists(array, separator)
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    positions = np.full(len(array), -1)
    positions[rows[starts]] = starts
    return values.take(pa.array(positions, mask=positions < 0))


def by_case(numbers: Numbers, cases: tuple[Case, ...]) -> pa.Array:
    """The value of the first case that holds; null where none does, or where the number is missing or bad."""
    chosen = np.full(len(numbers.values), -1)
    for n, case in reversed(list(enumerate(cases))):
        holds = np.ones(len(chosen), bool)
        if case.below is not None:
            holds &= numbers.values < case.below
        if case.equals is not None:
            holds &= numbers.values == case.equals
        chosen[holds] = n
    chosen[numbers.missing | numbers.bad] = -1
    return pa.array([case.value for case in cases]).take(pa.array(chosen, mask=chosen < 0))
