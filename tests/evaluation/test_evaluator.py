"""Every figure against scikit-learn and pandas, in memory and through part files, with intervals and reasons."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scored import make_rows
from sklearn import metrics as sklearn

from hrlrec_tf.errors import ConfigError, DataError
from hrlrec_tf.evaluation import evaluator, metrics, significance, store
from hrlrec_tf.evaluation.options import Options
from hrlrec_tf.evaluation.store import Store

RATIO_METRICS = ("gauc", "log_loss", "calibration", "ndcg", "hit_rate", "click_rate")


def run(rows: pd.DataFrame, options: Options | None = None, pieces: int = 3, **more):
    with Store() as kept:
        for piece in np.array_split(np.arange(len(rows)), pieces):
            kept.add("m", rows.iloc[piece])
        return evaluator.evaluate(kept, options, **more)["m"]


@pytest.fixture
def streamed(monkeypatch):
    """Part files and counts in bins even for few rows."""
    monkeypatch.setattr(store, "WHOLE_ROWS", 100)
    monkeypatch.setattr(store, "_BUFFER_ROWS", 700)
    monkeypatch.setattr(store, "_PARTS", 5)


def _oracle(rows: pd.DataFrame, ndcg_at: int = 10) -> dict[str, float]:
    users = [g for _, g in rows.groupby("user_id") if g["label"].nunique() == 2]
    lists = [g for _, g in rows.groupby("request_id") if len(g) > 1 and g["label"].any()]
    return {
        "auc": sklearn.roc_auc_score(rows["label"], rows["prediction"]),
        "gauc": np.average(
            [sklearn.roc_auc_score(g["label"], g["prediction"]) for g in users], weights=[len(g) for g in users]
        ),
        "log_loss": sklearn.log_loss(rows["label"], rows["prediction"]),
        "calibration": rows["prediction"].sum() / rows["label"].sum(),
        "calibration_error": _calibration_error(rows),
        "ndcg": np.mean([sklearn.ndcg_score([g["label"]], [g["prediction"]], k=ndcg_at) for g in lists]),
        "hit_rate": np.mean([g.sort_values("prediction")["label"].iloc[-1] for g in lists]),
        "click_rate": rows["label"].mean(),
    }


def _calibration_error(rows: pd.DataFrame) -> float:
    """Without ties: 15 bins of equally many rows, cut where a row's middle crosses a multiple of 1 / 15."""
    order = rows.sort_values("prediction")
    bins = np.floor((np.arange(len(order)) + 0.5) / len(order) * 15)
    groups = order.groupby(bins)
    return sum(len(g) * abs(g["prediction"].mean() - g["label"].mean()) for _, g in groups) / len(order)


@pytest.mark.parametrize("ndcg_at", [10, 2])
def test_every_metric_and_slice_in_memory(ndcg_at):
    rows = make_rows()
    found = run(rows, Options(replicates=0, ndcg_at=ndcg_at))
    assert found.overall.values == pytest.approx(_oracle(rows, ndcg_at))
    slices = {
        "channel": rows["channel"],
        "position": rows["position"].map(metrics.position_group),
        "activity": pd.cut(rows["history_impressions"], [-1, 0, 10, 40, 1000], labels=["0", "1-10", "11-40", ">40"]),
    }
    for dimension, keys in slices.items():
        assert set(found.slices[dimension]) == set(keys)
        for name, figures in found.slices[dimension].items():
            chosen = rows[keys == name]
            assert figures.rows == len(chosen) and figures.users == chosen["user_id"].nunique()
            expected = _oracle(chosen, ndcg_at) if name != "1" else {"auc": None}
            for metric in expected if name != "1" else ():
                assert figures.values[metric] == pytest.approx(expected[metric]), (dimension, name, metric)
    assert list(found.slices["channel"]) == ["news", "video"]
    assert found.slices["position"]["1"].missing == dict.fromkeys(
        ("ndcg", "hit_rate"), "no list has a click and a second row"
    )
    sizes = rows.groupby("request_id")["label"].agg(["size", "any"])
    whole = found.overall
    assert (whole.users, whole.lists) == (rows["user_id"].nunique(), rows["request_id"].nunique())
    assert whole.lists_left_out == int(((sizes["size"] == 1) | ~sizes["any"]).sum())
    assert whole.auc_error_bound == 0 and whole.missing == {} and all(map(math.isnan, whole.interval("auc")))


