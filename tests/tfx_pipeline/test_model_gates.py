"""Gates on a new model: what they let pass, what stops it, and what they say."""

import numpy as np
import pandas as pd
import pipeline_fakes as fakes
import pytest
from sklearn.metrics import roc_auc_score

from tfx_pipeline import model_gates
from tfx_pipeline.impression_scorer import BASE, BASELINE, PREDICTION
from tfx_pipeline.model_gates import ModelLimits

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
