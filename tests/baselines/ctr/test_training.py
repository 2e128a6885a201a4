"""Baselines through the verbs: train, resume, evaluate, compare, report, and what is refused."""

import json
import pathlib

import numpy as np
import pandas as pd
import pytest
import tiny

from hrlrec_tf import models, training, verbs
from hrlrec_tf.baselines.ctr import fitting
from hrlrec_tf.baselines.ctr import training as ctr_training
from hrlrec_tf.data.input import session_records
from hrlrec_tf.errors import ConfigError, DataError, ModelError
from hrlrec_tf.evaluation.verb import EVALUATE
from hrlrec_tf.experiments.verb import VERB as REPORT

QUICK = "--set=training.epochs=2 --set=training.learning_rate=0.01"


@pytest.fixture(scope="module")
def deepfm(prepared, tmp_path_factory):
    """A DeepFM with history, trained by the verb."""
    out = tmp_path_factory.mktemp("ctr") / "deepfm"
    tiny.run_verb(verbs.TRAIN, f"--data={prepared} --model=deepfm --out={out} {QUICK} --set=inputs.history=true")
    return out


def test_train_wrote_a_model_folder(deepfm, prepared):
    names = {path.name for path in deepfm.iterdir()}
    assert names == {"config.json", "schema.pbtxt", "transform", "checkpoints", "logs", "metrics.jsonl", "result.json"}
    settings = json.loads((deepfm / "config.json").read_text())
    assert settings["model"] == "deepfm" and settings["config"]["inputs"]["history"] is True
    result = json.loads((deepfm / "result.json").read_text())
    assert result["model"] == "deepfm" and 0 < result["validation_auc"] < 1 and result["parameters"] > 1000
    records = [json.loads(line) for line in (deepfm / "metrics.jsonl").read_text().splitlines()]
    assert [record["split"] for record in records[:2]] == ["train", "validation"]
    documented = (pathlib.Path(__file__).parents[3] / "docs" / "metrics.md").read_text().partition("## Baselines")[2]
    assert all(f"`{name}`" in documented for record in records[:2] for name in set(record) - {"epoch", "step", "split"})
    aucs = [record["auc"] for record in records if record["split"] == "validation"]
    assert result["validation_auc"] == pytest.approx(max(aucs))


def test_evaluate_scores_as_training_did(deepfm, prepared, tmp_path):
    file = tmp_path / "rows.parquet"
    words = f"--model={deepfm} --data={prepared} --split=validation --predictions={file} --base={deepfm}"
    result = tiny.run_verb(EVALUATE, words)
    expected = json.loads((deepfm / "result.json").read_text())["validation_auc"]
    assert result["auc"] == pytest.approx(expected) and result["rela_impr"] == pytest.approx(0.0)
    rows = pd.read_parquet(file)
    scored = "request_id user_id channel position history_impressions label prediction"
    assert set(rows) == set(scored.split())
    assert len(rows) == result["rows"] and rows["prediction"].between(0, 1).all()


def test_loads_as_any_other_model(deepfm, prepared):
    scorer, reader, config = models.load(str(deepfm))
    assert config.training.epochs == 2 and config.inputs.history
    examples = next(iter(session_records([str(prepared / "eval" / "sessions-0.tfrecord.gz")]).batch(3)))
    scored = scorer(reader.read(examples))
    assert set(scored) == {"click_probability"} and scored["click_probability"].shape == [3, 4]
    assert np.ptp(scored["click_probability"].numpy()) > 0


def test_hrl_recs_own_verbs_refuse_it(deepfm):
    with pytest.raises(ModelError, match="holds the model deepfm, which this does not work with; name a folder of dqn"):
        training.load(str(deepfm))


def test_a_finished_or_other_folder_is_refused(deepfm, prepared, tmp_path):
    with pytest.raises(ModelError, match="holds a finished model"):
        tiny.run_verb(verbs.TRAIN, f"--data={prepared} --model=lr --out={deepfm} --resume")
    with pytest.raises(ModelError, match="holds no finished model; run hrlrec train"):
        ctr_training.load(str(tmp_path))


def test_resumes(prepared, tmp_path, monkeypatch):
    words = f"--data={prepared} --model=lr {QUICK} --set=training.patience=9 --out={tmp_path / 'm'}"
    epoch = fitting.Fit.train_epoch
    monkeypatch.setattr(fitting.Fit, "train_epoch", lambda fit, _: fit.epoch and stop() or epoch(fit))
    with pytest.raises(KeyboardInterrupt):
        tiny.run_verb(verbs.TRAIN, words)
    monkeypatch.setattr(fitting.Fit, "train_epoch", epoch)
    with pytest.raises(ModelError, match="begun with other settings"):
        tiny.run_verb(verbs.TRAIN, f"{words} --resume --model=fm")
    result = tiny.run_verb(verbs.TRAIN, f"{words} --resume")
    whole = tiny.run_verb(verbs.TRAIN, words.replace("/m", "/whole"))
    assert result["epochs"] == 2 and result["validation_auc"] == pytest.approx(whole["validation_auc"])


def stop():
    raise KeyboardInterrupt


def test_report(deepfm, tmp_path):
    result = tiny.run_verb(REPORT, f"--runs={deepfm} --out={tmp_path / 'report.html'}")
    assert result["runs"][0]["validation_auc"] > 0 and (tmp_path / "report.html").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "error", "sentence"),
    [
        ("--model=fm --preset=best", ConfigError, "fm has no presets, got preset 'best'; leave it out"),
        ("--model=fm --set=network.hidden_units=[4]", ConfigError, "'network.hidden_units' is unknown; known: .*embed"),
        ("--model=history-lr", DataError, r"history-lr needs the item features .*; write item_counts: \{\}"),
        ('--model=lr --set=inputs.fields=["colour"]', ConfigError, "inputs.fields names colour, which these"),
    ],
)
def test_refused(prepared, tmp_path, words, error, sentence):
    with pytest.raises(error, match=sentence):
        tiny.run_verb(verbs.TRAIN, f"--data={prepared} --out={tmp_path / 'm'} {words}")
    assert not (tmp_path / "m").exists()
