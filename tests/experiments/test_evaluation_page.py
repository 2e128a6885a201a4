import math

from test_report import HOSTILE, _Page

from hrlrec_tf.experiments import evaluation_page

METRICS = ("auc", "gauc", "log_loss", "calibration", "ndcg", "hit_rate")
SLICE = {"rows": 1000, "auc": 0.7, "auc_low": 0.65, "auc_high": 0.75, "missing": {}}


def evaluation(**more):
    figures = dict.fromkeys(METRICS, 0.7123)
    bounds = {f"{metric}_{end}": value for metric in METRICS for end, value in (("low", 0.7), ("high", 0.72))}
    counts = {"rows": 20001, "users": 301, "lists": 2500, "lists_left_out": 77, "click_rate": 0.5}
    slices = {"slices": {"channel": {HOSTILE: SLICE}}, "calibration_curve": [], "missing": {}}
    return {**counts, **figures, **bounds, **slices, "ndcg_at": 10, "hit_rate_at": 1, **more}


def test_headlines_with_intervals():
    source = evaluation_page.render(HOSTILE, evaluation())
    page = _Page(source)
    for words in (
        "20,001 scored rows of 301 users",
        "77 lists",
        "0.7123",
        "95 %: 0.7000 to 0.7200",
        "NDCG@10 per list",
    ):
        assert words in page.text
    assert "<script" not in source and "Against the base" not in page.text


def test_what_is_missing_has_its_reason():
    reason = "predictions only order rows"
    page = _Page(evaluation_page.render("m", evaluation(log_loss=None, missing={"log_loss": reason}, auc_low=math.nan)))
    assert reason in page.text and "no interval" in page.text and "nan" not in page.text.lower()


def test_against_a_base():
    difference = {"difference": 0.0128, "low": 0.001, "high": 0.02, "p_value": 0.01}
    more = {"rela_impr": 4.23, "rela_impr_low": 1.0, "rela_impr_high": 8.0, "differences": {"auc": difference}}
    text = _Page(evaluation_page.render("m", evaluation(**more))).text
    for words in ("RelaImpr +4.2 %", "95 %: 1.0 to 8.0", "+0.0128", "95 %: 0.0010 to 0.0200", "0.010"):
        assert words in text