def test_part_files_give_the_same(streamed):
    rows = make_rows()
    found = run(rows, Options(replicates=50), pieces=8)
    expected = _oracle(rows)
    for metric in RATIO_METRICS:
        assert found.overall.values[metric] == pytest.approx(expected[metric]), metric
    assert abs(found.overall.values["auc"] - expected["auc"]) <= found.overall.auc_error_bound < 2e-4
    assert found.overall.values["calibration_error"] == pytest.approx(expected["calibration_error"], abs=2e-3)
    for name, figures in found.slices["channel"].items():
        chosen = rows[rows["channel"] == name]
        assert figures.values["auc"] == pytest.approx(_oracle(chosen)["auc"], abs=figures.auc_error_bound)
        assert figures.rows == len(chosen) and figures.values["ndcg"] == pytest.approx(_oracle(chosen)["ndcg"])
    low, high = found.overall.interval("auc")
    assert low < found.overall.values["auc"] < high


@pytest.mark.parametrize("files", [False, True])
def test_intervals_are_those_of_users_drawn_with_replacement(files, request):
    if files:
        request.getfixturevalue("streamed")
    rows = make_rows()
    found = run(rows, Options(replicates=600, slices=False)).overall
    names, user = np.unique(rows["user_id"], return_inverse=True)
    times = np.random.default_rng(9).multinomial(len(names), [1 / len(names)] * len(names), size=2000)
    labels, predictions = rows["label"].to_numpy(), rows["prediction"].to_numpy()
    losses = -np.log(np.where(labels, predictions, 1 - predictions))
    total, loss, clicks, predicted = (
        times @ np.bincount(user, values) for values in (np.ones(len(rows)), losses, labels, predictions)
    )
    resampled = {
        "auc": [sklearn.roc_auc_score(labels, predictions, sample_weight=each[user]) for each in times[:400]],
        "log_loss": loss / total,
        "calibration": predicted / clicks,
    }
    for metric, values in resampled.items():
        spread = np.std(values)
        low, high = significance.percentile_interval(np.array(values))
        assert found.interval(metric) == pytest.approx((low, high), abs=0.5 * spread), metric
        assert np.std(found.replicates[metric]) == pytest.approx(spread, rel=0.15), metric
    assert all(map(math.isnan, found.interval("calibration_error")))


def test_the_same_rows_in_any_order_give_the_same_intervals():
    rows = make_rows(600)
    one, other = (run(each, Options(replicates=30)).overall for each in (rows, rows.sample(frac=1, random_state=5)))
    assert one.interval("ndcg") == pytest.approx(other.interval("ndcg"))
    assert one.interval("auc") != run(rows, Options(replicates=30, seed=1)).overall.interval("auc")


@pytest.mark.parametrize("files", [False, True])
def test_the_curve_holds_all_rows(files, request):
    if files:
        request.getfixturevalue("streamed")
    rows = make_rows()
    curve = run(rows, Options(replicates=40)).overall.curve
    assert len(curve) == metrics.CALIBRATION_BINS and sum(point.rows for point in curve) == len(rows)
    assert sum(point.rows * point.clicked for point in curve) == pytest.approx(rows["label"].sum())
    assert sum(point.rows * point.predicted for point in curve) == pytest.approx(rows["prediction"].sum())
    assert sorted(curve, key=lambda point: point.predicted) == list(curve)
    assert all(point.low < point.clicked < point.high for point in curve)


def test_equal_predictions_are_one_point():
    (point,) = run(make_rows(300).assign(prediction=0.25), Options(replicates=0)).overall.curve
    assert (point.rows, point.predicted) == (300, 0.25)


@pytest.mark.parametrize(("label", "text"), [(0, "no row was clicked"), (1, "every row was clicked")])
@pytest.mark.parametrize("files", [False, True])
def test_one_class(label, text, files, request):
    if files:
        request.getfixturevalue("streamed")
    found = run(make_rows(300).assign(label=label), Options(replicates=20)).overall
    assert math.isnan(found.values["auc"]) and found.missing["auc"] == text
    assert found.missing["gauc"] == "no user has both clicked and other rows"
    assert math.isfinite(found.values["log_loss"]) and ("calibration" in found.missing) == (label == 0)
    assert all(map(math.isnan, found.interval("auc")))


