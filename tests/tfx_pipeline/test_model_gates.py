"""Gates on a new model: what they let pass, what stops it, and what they say."""

import dataclasses
import json
import pathlib

import numpy as np
import pandas as pd
import pipeline_fakes as fakes
import pytest
import tensorflow as tf
from sklearn.metrics import roc_auc_score
from tfx import v1 as tfx

from hrlrec_tf.data import schema
from tfx_pipeline import blessed, model_gates, reports
from tfx_pipeline.impression_scorer import BASE, BASELINE, PREDICTION
from tfx_pipeline.model_gates import ModelLimits, QualityGate, StabilityGate

LIMITS = ModelLimits()


def rows(count=4000, **skill):
    """Scored impressions of two channels; a prediction is the label times its skill, plus noise."""
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, count)
    scored = {name: label * factor + rng.normal(size=count) for name, factor in skill.items()}
    return pd.DataFrame({"label": label, "channel": np.where(np.arange(count) % 4, "news", "video"), **scored})


def test_aucs_are_those_of_scikit_learn():
    scored = rows(**{PREDICTION: 1.0, BASE: 0.9, BASELINE: 0.5})
    figures = model_gates.quality(scored, LIMITS)
    assert set(figures) == {"", "news", "video"} and set(figures["news"]) == {PREDICTION, BASE, BASELINE}
    news = scored[scored["channel"] == "news"]
    assert figures["news"][BASE] == pytest.approx(roc_auc_score(news["label"], news[BASE]))
    assert set(model_gates.quality(scored, ModelLimits(channel_rows=1001))) == {"", "news"}


@pytest.mark.parametrize(
    ("figures", "messages"),
    [
        ({"": {PREDICTION: 0.70, BASE: 0.704, BASELINE: 0.65}}, []),
        ({"": {PREDICTION: 0.70, BASELINE: 0.65}}, []),
        (
            {"": {PREDICTION: 0.70, BASE: 0.706, BASELINE: 0.65}},
            ["AUC is 0.7000, the last blessed model's 0.7060 on the same impressions; accepted is a change of -0.005"],
        ),
        (
            {"": {PREDICTION: 0.64, BASE: 0.64, BASELINE: 0.65}},
            ["AUC is 0.6400, LR's 0.6500: RelaImpr -6.7 %, required is 0 %"],
        ),
        (
            {"": {PREDICTION: 0.7, BASE: 0.7, BASELINE: 0.6}, "news": {PREDICTION: 0.6, BASE: 0.63, BASELINE: 0.62}},
            [
                "AUC in channel 'news' is 0.6000, the last blessed model's 0.6300 on the same impressions; accepted is "
                "a change of -0.02",
                "AUC in channel 'news' is 0.6000, LR's 0.6200: RelaImpr -16.7 %, required is -10 %",
            ],
        ),
        ({"": {PREDICTION: 0.7, BASE: 0.7, BASELINE: 0.6}, "news": {PREDICTION: float("nan"), BASE: 0.63}}, []),
        (
            {"": {PREDICTION: 0.7, BASE: 0.7, BASELINE: 0.6}, "news": {PREDICTION: 0.48, BASE: 0.48}},
            ["AUC in channel 'news' is 0.4800, required is at least 0.5"],
        ),
    ],
)
def test_what_a_model_may_lose(figures, messages):
    assert list(model_gates.quality_faults(figures, LIMITS)) == messages


def test_changes_of_shares_are_relative_and_leave_out_small_channels():
    old, new = {"a": 0.5, "b": 0.495, "c": 0.005}, {"a": 0.6, "b": 0.4}
    assert model_gates.share_changes(old, new, 0.01) == pytest.approx({"a": 0.2, "b": 0.095 / 0.495})


@pytest.mark.parametrize(
    ("new", "limits", "messages"),
    [
        ({"a": 0.55, "b": 0.45}, {}, []),
        (
            {"a": 0.9, "b": 0.1},
            {},
            [
                "channel 'a' went from 50.0% to 90.0% of the panel's lists, a change of 80.0%; accepted is 50%",
                "channel shares changed by 80.0% on average (channel 'a' went from 50.0% to 90.0% of the panel's "
                "lists); accepted is 20%",
            ],
        ),
        (
            {"a": 0.5, "b": 0.2, "c": 0.3},
            {"mean_share_change": 0.4},
            ["channel 'b' went from 50.0% to 20.0% of the panel's lists, a change of 60.0%; accepted is 50%"],
        ),
    ],
)
def test_a_shift_of_channels_is_named(new, limits, messages):
    assert model_gates.share_faults({"a": 0.5, "b": 0.5}, new, ModelLimits(**limits)) == messages


