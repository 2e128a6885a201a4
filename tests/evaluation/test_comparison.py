import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from hrlrec_tf.errors import ConfigError, DataError
from hrlrec_tf.evaluation import comparison, predictions, store, tables
from hrlrec_tf.evaluation.options import Options

ROWS = 400
FAST = Options(replicates=300)


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "request_id": [f"r{row // 4}" for row in range(ROWS)],
            "user_id": [f"u{row // 8}" for row in range(ROWS)],
            "position": np.tile([1, 2, 3, 4], ROWS // 4),
            "label": rng.integers(0, 2, ROWS),
        }
    )


@pytest.fixture
def folder(table, tmp_path):
    """Two seeds of a good model, two of a middling and one of a random one, rows in random order."""
    rng = np.random.default_rng(1)
    for name, noise in {"best-0": 1, "best-1": 1, "lr-0": 3, "lr-1": 3, "wide-deep-0": 99}.items():
        score = table["label"] + rng.normal(0, noise, ROWS)
        rows = table.assign(prediction=1 / (1 + np.exp(-score / (1 + noise))))
        predictions.write(tmp_path / f"{name}.parquet", rows.sample(frac=1, random_state=2))
    return tmp_path


def run(folder, base="lr", references=("best",), metric="auc", options=FAST):
    return comparison.compare(comparison.named_files([folder]), base, references, metric, options)


def read(file, table):
    """Predictions of a file in the table's order."""
    return table.merge(pd.read_parquet(file), on=["request_id", "position"])["prediction"]


@pytest.mark.parametrize("files", [False, True])
def test_figures(folder, table, files, monkeypatch):
    if files:
        monkeypatch.setattr(store, "WHOLE_ROWS", 10)
    result = run(folder)
    close = 1e-4 if files else 1e-12
    best, lr, wide_deep = result["models"]
    assert [each["model"] for each in result["models"]] == ["best", "lr", "wide-deep"]
    assert (result["rows"], result["users"], result["base"], best["seeds"]) == (ROWS, 50, "lr", 2)

    seeds = [read(folder / f"best-{seed}.parquet", table) for seed in (0, 1)]
    aucs = [roc_auc_score(table["label"], seed) for seed in seeds]
    assert best["auc"] == pytest.approx(np.mean(aucs), abs=close)
    assert best["auc_by_seed"] == pytest.approx(aucs, abs=close)
    assert best["averaged_auc"] == pytest.approx(roc_auc_score(table["label"], seeds[0] + seeds[1]), abs=close)
    half = 12.706205 * abs(aucs[0] - aucs[1]) / 2  # t(0.975, 1) times the standard error
    expected = (np.mean(aucs) - half, np.mean(aucs) + half)
    assert (best["auc_low"], best["auc_high"]) == pytest.approx(expected, abs=1e-6 if not files else 2e-3)
    assert best["averaged_auc_low"] < best["averaged_auc"] < best["averaged_auc_high"]
    assert best["rela_impr"] == pytest.approx(((best["auc"] - 0.5) / (lr["auc"] - 0.5) - 1) * 100)
    assert best["averaged_rela_impr_low"] < best["averaged_rela_impr"] < best["averaged_rela_impr_high"]
    assert lr["rela_impr"] == lr["averaged_rela_impr_low"] == lr["averaged_rela_impr_high"] == 0
    assert math.isnan(wide_deep["auc_low"])

    assert [(pair["reference"], pair["other"]) for pair in result["pairs"]] == [("best", "lr"), ("best", "wide-deep")]
    for pair, other in zip(result["pairs"], (lr, wide_deep)):
        assert pair["p_value"] == pytest.approx(1 / 301) and pair["p_holm"] == pytest.approx(2 / 301)
        assert 0 < pair["low"] < pair["difference"] < pair["high"]
        assert pair["difference"] == pytest.approx(best["averaged_auc"] - other["averaged_auc"])
    assert math.isnan(
        comparison.compare(comparison.named_files([folder]), "lr", options=Options(0))["models"][0]["averaged_auc_low"]
    )


def test_pairs_are_paired_by_user(folder, table):
    """A model that is another with a little noise differs from it far less than both vary over users."""
    rows = pd.read_parquet(folder / "best-0.parquet")
    noise = np.random.default_rng(2).normal(0, 0.01, ROWS)
    predictions.write(folder / "twin-0.parquet", rows.assign(prediction=rows["prediction"].clip(0.05, 0.95) + noise))
    (folder / "best-1.parquet").unlink()
    result = run(folder, references=["twin"])
    twin = next(model for model in result["models"] if model["model"] == "twin")
    pair = next(pair for pair in result["pairs"] if pair["other"] == "best")
    assert pair["high"] - pair["low"] < 0.3 * (twin["averaged_auc_high"] - twin["averaged_auc_low"])


