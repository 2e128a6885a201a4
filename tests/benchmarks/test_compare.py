import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks import compare
from hrlrec_tf.errors import DataError

ROWS = 400


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
def folders(table, tmp_path):
    """Two seeds of a good model of ours, two of a middling and one of a random peer, rows in random order."""
    rng = np.random.default_rng(1)
    for name, noise in {
        "ours/best-0": 1,
        "ours/best-1": 1,
        "peers/lr-0": 3,
        "peers/lr-1": 3,
        "peers/wide-deep-0": 99,
    }.items():
        file = tmp_path / f"{name}.parquet"
        file.parent.mkdir(exist_ok=True)
        rows = table.assign(prediction=table["label"] + rng.normal(0, noise, ROWS))
        rows.sample(frac=1, random_state=2).to_parquet(file)
    return tmp_path


def _run(folders, *more):
    return compare.main([str(folders / "ours"), "--peers", str(folders / "peers"), "--replicates=300", *more])


def test_figures(folders, table, capsys):
    file = folders / "table.json"
    assert _run(folders, f"--json={file}") == 0
    result = json.loads(file.read_text())
    best, lr, wide_deep = result["models"]
    assert [each["model"] for each in result["models"]] == ["best", "lr", "wide-deep"]
    assert (result["rows"], result["users"], best["ours"], lr["ours"]) == (ROWS, 50, True, False)

    seeds = [pd.read_parquet(folders / f"ours/best-{seed}.parquet").sort_index()["prediction"] for seed in (0, 1)]
    aucs = [roc_auc_score(table["label"], seed) for seed in seeds]
    assert best["auc"] == pytest.approx(np.mean(aucs)) and best["auc_by_seed"] == pytest.approx(
        {"0": aucs[0], "1": aucs[1]}
    )
    assert best["averaged_auc"] == pytest.approx(roc_auc_score(table["label"], seeds[0] + seeds[1]))
    half = 12.706205 * abs(aucs[0] - aucs[1]) / 2  # t(0.975, 1) times the standard error
    assert (best["auc_low"], best["auc_high"]) == pytest.approx((np.mean(aucs) - half, np.mean(aucs) + half))
    assert (
        best["rela_impr"] == pytest.approx(((best["auc"] - 0.5) / (lr["auc"] - 0.5) - 1) * 100) and lr["rela_impr"] == 0
    )
    assert wide_deep["auc_low"] is None

    assert [(pair["ours"], pair["peer"]) for pair in result["pairs"]] == [("best", "lr"), ("best", "wide-deep")]
    for pair in result["pairs"]:
        assert pair["p_value"] == pytest.approx(1 / 301) and pair["p_holm"] == pytest.approx(2 / 301)
        assert 0 < pair["low"] < pair["difference"] < pair["high"]
    printed = capsys.readouterr().out
    assert f"| best | ours | 2 | {best['auc']:.4f} |" in printed and "| wide-deep | peer | 1 |" in printed
    assert "| best | lr | " in printed and "one seed" in printed


def test_ours_alone(folders, capsys):
    assert compare.main([str(folders / "ours" / "best-1.parquet"), "--base=best"]) == 0
    assert "| best | ours | 1 |" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["label", "position", "request_id", "fewer"])
def test_other_rows_are_refused(folders, capsys, change):
    file = folders / "peers" / "lr-1.parquet"
    rows = pd.read_parquet(file)
    if change == "fewer":
        rows = rows.iloc[1:]
    else:
        first = rows[change].iloc[0]
        rows.loc[rows.index[0], change] = {"label": 1 - rows["label"].iloc[0], "position": 9}.get(change, f"{first}x")
    rows.to_parquet(file)
    assert _run(folders) == 1
    assert str(file) in (error := capsys.readouterr().err) and "other rows" in error and len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "peers/lr-1.parquet").rename(folder / "peers/lr.parquet"), "not named MODEL-SEED"),
        (lambda folder: (folder / "peers/lr-1.parquet").rename(folder / "peers/best-7.parquet"), "come twice"),
        (lambda folder: (folder / "peers/lr-1.parquet").write_text("no"), "is no Parquet file with the columns"),
        (lambda folder: [file.unlink() for file in (folder / "peers").iterdir()], "holds no .parquet files"),
        (
            lambda folder: [(folder / f"peers/lr-{seed}.parquet").unlink() for seed in (0, 1)],
            "no predictions of the base",
        ),
    ],
)
def test_bad_files_are_named(folders, capsys, spoil, message):
    spoil(folders)
    assert _run(folders) == 1
    assert message in capsys.readouterr().err


def test_models_need_a_base():
    with pytest.raises(DataError, match="known: none"):
        compare.compare(compare.Predictions(), "lr")