def test_a_panel_is_offered_the_same_candidates(tmp_path):
    fakes.save_model(tmp_path / "model")
    panel = [fakes.session("u", ("a", "b")), fakes.session("v", ("b", "c"), ("video", "news"))]
    shown = model_gates.replay(str(tmp_path / "model"), panel, fakes.SPEC)
    # The fake model places the first candidates as they come: the same list for both users.
    assert (shown.requests, shown.users, shown.distinct_lists) == (2, 2, 1)
    assert shown.channel_shares == {"news": 0.5, "video": 0.5}


@pytest.mark.parametrize(("skill", "faults"), [(2.0, 0), (0.2, 2)])
def test_the_quality_gate_reports_what_the_impressions_say(tmp_path, skill, faults):
    scored = rows(**{PREDICTION: skill, BASE: 1.0, BASELINE: 0.9})
    scored = scored[scored["channel"] == "news"]
    impressions = fakes.examples_artifact(
        tmp_path / "impressions",
        {
            "eval": [
                fakes.example(
                    {"channel": [row["channel"]], "user_id": ["u"], "position": [1]}
                    | {name: [float(row[name])] for name in ("label", PREDICTION, BASE, BASELINE)}
                )
                for row in scored.to_dict("records")
            ]
        },
    )
    report = fakes.artifact(reports.GateReport, tmp_path / "report")
    limits = json.dumps(dataclasses.asdict(ModelLimits(channel_rows=10_000)))
    QualityGate.test_call(impressions=impressions, report=report, limits=limits)
    told = reports.read(report.uri)
    assert len(told["faults"]) == faults
    assert told["figures"]["auc"][""][BASE] == pytest.approx(roc_auc_score(scored["label"], scored[BASE]), abs=1e-6)


def stability(folder, base, sessions):
    """Calls the StabilityGate; returns its report and the panel that it hands on."""
    declared = fakes.artifact(tfx.types.standard_artifacts.Schema, folder / "schema")
    schema.write(schema.to_schema(fakes.SPEC), folder / "schema" / "schema.pbtxt")
    fakes.save_model(folder / "model" / "Format-Serving")
    report = fakes.artifact(reports.GateReport, folder / "report")
    StabilityGate.test_call(
        model=fakes.artifact(tfx.types.standard_artifacts.Model, folder / "model"),
        base=base,
        examples=fakes.examples_artifact(folder / "sessions", {"eval": sessions}),
        schema=declared,
        report=report,
        limits=json.dumps(dataclasses.asdict(LIMITS)),
        panel_size=2,
    )
    return reports.read(report.uri), pathlib.Path(report.uri, blessed.PANEL)


def test_the_panel_is_drawn_once_and_handed_on(tmp_path):
    base = fakes.artifact(tfx.types.standard_artifacts.Model, tmp_path / "base")
    (tmp_path / "base" / blessed.FIRST_RUN).touch()
    told, panel = stability(tmp_path / "first", base, [fakes.session(f"u{n}", ("a", "b")) for n in range(3)])
    assert told["faults"] == [] and told["figures"].keys() == {"new"}
    assert told["findings"] == ["no model was blessed before", "2 requests make up the panel from now on"]
    base = fakes.artifact(tfx.types.standard_artifacts.Model, tmp_path / "blessed")
    fakes.save_model(tmp_path / "blessed" / "Format-Serving")
    (tmp_path / "blessed" / blessed.PANEL).write_bytes(panel.read_bytes())
    told, later = stability(tmp_path / "second", base, [fakes.session("another", ("c", "d"), ("video", "video"))])
    assert told["faults"] == [] and told["figures"]["old"] == told["figures"]["new"]
    assert told["figures"]["new"]["users"] == 2
    assert records(later) == records(panel)


def test_another_panel_is_drawn_where_all_its_users_were_forgotten(tmp_path):
    base = fakes.artifact(tfx.types.standard_artifacts.Model, tmp_path / "base")
    fakes.save_model(tmp_path / "base" / "Format-Serving")
    told, panel = stability(tmp_path, base, [fakes.session("u", ("a", "b"))])
    assert told["findings"] == ["1 requests make up the panel from now on"] and len(records(panel)) == 1
    assert told["figures"].keys() == {"new", "old"} and told["faults"] == []
    assert [path.name for path in panel.parent.iterdir() if path.name.startswith(".")] == []


def records(path):
    serialized = tf.data.TFRecordDataset(str(path), compression_type="GZIP").as_numpy_iterator()
    return [tf.train.Example.FromString(each) for each in serialized]


def test_the_stability_gate_reports_another_channel_mix(tmp_path):
    base = fakes.artifact(tfx.types.standard_artifacts.Model, tmp_path / "base")
    fakes.save_model(tmp_path / "base" / "Format-Serving", first=False)
    panel = [fakes.session("u", ("a", "b"), ("news", "news")), fakes.session("v", ("c", "d"), ("video", "video"))]
    fakes.write_records(tmp_path / "base" / blessed.PANEL, panel)
    told, _ = stability(tmp_path, base, panel)
    largest, mean = told["faults"]
    assert largest.startswith("channel 'video' went from 100.0% to 0.0% of the panel's lists") and "average" in mean