def test_a_slice_without_a_click_does_not_touch_the_others():
    rows = make_rows(600)
    rows.loc[rows["channel"] == "news", "label"] = 0
    found = run(rows, Options(replicates=20))
    news = found.slices["channel"]["news"]
    assert math.isnan(news.values["auc"]) and news.missing["auc"] == "no row was clicked"
    assert math.isfinite(found.slices["channel"]["video"].values["auc"])
    assert found.to_dict()["auc_by_channel"].keys() == {"news", "video"}


def test_no_rows():
    found = run(make_rows(300).iloc[:0], pieces=1)
    assert found.overall.rows == 0 and set(found.overall.missing.values()) == {"there are no rows"}
    assert found.overall.curve == () and found.slices["position"] == {}
    json.dumps(found.to_dict())


def test_scores_that_are_no_probabilities():
    rows = make_rows(300)
    expected = _oracle(rows)
    by_q = run(rows, Options(replicates=20), no_probabilities=["m"])
    outside = run(rows.assign(prediction=rows["prediction"] * 3 - 1), Options(replicates=20))
    for found, text in ((by_q, evaluator.NOT_PROBABILITIES), (outside, "predictions are outside [0, 1]")):
        assert found.overall.values["auc"] == pytest.approx(expected["auc"])
        for metric in ("log_loss", "calibration", "calibration_error"):
            assert math.isnan(found.overall.values[metric]) and found.overall.missing[metric].startswith(text)
        assert found.overall.curve == () and not found.probability
        assert all(map(math.isnan, found.overall.interval("log_loss")))


def test_few_users_have_no_interval():
    rows = make_rows(600, users=significance.LEAST_USERS - 1)
    found = run(rows, Options(replicates=50)).overall
    assert all(map(math.isnan, found.interval("auc"))) and math.isfinite(found.values["auc"])


def test_columns_that_slices_need_may_be_absent():
    found = run(make_rows(300).drop(columns=["channel", "history_impressions"]), Options(replicates=0))
    assert set(found.slices) == {"position"}


@pytest.mark.parametrize("files", [False, True])
@pytest.mark.parametrize("change", ["label", "position", "request_id", "user_id", "fewer"])
def test_models_of_other_rows(change, files, request):
    if files:
        request.getfixturevalue("streamed")
    rows = make_rows(800)
    other = rows.iloc[1:] if change == "fewer" else rows.copy()
    if change != "fewer":
        changed = {"label": 1 - rows["label"].iloc[0], "position": 99}.get(change, "another")
        other.loc[other.index[0], change] = changed
    with Store() as kept:
        kept.add("one", rows)
        kept.add("other", other)
        with pytest.raises(DataError, match=rf"other holds other rows .* than one: {len(other)} and 800 rows"):
            evaluator.evaluate(kept, Options(replicates=0))


def test_many_rows_outside_the_unit_interval(streamed):
    with pytest.raises(DataError, match=r"m holds predictions outside \[0, 1\] on 300 rows, .*by a sigmoid"):
        run(make_rows(300).assign(prediction=2.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": 2}, "hold the label 2; a label is 1 .clicked. or 0"),
        ({"label": "yes"}, "a label that is no number"),
        ({"prediction": np.nan}, "a prediction that is missing or infinite"),
        ({"position": None}, "a position that is missing or infinite"),
        (None, "have no column request_id, label; needed are request_id, user_id"),
    ],
)
def test_bad_rows(change, message):
    rows = make_rows(100)
    rows = rows.drop(columns=["request_id", "label"]) if change is None else rows.assign(**change)
    with pytest.raises(DataError, match=f"the rows of m .*{message}"):
        run(rows)


@pytest.mark.parametrize("wrong", [{"replicates": -1}, {"seed": -1}, {"ndcg_at": 0}, {"hit_rate_at": 0}])
def test_options_out_of_range(wrong):
    with pytest.raises(ConfigError, match=r"-1|0"):
        Options(**wrong)


def test_files_are_removed(streamed, tmp_path):
    with Store(str(tmp_path)) as kept:
        kept.add("m", make_rows(900))
        assert len(list(tmp_path.rglob("0-*"))) == 5
    assert list(tmp_path.iterdir()) == []