def test_less_log_loss_is_better(folder, table):
    result = run(folder, metric="log_loss")
    best = result["models"][0]
    assert best["model"] == "best" and math.isnan(best["rela_impr"])
    seeds = [read(folder / f"best-{seed}.parquet", table) for seed in (0, 1)]
    assert best["averaged_log_loss"] == pytest.approx(log_loss(table["label"], (seeds[0] + seeds[1]) / 2))
    assert result["pairs"][0]["difference"] < 0 and result["pairs"][0]["p_value"] == pytest.approx(1 / 301)
    assert run(folder, references=["lr"], metric="log_loss")["pairs"][0]["p_value"] == 1


@pytest.mark.parametrize("metric", ["gauc", "ndcg", "hit_rate"])
def test_other_metrics_order_the_models(folder, metric):
    result = run(folder, metric=metric)
    assert [model["model"] for model in result["models"]][0] == "best"
    assert math.isnan(result["models"][0]["rela_impr"]) == (metric != "gauc")


def test_markdown(folder):
    result = run(folder)
    text = tables.comparison_markdown(result)
    assert (
        "| model | seeds | mean AUC | over seeds |" in text
        and f"| best | 2 | {result['models'][0]['auc']:.4f} | " in text
    )
    assert "| wide-deep | 1 | " in text and " | one seed | " in text and "| best | lr | +0." in text
    heads = [line for line in text.splitlines() if line.startswith("| ---")]
    assert len(heads) == 2
    assert "| reference |" not in tables.comparison_markdown(run(folder, references=()))
    assert "| - |" in tables.comparison_markdown(run(folder, metric="ndcg"))


def test_one_class_is_no_crash(folder):
    for file in folder.iterdir():
        predictions.write(file, pd.read_parquet(file).assign(label=0))
    result = run(folder)
    assert all(math.isnan(model["auc"]) for model in result["models"])
    assert all(math.isnan(pair["p_value"]) and math.isnan(pair["p_holm"]) for pair in result["pairs"])
    assert "| best | lr | - | - | - | - |" in tables.comparison_markdown(result)


@pytest.mark.parametrize("change", ["label", "position", "request_id", "fewer"])
def test_other_rows_are_refused(folder, change):
    file = folder / "lr-1.parquet"
    rows = pd.read_parquet(file)
    if change == "fewer":
        rows = rows.iloc[1:]
    else:
        first = rows[change].iloc[0]
        rows.loc[rows.index[0], change] = {"label": 1 - rows["label"].iloc[0], "position": 9}.get(change, f"{first}x")
    predictions.write(file, rows)
    with pytest.raises(DataError, match="lr-1.parquet holds other rows .* than .*best-0.parquet"):
        run(folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "lr-1.parquet").rename(folder / "lr.parquet"), "not named MODEL-SEED"),
        (lambda folder: (folder / "lr-1.parquet").write_text("no"), "lr-1.parquet cannot be read as a Parquet file"),
        (lambda folder: [file.unlink() for file in folder.iterdir()], "holds no .parquet files"),
        (
            lambda folder: [(folder / f"lr-{seed}.parquet").unlink() for seed in (0, 1)],
            "no predictions of the base 'lr'",
        ),
        (lambda folder: [file.unlink() for file in folder.glob("best-*")], "of the reference 'best'"),
    ],
)
def test_bad_files_are_named(folder, spoil, message):
    spoil(folder)
    with pytest.raises(DataError, match=message):
        run(folder)


def test_the_same_seed_twice(folder):
    with pytest.raises(DataError, match="predictions of 'lr' with seed 1 come twice"):
        comparison.named_files([folder, folder / "lr-1.parquet"])


def test_what_cannot_be_compared(folder):
    with pytest.raises(ConfigError, match="metric 'mrr' is unknown; choose one of auc, gauc"):
        run(folder, metric="mrr")
    with pytest.raises(DataError, match="no predictions of 'new'; give it at least one file"):
        comparison.compare({"lr": [folder / "lr-0.parquet"], "new": []}, "lr")
    rows = pd.read_parquet(folder / "lr-1.parquet")
    predictions.write(folder / "lr-1.parquet", rows, probability=False)
    with pytest.raises(DataError, match="lr-1.parquet holds predictions that only order rows"):
        run(folder, metric="log_loss")
    assert run(folder)["models"][0]["model"] == "best"
    predictions.write(folder / "lr-1.parquet", rows.assign(prediction=rows["prediction"] * 5))
    with pytest.raises(DataError, match=r"lr-1.parquet holds predictions outside \[0, 1\]"):
        run(folder, metric="log_loss")
