import math
import re
from xml.etree import ElementTree

import pytest

from hrlrec_tf.experiments import evaluation_charts

_SVG = "{http://www.w3.org/2000/svg}"
CURVE = [
    {"rows": 100, "predicted": 0.1, "clicked": 0.15, "low": 0.1, "high": 0.2},
    {"rows": 90, "predicted": 0.4, "clicked": 0.3, "low": None, "high": math.nan},
]
SLICES = {
    "news": {"rows": 1000, "auc": 0.7, "auc_low": 0.65, "auc_high": 0.75, "missing": {}},
    "<b>&": {"rows": 10, "auc": None, "auc_low": None, "auc_high": None, "missing": {"auc": "no row was clicked"}},
    "video": {"rows": 500, "auc": 0.6, "auc_low": math.nan, "auc_high": math.nan, "missing": {}},
}


def _dots(svg: str) -> list[tuple[float, float]]:
    uses = ElementTree.fromstring(svg).iter(f"{_SVG}use")
    return [(float(use.get("x")), float(use.get("y"))) for use in uses if "fill: var(--first)" in use.get("style", "")]


def _bars(svg: str) -> list[list[tuple[float, float]]]:
    paths = [path for path in ElementTree.fromstring(svg).iter(f"{_SVG}path") if not path.get("id")]
    shapes = [path.get("d", "") for path in paths if "stroke: var(--first)" in path.get("style", "")]
    return [[(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", shape)] for shape in shapes]


def test_reliability_has_a_dot_per_bin_and_intervals_where_they_are():
    chart = evaluation_charts.reliability_chart("a", CURVE)
    (x1, y1), (x2, y2) = _dots(chart.svg)
    assert x1 < x2 and y1 > y2  # downwards in an SVG
    assert (x2 - x1) / (y1 - y2) == pytest.approx(0.3 / 0.15, rel=1e-3)  # one scale for both axes
    (line,) = [bar for bar in _bars(chart.svg) if bar]
    assert [x for x, _ in line] == pytest.approx([x1] * len(line))
    assert chart.rows == [("100", "0.1000", "0.1500", "0.1000", "0.2000"), ("90", "0.4000", "0.3000", "–", "–")]


def test_slices_stand_in_order_with_interval_or_reason():
    chart = evaluation_charts.slice_chart("a", "AUC by channel", SLICES, 0.66)
    (x1, y1), (x2, y2) = _dots(chart.svg)
    assert x1 > x2 and y1 < y2
    (line,) = [bar for bar in _bars(chart.svg) if bar]
    assert min(x for x, _ in line) < x1 < max(x for x, _ in line)
    assert chart.rows == [
        ("news", "1,000", "0.7000", "0.6500 to 0.7500"),
        ("<b>&", "10", "– (no row was clicked)", "–"),
        ("video", "500", "0.6000", "–"),
    ]
    texts = {text.text for text in ElementTree.fromstring(chart.svg).iter(f"{_SVG}text")}
    assert {"news", "<b>&", "video", "all rows"} <= texts


def test_many_slices_are_cut():
    slices = {f"c{number}": SLICES["news"] for number in range(30)}
    chart = evaluation_charts.slice_chart("a", "AUC by channel", slices, None)
    assert len(_dots(chart.svg)) == 20 and len(chart.rows) == 30 and "The first 20 of 30" in chart.caption


def test_all_charts_of_an_evaluation():
    evaluation = {"auc": 0.66, "slices": {"channel": SLICES, "position": {}}, "calibration_curve": CURVE}
    titles = [chart.title for chart in evaluation_charts.evaluation_charts(evaluation)]
    assert titles == ["Calibration", "AUC by channel"]


def test_nothing_is_no_picture():
    (chart,) = evaluation_charts.evaluation_charts({})
    assert chart.svg == "" and list(chart.rows) == []
    assert evaluation_charts.slice_chart("a", "t", {"<b>&": SLICES["<b>&"]}, None).svg == ""
