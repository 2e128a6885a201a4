"""Settings and results of the Evaluator: TFMA on scored impressions.

The predictions are already in the Examples (see `impression_scorer`), so TFMA runs without a model; the Evaluator is
given the model all the same, because the blessing names it.
"""

import json
import math
from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2, validation_result_pb2

from tfx_pipeline.configs import Thresholds

MODULE = __name__  # where the Evaluator finds `custom_eval_shared_model`
SLICES = ("channel", "position_group")
AUC = "auc"
CALIBRATION = "calibration"
LOG_LOSS = "log_loss"
COUNT = "example_count"


def custom_eval_shared_model(**_: Any) -> None:
    """Called by the Evaluator: there is no model to run, the Examples carry their predictions."""
    return None


def eval_config(thresholds: Thresholds) -> config_pb2.EvalConfig:
    """AUC, calibration, log loss and count: overall, per channel and per position group; thresholds on the whole."""
    metrics = [
        config_pb2.MetricConfig(
            class_name="AUC",
            config=_settings(name=AUC, num_thresholds=10_000),
            per_slice_thresholds=[_on_the_whole(lower=thresholds.auc)],
        ),
        config_pb2.MetricConfig(
            class_name="Calibration",
            config=_settings(name=CALIBRATION),
            per_slice_thresholds=[_on_the_whole(*thresholds.calibration)],
        ),
        config_pb2.MetricConfig(class_name="BinaryCrossEntropy", config=_settings(name=LOG_LOSS)),
        config_pb2.MetricConfig(class_name="ExampleCount", config=_settings(name=COUNT)),
    ]
    return config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(label_key="label", prediction_key="prediction", example_weight_key="weight")],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            *(config_pb2.SlicingSpec(feature_keys=[feature]) for feature in SLICES),
        ],
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
    )


def read_metrics(evaluation: str) -> dict[str, dict[str, dict[str, float]]]:
    """The metrics of an evaluation folder.

    Returns:
      slice feature ("" for the whole) -> its value -> metric name -> value; NaN where a slice has none (an AUC needs
      both labels).
    """
    result: dict[str, dict[str, dict[str, float]]] = {"": {}, **{feature: {} for feature in SLICES}}
    for key, outputs in tfma.load_eval_result(evaluation).slicing_metrics:
        feature, value = key[0] if key else ("", "")
        metrics = outputs[""][""]
        result[feature][str(value)] = {name: metrics[name].get("doubleValue", math.nan) for name in metrics}
    return result


def read_failures(evaluation: str) -> list[str]:
    """Why an evaluation did not bless its model, one sentence per threshold; empty when it did."""
    validation: validation_result_pb2.ValidationResult = tfma.load_validation_result(evaluation)
    failures = []
    for checked in validation.metric_validations_per_slice:
        for failure in checked.failures:
            bounds = failure.metric_threshold.value_threshold
            value = failure.metric_value.double_value.value
            wanted = [f"at least {bounds.lower_bound.value:g}"] if bounds.HasField("lower_bound") else []
            wanted += [f"at most {bounds.upper_bound.value:g}"] if bounds.HasField("upper_bound") else []
            failures.append(f"{failure.metric_key.name} is {value:.4f}, required is {' and '.join(wanted)}")
    if not failures and not validation.validation_ok:
        failures.append("the thresholds could not be checked: the evaluation split has no impressions")
    return failures


def _settings(**settings: Any) -> str:
    return json.dumps(settings)


def _on_the_whole(lower: float, upper: float | None = None) -> config_pb2.PerSliceMetricThreshold:
    """A threshold on the overall slice alone; TFMA holds a metric's plain `threshold` against every slice."""
    bounds = config_pb2.GenericValueThreshold(lower_bound={"value": lower})
    if upper is not None:
        bounds.upper_bound.value = upper
    return config_pb2.PerSliceMetricThreshold(
        slicing_specs=[config_pb2.SlicingSpec()], threshold=config_pb2.MetricThreshold(value_threshold=bounds)
    )
