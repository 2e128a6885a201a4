"""BARS recipes on small files in the published format."""

import json

import numpy as np
import pandas as pd
import pytest

from benchmarks import bars
from hrlrec_tf.baselines.ctr import config
from hrlrec_tf.errors import DataError


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for part, size in (("train", 300), ("valid", 80), ("test", 80)):
        columns = {name: rng.integers(10, 20, size) for name in bars.COLUMNS["movielenslatest"]}
        label = (columns["item_id"] % 2 == 0).astype(int)
        label[:20] = 1 - label[:20]
        pd.DataFrame({"label": label, **columns}).to_csv(tmp_path / f"{part}.csv", index=False)
    return tmp_path


def test_every_recipe_fits_its_model():
    for name, recipes in bars.RECIPES.items():
        assert list(recipes) == ["lr", "fm", "nfm", "afm", "wide-deep", "deepfm", "autoint", "autoint+"], name
        for recipe in recipes.values():
            training = config.default(recipe.model).override(recipe.settings).training
            shared = (training.batch_size, training.learning_rate, training.patience, training.plateau_cut)
            assert shared == (4096, 1e-3, 2, 0.1) and training.gradient_clip == 10.0
            assert 0.9 < recipe.auc < 1 and 0 < recipe.log_loss < 0.4
    wide = config.default("wide-deep").override(bars.RECIPES["frappe"]["wide-deep"].settings)
    assert (wide.network.hidden_units, wide.network.dropout, wide.network.batch_norm) == ((400,) * 3, 0.6, True)
    assert wide.training.embedding_l2 == 0.1 and wide.network.embedding_dim == 10


def test_ids_of_the_training_file_and_one_for_the_rest(folder):
    test = pd.read_csv(folder / "test.csv")
    test.loc[0, "item_id"] = 999
    test.to_csv(folder / "test.csv", index=False)
    fields, parts = bars.read(folder, "movielenslatest")
    assert fields.sizes == {"user_id": 11, "item_id": 11, "tag_id": 11}
    assert [parts[part].size for part in bars.FILES] == [300, 80, 80]
    ids = parts["test"].features["ids"].numpy()
    assert ids[0, 1] == 11 and ids[1:, 1].min() > 11 and ids[:, 0].min() > 0
    train = pd.read_csv(folder / "train.csv")
    same = train["user_id"].to_numpy() == train["user_id"][0]
    np.testing.assert_array_equal(parts["train"].features["ids"].numpy()[:, 0] == 1, same)
    np.testing.assert_array_equal(parts["train"].labels, train["label"])


def test_prints_the_difference_and_runs_nothing_twice(folder, tmp_path, capsys, monkeypatch):
    quick = ("training.learning_rate=0.05", "training.batch_size=64", "training.epochs=6")
    recipe = bars.Recipe("lr", quick, 0.5, 0.7)
    monkeypatch.setitem(bars.RECIPES["movielenslatest"], "lr", recipe)
    words = ["--data", str(folder), "--set", "movielenslatest", "--models", "lr", "--out", str(tmp_path / "out")]
    assert bars.main(words) == 0
    result = json.loads((tmp_path / "out" / "movielenslatest-lr-2021.json").read_text())
    assert 0.7 < result["auc"] < 1 and result["auc_difference"] == pytest.approx(result["auc"] - 0.5)
    first = capsys.readouterr()
    assert f"{result['auc']:.5f}   0.50000 {result['auc'] - 0.5:+.5f}" in first.out
    assert "note: the files hold (300, 80, 80) rows, the published ones (1404801, 401372, 200686)" in first.err
    monkeypatch.setattr(bars, "run", lambda *_: pytest.fail("ran again"))
    assert bars.main(words) == 0 and capsys.readouterr().out == first.out


def test_bad_files(folder, capsys):
    table = pd.read_csv(folder / "valid.csv")
    for change, sentence in (
        (lambda: table.rename(columns={"tag_id": "tag"}), "it lacks tag_id; take the files of the BARS set"),
        (lambda: table.assign(label=2), "every row needs a label of 0 or 1"),
        (lambda: table.assign(user_id=np.nan), "and an id in each column"),
    ):
        change().to_csv(folder / "valid.csv", index=False)
        with pytest.raises(DataError, match=sentence):
            bars.read(folder, "movielenslatest")
    (folder / "valid.csv").unlink()
    assert bars.main(["--data", str(folder), "--set", "movielenslatest", "--out", str(folder / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("bars: ") and "--data must hold train.csv, valid.csv and test.csv" in error
