"""The verbs `evaluate` and `compare`, called as the command line calls them."""

import json
import math

import pandas as pd
import pytest
import tiny
from scored import make_rows

from hrlrec_tf import training
from hrlrec_tf.errors import ConfigError, DataError, ModelError
from hrlrec_tf.evaluation import metrics, predictions, scoring
from hrlrec_tf.evaluation.verb import COMPARE, EVALUATE

SCORED = "request_id user_id channel position history_impressions label prediction q_channel q_item"


@pytest.fixture
def scored(tmp_path):
    """Two files of scored rows: a good model and a base of some random order."""
    rows = make_rows(600)
    predictions.write(tmp_path / "good-0.parquet", rows)
    noisy = (rows["prediction"] + rows["prediction"].sample(frac=1, random_state=3).to_numpy()) / 2
    predictions.write(tmp_path / "base-0.parquet", rows.assign(prediction=noisy))
    return tmp_path


def test_evaluate_a_model(model_dir, prepared, tmp_path, capsys, eager):
    file = tmp_path / "new" / "rows.parquet"
    words = f"--model={model_dir} --data={prepared} --predictions={file} --replicates=20"
    result = tiny.run_verb(EVALUATE, words)
    assert {"auc", "gauc", "log_loss", "rows", "calibration", "auc_low", "auc_high", "calibration_curve"} <= set(result)
    assert set(result["auc_by_channel"]) == {"news", "article", "video"}
    assert "auc_by_position" in result and "auc_by_activity" in result and result["probability"]
    printed = capsys.readouterr().out
    assert f"auc               {result['auc']:.4f}\n" in printed and "\nnews " in printed and "\nactivity " in printed
    json.dumps(result)
    rows = pd.read_parquet(file)
    assert set(rows) == set(SCORED.split()) and len(rows) == result["rows"]
    assert metrics.auc(rows["label"].to_numpy(), rows["prediction"].to_numpy()) == pytest.approx(result["auc"])
    assert [each.name for each in file.parent.iterdir()] == [file.name]
    again = tiny.run_verb(EVALUATE, f"--model={file} --replicates=20")
    assert json.dumps(again) == json.dumps(result)
    on_validation = tiny.run_verb(EVALUATE, f"--model={model_dir} --data={prepared} --split=validation --replicates=0")
    expected = json.loads((model_dir / "result.json").read_text())["validation_auc"]
    assert on_validation["auc"] == pytest.approx(expected) and math.isnan(on_validation["auc_low"])


def test_a_model_scored_by_q(model_dir, prepared, tmp_path, capsys, monkeypatch, eager):
    network, reader, config = training.load(str(model_dir))
    monkeypatch.setattr(training, "load", lambda _: (network, reader, config.override(["losses.ctr=0"])))
    words = f"--model={model_dir} --data={prepared} --predictions={tmp_path / 'q-0.parquet'} --replicates=0"
    result = tiny.run_verb(EVALUATE, words)
    assert math.isnan(result["log_loss"]) and result["calibration_curve"] == [] and not result["probability"]
    printed = capsys.readouterr().out
    assert "log_loss          - (predictions only order rows and are no probabilities (no click loss))" in printed
    assert not predictions.read_is_probability(tmp_path / "q-0.parquet")


def test_evaluate_against_a_base(scored, capsys):
    words = f"--model={scored / 'good-0.parquet'} --base={scored / 'base-0.parquet'} --replicates=200"
    result = tiny.run_verb(EVALUATE, words)
    assert result["rela_impr"] == pytest.approx(metrics.rela_impr(result["auc"], result["base_auc"]))
    assert result["rela_impr_low"] < result["rela_impr"] < result["rela_impr_high"]
    difference = result["differences"]["auc"]
    assert difference["difference"] == pytest.approx(result["auc"] - result["base_auc"])
    assert 0 < difference["low"] < difference["high"] and difference["p_value"] == pytest.approx(1 / 201)
    assert result["differences"]["log_loss"]["difference"] < 0
    assert result["base"]["auc"] == result["base_auc"]
    assert (result["replicates"], result["ndcg_at"]) == (200, 10)
    for dimension, slices in result["slices"].items():
        assert {name: each["auc"] for name, each in slices.items()} == result[f"auc_by_{dimension}"]
    assert set(result["slices"]) == {"channel", "position", "activity"}
    printed = capsys.readouterr().out
    assert f"base_auc     {result['base_auc']:.4f}" in printed and "rela_impr    " in printed
    assert "against the base  difference" in printed


