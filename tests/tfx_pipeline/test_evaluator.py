"""The stock Evaluator on scored impressions: slices equal scikit-learn's, thresholds bless or refuse."""

import numpy as np
import pipeline_fakes as fakes
import pytest
import sklearn.metrics

from tfx_pipeline import evaluator
from tfx_pipeline.configs import Thresholds
from tfx_pipeline.impression_scorer import position_group

CHANNELS = ("good", "random", "reversed")


@pytest.fixture(scope="module")
def impressions() -> dict[str, np.ndarray]:
    """Impressions whose predictions are right, random and wrong, by channel."""
    rng = np.random.default_rng(0)
    rows = 3000
    channel = rng.integers(0, 3, rows)
    label = (rng.random(rows) < 0.3).astype(np.float32)
    signal = np.select([channel == 0, channel == 2], [label, 1 - label], 0.5)
    prediction = 1 / (1 + np.exp(-(2 * signal - 2 + rng.normal(0, 1, rows)))).astype(np.float32)
    return {
        "channel": np.array(CHANNELS)[channel],
        "position": rng.integers(1, 13, rows),
        "label": label,
        "prediction": prediction,
    }


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, impressions):
    return fakes.evaluate(tmp_path_factory.mktemp("evaluator"), impressions, Thresholds(auc=0.3, calibration=(0.1, 10)))


def oracle(label: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    return {
        "auc": sklearn.metrics.roc_auc_score(label, prediction),
        "calibration": prediction.sum() / label.sum(),
        "log_loss": sklearn.metrics.log_loss(label, prediction.astype(np.float64)),
        "example_count": len(label),
    }


@pytest.mark.parametrize("slice_feature", ["", "channel", "position_group"])
def test_metrics_per_slice_equal_scikit_learn(evaluated, impressions, slice_feature):
    slices = {
        "": np.full(len(impressions["label"]), ""),
        "channel": impressions["channel"],
        "position_group": np.array([position_group(position) for position in impressions["position"]]),
    }[slice_feature]
    measured = evaluator.read_metrics(evaluated[0])[slice_feature]
    assert sorted(measured) == sorted(set(slices))
    for value, metrics in measured.items():
        rows = slices == value
        expected = oracle(impressions["label"][rows], impressions["prediction"][rows])
        assert metrics == pytest.approx(expected, abs=1e-3), value


def test_the_channels_are_told_apart(evaluated):
    auc = {channel: metrics["auc"] for channel, metrics in evaluator.read_metrics(evaluated[0])["channel"].items()}
    assert auc["good"] > 0.85 and abs(auc["random"] - 0.5) < 0.05 and auc["reversed"] < 0.15


def test_a_model_within_its_thresholds_is_blessed(evaluated):
    evaluation, blessing = evaluated
    assert blessing.get_int_custom_property("blessed") == 1
    assert evaluator.read_failures(evaluation) == []


def test_a_model_below_a_threshold_is_refused_with_its_reasons(tmp_path, impressions):
    few = {name: values[:300] for name, values in impressions.items()}
    evaluation, blessing = fakes.evaluate(tmp_path, few, Thresholds(auc=0.99, calibration=(0.1, 0.2)))
    assert blessing.get_int_custom_property("blessed") == 0
    auc, calibration = sorted(evaluator.read_failures(evaluation))
    assert auc.startswith("auc is 0.") and auc.endswith("required is at least 0.99")
    assert calibration.endswith("required is at least 0.1 and at most 0.2")
