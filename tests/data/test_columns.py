import decimal
import math

import numpy as np
import pyarrow as pa
import pytest

from hrlrec_tf.data import columns
from hrlrec_tf.data.rules import Case


@pytest.mark.parametrize(
    "array,texts",
    [
        (pa.array(["a", None, ""]), ["a", "", ""]),
        (pa.array([b"a", b"\xc3\xbc"]), ["a", "ü"]),
        (pa.array(["b", "a", "b"]).dictionary_encode(), ["b", "a", "b"]),
        (pa.array([3, None], pa.int32()), ["3", ""]),
        (pa.array([3.0, math.nan]), ["3", ""]),
        (pa.array([3.5, None]), ["3.5", ""]),
        (pa.array([True, None]), ["true", ""]),
        (pa.array(["x"], pa.large_string()), ["x"]),
        (pa.chunked_array([["a"], ["b"]]), ["a", "b"]),
        (pa.chunked_array([], pa.string()), []),
        (pa.nulls(2), ["", ""]),
    ],
)
def test_texts(array, texts):
    found, bad = columns.to_text(array)
    assert found.to_pylist() == texts and not bad.any()


def test_what_is_no_utf8_is_marked():
    found, bad = columns.to_text(pa.array([b"ok", b"\xff", None], pa.binary()))
    assert found.to_pylist() == ["ok", "", ""] and bad.tolist() == [False, True, False]


@pytest.mark.parametrize(
    "array,values,missing,bad",
    [
        (pa.array([1, None], pa.int16()), [1, 0], [0, 1], [0, 0]),
        (pa.array([1.5, math.nan, math.inf]), [1.5, 0, 0], [0, 1, 0], [0, 0, 1]),
        (pa.array(["1", "", None]), [1, 0, 0], [0, 1, 1], [0, 0, 0]),
        (
            pa.array(["1", " 2.5 ", "x", "nan", "inf", "True"]),
            [1, 2.5, 0, 0, 0, 1],
            [0, 0, 0, 1, 0, 0],
            [0, 0, 1, 0, 1, 0],
        ),
        (pa.array([True, False, None]), [1, 0, 0], [0, 0, 1], [0, 0, 0]),
        (pa.array([b"7", b"\xff"], pa.binary()), [7, 0], [0, 0], [0, 1]),
        (pa.array([decimal.Decimal("2.50")]), [2.5], [0], [0]),
    ],
)
def test_numbers(array, values, missing, bad):
    found = columns.to_numbers(array)
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_array_equal(found.missing, np.array(missing, bool))
    np.testing.assert_array_equal(found.bad, np.array(bad, bool))


def test_large_integers_in_text_are_exact():
    assert columns.to_numbers(pa.array([str(2**62 + 1)])).values[0] == 2**62 + 1


@pytest.mark.parametrize(
    "array,unit,time",
    [
        (pa.array([1_700_000_000_123]), "ms", 1_700_000_000_123),
        (pa.array(["1700000000123"]), "ms", 1_700_000_000_123),
        (pa.array([1_700_000_000.25]), "s", 1_700_000_000_250),
        (pa.array([1_700_000_000_123_456]), "us", 1_700_000_000_123),
        (pa.array([1_700_000_000_123_456_789]), "ns", 1_700_000_000_123),
        (pa.array([1_700_000_000_123_456], pa.timestamp("us")), "s", 1_700_000_000_123),
        (pa.array([1_700_000_000_123], pa.timestamp("ms", "Europe/Oslo")), "iso8601", 1_700_000_000_123),
        (pa.array(["2023-11-14T22:13:20.123Z"]), "iso8601", 1_700_000_000_123),
        (pa.array(["2023-11-14T23:13:20.123+01:00"]), "iso8601", 1_700_000_000_123),
    ],
)
def test_times(array, unit, time):
    found = columns.to_milliseconds(array, unit)
    assert abs(int(found.values[0]) - time) <= 0 and not found.bad.any()


def test_iso_times_of_different_precision():
    times = columns.to_milliseconds(pa.array(["2024-01-01T00:00:00Z", "2024-01-01T00:00:00.123Z"]), "iso8601")
    assert times.values.tolist() == [1_704_067_200_000, 1_704_067_200_123]
    assert not times.bad.any()


def test_times_that_are_none():
    found = columns.to_milliseconds(pa.array(["2023-11-14", "soon", ""]), "iso8601")
    assert found.bad.tolist() == [False, True, False] and found.missing.tolist() == [False, False, True]


@pytest.mark.parametrize(
    "array",
    [
        pa.array([["a", "", None, "b"], None, [], ["c"]]),
        pa.array([[b"a", b"b"], [], [], [b"c"]]),
        pa.array(["a  b", None, "", "c"]),
        pa.array([["x"], ["a", "b"], None, [], ["c"]]).slice(1),
    ],
)
def test_lists(array):
    rows, values, bad = columns.to_lists(array, " ")
    assert rows.tolist() == [0, 0, 3] and values.to_pylist() == ["a", "b", "c"] and not bad.any()


def test_first_of_split_values():
    assert columns.first_of(pa.array(["Drama War", "", None, "Noir"]), " ").to_pylist() == ["Drama", None, None, "Noir"]


def test_cases_are_tried_in_turn():
    cases = (Case("photo", equals=0), Case("short", below=30), Case("long"))
    numbers = columns.to_numbers(pa.array(["0", "29.5", "30", "", "x", "-1"]))
    assert columns.by_case(numbers, cases).to_pylist() == ["photo", "short", "long", None, None, "short"]
    assert columns.by_case(numbers, cases[:2]).to_pylist()[2] is None
