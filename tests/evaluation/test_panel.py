import math

import numpy as np
import pytest

from hrlrec_tf.evaluation.panel import between_user_channel_variance, channel_shares, panel_statistics


def test_figures_of_a_worked_panel() -> None:
    channels = [["news", "video"], ["news", "news"], ["news", "video"], ["video", "video"]]
    items = [["a", "x"], ["a", "b"], ["a", "x"], ["x", "y"]]
    found = panel_statistics(channels, items, ["u1", "u1", "u2", "u3"])
    assert (found.requests, found.users, found.distinct_lists) == (4, 3, 3)
    assert found.distinct_lists_per_user == 1.0
    assert found.channel_shares == {"news": 0.5, "video": 0.5}
    # news shares: u1 3/4, u2 1/2, u3 0; video is the rest, so both channels have the same variance.
    assert found.between_user_channel_variance == pytest.approx(np.var([0.75, 0.5, 0.0]))


def test_one_list_for_everybody_has_no_variance() -> None:
    found = panel_statistics([["news", "video"]] * 5, [["a", "b"]] * 5, list("uvwxy"))
    assert found.distinct_lists == 1
    assert found.distinct_lists_per_user == 0.2
    assert found.between_user_channel_variance == 0.0


def test_the_order_of_items_makes_another_list() -> None:
    assert panel_statistics([["n", "n"]] * 2, [["a", "b"], ["b", "a"]], ["u", "v"]).distinct_lists == 2


def test_empty_positions_count_nowhere() -> None:
    found = panel_statistics([["news", ""], ["news", "video"]], [["a", ""], ["a", "b"]], ["u", "v"])
    assert found.channel_shares == pytest.approx({"news": 2 / 3, "video": 1 / 3})
    assert found.between_user_channel_variance == pytest.approx(0.0625)  # shares 1 and 1/2, 0 and 1/2


def test_variance_averages_over_channels_not_rows() -> None:
    users, channels = ["u", "u", "v", "v"], ["a", "a", "b", "c"]
    assert between_user_channel_variance(users, channels) == pytest.approx((0.25 + 0.0625 + 0.0625) / 3)


def test_an_empty_panel_is_nan() -> None:
    found = panel_statistics(np.empty((0, 10), object), np.empty((0, 10), object), [])
    assert (found.requests, found.users, found.distinct_lists, found.channel_shares) == (0, 0, 0, {})
    assert math.isnan(found.distinct_lists_per_user)
    assert math.isnan(found.between_user_channel_variance)


def test_shares_are_in_the_order_of_names() -> None:
    assert list(channel_shares(["b", "c", "b", "a"]).items()) == [("a", 0.25), ("b", 0.5), ("c", 0.25)]


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2\), \(1, 2\) and \(2,\)"):
        panel_statistics([["n", "n"]], [["a", "b"]], ["u", "v"])
