import numpy as np
import pyarrow as pa

from hrlrec_tf.data import asof, lists

A = np.array


def rows_of(found):
    return [part.tolist() for part in np.split(found.rows, found.starts[1:-1])]


def test_codes_sort_like_the_strings():
    codes = lists.encode(pa.array(["b", "ü", "a", "b", ""]))
    assert codes.codes.tolist() == [2, 3, 1, 2, 0]
    assert codes.words.to_pylist() == ["", "a", "b", "ü"]


def test_requests_are_shown_by_position_and_cut_at_the_length():
    requests = lists.encode(pa.array(["r", "s", "r", "r"]))
    found = lists.by_request(requests, A([3, 1, 1, 2]), A([30, 5, 10, 20]), 2)
    assert rows_of(found) == [[2, 3], [0], [1]]
    assert found.ids.to_pylist() == ["r", "r#2", "s"]
    assert found.times.tolist() == [10, 10, 5] and found.cut == 1
    by_time = lists.in_order_of_time(found)
    assert rows_of(by_time) == [[1], [2, 3], [0]]
    assert by_time.ids.to_pylist() == ["s", "r", "r#2"]


def test_the_list_rule_cuts_at_pauses_users_and_the_length():
    users = lists.encode(pa.array(["u"] * 5 + ["v"]))
    found = lists.by_rule(users, A([0, 10, 20, 30, 100, 100]), gap_ms=50, length=3)
    assert rows_of(found) == [[0, 1, 2], [3], [4], [5]]
    assert found.ids.to_pylist() == ["u/00000001", "u/00000002", "u/00000003", "v/00000001"]
    assert lists.places(found).tolist() == [1, 2, 3, 1, 1, 1]


def test_a_pause_of_just_the_gap_does_not_cut():
    users = lists.encode(pa.array(["u", "u", "u"]))
    assert rows_of(lists.by_rule(users, A([0, 50, 101]), gap_ms=50, length=9)) == [[0, 1], [2]]


def test_repeated_positions_spare_the_first():
    repeated = lists.repeated_positions(A([0, 1, 0, 0]), A([1, 1, 1, 2]))
    assert repeated.tolist() == [False, False, True, False]


def test_rows_before_a_time_are_strictly_before():
    user, time = A([0, 0, 0, 1, 1]), A([5, 7, 7, 1, 7])
    found = asof.rows_before(user, time, list_user=A([0, 0, 1, 1]), list_time=A([7, 8, 7, 0]))
    assert found.first.tolist() == [0, 0, 3, 3]
    assert found.end.tolist() == [1, 3, 4, 3]


def test_history_is_padded_on_the_left():
    ranges = asof.Ranges(first=A([0, 3]), end=A([4, 4]))
    assert asof.history(ranges, 3).tolist() == [[1, 2, 3], [-1, -1, 3]]
    assert asof.history(ranges, 0).shape == (2, 0)


def test_earlier_in_list_counts_equal_values_of_the_same_list():
    assert asof.earlier_in_list(A([0, 0, 0, 1, 1]), A([4, 4, 2, 4, 4])).tolist() == [0, 1, 0, 0, 1]


def test_pair_counts_by_hand():
    user, value, row, clicks = A([0, 0, 0, 1]), A([2, 1, 2, 2]), A([0, 1, 2, 3]), A([1, 0, 5, 7])
    counts = asof.PairCounts(user, value, row, clicks)
    impressions, clicked = counts.before(A([0, 0, 0, 1]), A([2, 2, 1, 2]), end=A([2, 3, 1, 99]))
    assert impressions.tolist() == [1, 2, 0, 1] and clicked.tolist() == [1, 6, 0, 7]
    query, values, seen, clicked = counts.profile(A([0, 1, 0]), end=A([3, 3, 0]), limit=9)
    assert (query.tolist(), values.tolist()) == ([0, 0], [2, 1])
    assert (seen.tolist(), clicked.tolist()) == ([2, 1], [6, 0])


def test_profiles_keep_the_most_seen():
    value = A([3, 1, 2, 2, 1])
    counts = asof.PairCounts(np.zeros(5, int), value, np.arange(5), np.zeros(5, int))
    _, values, _, _ = counts.profile(A([0]), end=A([5]), limit=2)
    assert values.tolist() == [1, 2]


def test_no_pairs_at_all():
    nothing = np.zeros(0, np.int64)
    counts = asof.PairCounts(nothing, nothing, nothing, nothing)
    assert all(len(each) == 0 for each in counts.profile(A([0, 1]), end=A([5, 5]), limit=2))
    assert len(asof.earlier_in_list(nothing, nothing)) == 0