def test_evaluate_a_split_without_rows(scored, capsys):
    none = pd.read_parquet(scored / "good-0.parquet").iloc[:0]
    predictions.write(scored / "none-0.parquet", none)
    result = tiny.run_verb(EVALUATE, f"--model={scored / 'none-0.parquet'} --base={scored / 'none-0.parquet'}")
    assert result["rows"] == 0 and set(result["missing"].values()) == {"there are no rows"}
    printed = capsys.readouterr().out
    assert "auc               - (there are no rows)" in printed and "nan" not in printed


def test_a_slice_of_one_class_has_its_reason(scored, capsys):
    rows = pd.read_parquet(scored / "good-0.parquet")
    rows.loc[rows["channel"] == "news", "label"] = 0
    predictions.write(scored / "good-0.parquet", rows)
    tiny.run_verb(EVALUATE, f"--model={scored / 'good-0.parquet'} --replicates=0")
    assert "  news: no auc, for no row was clicked" in capsys.readouterr().out


def test_evaluate_what_is_not_there(scored, prepared, tmp_path):
    with pytest.raises(ModelError, match="holds no finished model; run hrlrec train"):
        tiny.run_verb(EVALUATE, f"--model={tmp_path} --data={prepared}")
    with pytest.raises(ConfigError, match="is no file of scored rows, so it needs sessions; name them with --data"):
        tiny.run_verb(EVALUATE, f"--model={tmp_path}")
    with pytest.raises(DataError, match=r"no finished sessions \(no summary.json\); run hrlrec prepare --out"):
        tiny.run_verb(EVALUATE, f"--data={tmp_path} --model={tmp_path}")
    other = pd.read_parquet(scored / "good-0.parquet").iloc[1:]
    predictions.write(scored / "other-0.parquet", other)
    with pytest.raises(DataError, match="the base holds other rows .* than the model: 599 and 600 rows"):
        tiny.run_verb(EVALUATE, f"--model={scored / 'good-0.parquet'} --base={scored / 'other-0.parquet'}")
    with pytest.raises(ConfigError, match="replicates must be from 0 to 100000: got -1"):
        tiny.run_verb(EVALUATE, f"--model={scored / 'good-0.parquet'} --replicates=-1")


def test_a_broken_scorer_leaves_no_file(model_dir, prepared, tmp_path, monkeypatch):
    def score(*_):
        yield pd.DataFrame({"prediction": [0.5]})

    monkeypatch.setattr(scoring, "score_batches", score)
    with pytest.raises(DataError, match="the rows of the model have no column request_id"):
        tiny.run_verb(EVALUATE, f"--model={model_dir} --data={prepared} --predictions={tmp_path / 'rows.parquet'}")
    assert list(tmp_path.iterdir()) == []


def test_compare(scored, capsys):
    result = tiny.run_verb(COMPARE, f"{scored} --base=base --reference good --replicates=100")
    assert [model["model"] for model in result["models"]] == ["good", "base"]
    assert result["pairs"][0]["p_holm"] == pytest.approx(1 / 101) and result["replicates"] == 100
    assert "| good | base | +0." in capsys.readouterr().out
    by_loss = tiny.run_verb(COMPARE, f"{scored} --base=base --metric=log_loss --replicates=0")
    assert by_loss["metric"] == "log_loss" and by_loss["pairs"] == []
