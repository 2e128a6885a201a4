import math
import re
from xml.etree import ElementTree

import pytest

from hrlrec_tf.experiments import charts
from hrlrec_tf.experiments.drawing import Ink, Reference, Series

_SVG = "{http://www.w3.org/2000/svg}"


def _paths(svg: str, color: str) -> list[list[tuple[float, float]]]:
    """Corners of the visible shapes drawn in `color`."""
    shapes = [
        path.get("d", "")
        for path in ElementTree.fromstring(svg).iter(f"{_SVG}path")
        if color in path.get("style", "") and not path.get("id")
    ]
    return [[(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", shape)] for shape in shapes]


def _widths(svg: str, color: str) -> list[float]:
    """Widths of the bars in `color`; the legend's key, which is last, left out."""
    return [max(x for x, _ in path) - min(x for x, _ in path) for path in _paths(svg, f"fill: {color}")]


def _texts(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{_SVG}text")]


def test_bars_are_as_long_as_their_distance_from_the_baseline() -> None:
    svg = charts.bar_chart("a", "", ["x", "y", "z"], [Series("AUC", [0.6, 0.7, 0.45], Ink.FIRST)], baseline=0.5)
    first, second, below = _widths(svg, "var(--first)")
    assert second / first == pytest.approx(2.0, rel=1e-3)
    assert below / first == pytest.approx(0.5, rel=1e-3)
    assert {"0.600", "0.700", "0.450", "x", "y", "z"} <= set(_texts(svg))


def test_groups_stand_in_the_order_given_from_the_top() -> None:
    svg = charts.bar_chart("a", "", ["x", "y"], [Series("s", [1.0, 2.0], Ink.FIRST)])
    (top, bottom) = (min(y for _, y in path) for path in _paths(svg, "fill: var(--first)"))
    assert top < bottom


def test_a_line_rises_with_its_values_and_a_gap_is_no_zero() -> None:
    svg = charts.line_chart("a", "", [1, 2, 3, 4], [Series("s", [0.1, 0.2, math.nan, 0.4], Ink.FIRST)], "epoch")
    ((first, second, last),) = _paths(svg, "stroke: var(--first); stroke-width: 1.8")
    assert first[0] < second[0] < last[0]
    assert first[1] > second[1] > last[1]
    assert f"M {last[0]} {last[1]}" in svg  # the pen is lifted before it


def test_colours_are_the_pages_and_text_takes_its_colour() -> None:
    svg = charts.line_chart(
        "a",
        "",
        [1, 2],
        [Series("s", [1.0, 2.0], Ink.FIRST), Series("r", [2.0, 1.0], Ink.QUIET, dash=1)],
        "epoch",
        Reference("level", 1.5),
    )
    assert not re.search("#[0-9a-f]{6}", svg)
    styles = [text.get("style", "") for text in ElementTree.fromstring(svg).iter(f"{_SVG}text")]
    assert styles
    assert all("fill: currentColor" in style for style in styles)
    assert {"s", "r", "level", "epoch"} <= set(_texts(svg))


def test_ids_of_two_charts_differ_and_point_into_their_own() -> None:
    drawn = {name: charts.line_chart(name, "", [1, 2], [Series("s", [1, 2], Ink.FIRST)], "epoch") for name in "ab"}
    ids = {name: set(re.findall(r' id="([^"]+)"', svg)) for name, svg in drawn.items()}
    assert not ids["a"] & ids["b"]
    for name, svg in drawn.items():
        assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', svg)) <= ids[name]


def test_labels_are_plain_text_whatever_they_hold() -> None:
    labels = ["$x_1$", "<b>&\"'", "日本語", "nul\x00 \ud800", "a label of more than the room there is", "_hidden"]
    svg = charts.bar_chart("a", "<alt>\x00", labels, [Series("s", [1.0] * 6, Ink.FIRST)])
    texts = _texts(svg)
    assert {"$x_1$", "<b>&\"'", "日本語", "nul\ufffd \ufffd", "_hidden"} <= set(texts)
    assert any(text.startswith("a label of more") and text.endswith("…") for text in texts)
    assert ElementTree.fromstring(svg).get("aria-label") == "<alt>\ufffd"


@pytest.mark.parametrize("values", [[], [math.nan, math.inf]])
def test_nothing_to_draw_is_no_picture(values: list[float]) -> None:
    series = [Series("s", values, Ink.FIRST)]
    assert charts.line_chart("a", "", list(range(len(values))), series, "epoch") == ""
    assert charts.bar_chart("a", "", ["x"] * len(values), series) == ""


def test_a_missing_bar_is_a_dash() -> None:
    svg = charts.bar_chart("a", "", ["x", "y"], [Series("s", [0.25, math.nan], Ink.FIRST)], digits=2, unit=" %")
    assert {"0.25 %", "–"} <= set(_texts(svg))
    assert _widths(svg, "var(--first)")[1] == 0.0


def _dots(svg: str, color: str) -> list[tuple[float, float]]:
    uses = ElementTree.fromstring(svg).iter(f"{_SVG}use")
    return [
        (float(use.get("x", "")), float(use.get("y", ""))) for use in uses if f"fill: {color}" in use.get("style", "")
    ]


def test_dots_stand_at_their_values_and_the_best_is_marked() -> None:
    svg = charts.scatter_chart("a", "", [1.0, 2.0, 4.0], [0.5, 0.7, 0.6], "rate", best=1)
    first, second, last = _dots(svg, "var(--first)")
    assert (last[0] - second[0]) / (second[0] - first[0]) == pytest.approx(2.0, rel=1e-3)
    assert second[1] < last[1] < first[1]  # downwards in an SVG
    assert _dots(svg, "var(--second)") == [second]


def test_a_logarithmic_axis_spreads_powers_evenly() -> None:
    svg = charts.scatter_chart("a", "", [1e-4, 1e-3, 1e-2], [0.5, 0.7, 0.6], "rate", best=1, log=True)
    first, second, last = _dots(svg, "var(--first)")
    assert last[0] - second[0] == pytest.approx(second[0] - first[0], rel=1e-3)
    assert {"0.0001", "0.001", "0.01"} <= set(_texts(svg))


def test_labels_take_the_place_of_numbers_and_the_curve_has_a_dash_at_each() -> None:
    curve = [(0.0, 0.5), (1.0, 0.6)]
    svg = charts.scatter_chart("a", "", [0, 1, 1], [0.5, 0.7, 0.6], "head", 1, curve, labels=["relu", "linear"])
    assert {"relu", "linear", "head"} <= set(_texts(svg))
    assert len(_paths(svg, "stroke: var(--quiet)")) == 2
    many = [f"value {i}" for i in range(30)]
    shown = set(_texts(charts.scatter_chart("a", "", [0.0], [0.5], "head", 0, labels=many))) & set(many)
    assert "value 0" in shown and len(shown) == 10


def test_no_dots_are_no_picture() -> None:
    assert charts.scatter_chart("a", "", [], [], "rate", best=0) == ""
