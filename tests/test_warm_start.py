"""Training that goes on from a finished model: what it takes over, and what it refuses."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tiny

from hrlrec_tf import model_folder, training
from hrlrec_tf.cli import main
from hrlrec_tf.data import schema
from hrlrec_tf.errors import DataError, ModelError
from hrlrec_tf.features import FeatureSpec


@pytest.fixture
def go_on(prepared, model_dir, tmp_path, eager):
    """One more epoch on the sessions of the fixture `model_dir`, from that model."""

    def run(*settings: str, out: str = "model", base: pathlib.Path = model_dir, resume: bool = False) -> pathlib.Path:
        training.train(
            tiny.config(*tiny.TRAINED, "training.epochs=1", *settings),
            schema.read(prepared / "schema.pbtxt"),
            str(base / "transform"),
            [str(prepared / "train" / "sessions-0.tfrecord.gz")],
            [str(prepared / "validation" / "sessions-0.tfrecord.gz")],
            str(tmp_path / out),
            progress=False,
            resume=resume,
            warm_start=str(base),
        )
        return tmp_path / out

    return run


def weights(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Of the last checkpoint: online and target networks and the optimizer, by name."""
    reader = tf.train.load_checkpoint(str(tf.train.latest_checkpoint(str(folder / "checkpoints/last"))))
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    return {name: reader.get_tensor(name) for name in names if name.split("/")[0] in ("online", "target", "optimizer")}


def test_it_goes_on_where_the_other_model_stopped(go_on, model_dir):
    """With steps too small to see, the weights are the other model's; its batches and Adam's moments are counted on."""
    before, after = weights(model_dir), weights(go_on("training.learning_rate=1e-9", "training.target_tau=1e-6"))
    assert before.keys() == after.keys() and len(before) > 50
    moments = [name for name in before if name.startswith("optimizer") and before[name].ndim]
    assert any(np.abs(before[name]).max() > 0 for name in moments)
    for name, value in before.items():
        if not name.startswith("optimizer"):
            np.testing.assert_allclose(after[name], value, atol=1e-6, err_msg=name)
    steps = [json.loads((folder / "result.json").read_text())["batches"] for folder in (model_dir, go_on(out="again"))]
    assert steps[1] == steps[0] + 3


def test_the_model_remembers_whose_training_it_goes_on_with(go_on, model_dir):
    made = go_on()
    settings = model_folder.finished_settings(made, ["hrl-rec"])
    assert settings["warm_start"] == model_folder.identity(model_dir)
    assert "warm_start" not in model_folder.finished_settings(model_dir, ["hrl-rec"])


def test_other_sizes_are_refused(go_on):
    size = next(setting for setting in tiny.TRAINED if setting.startswith("network.state_dim="))
    with pytest.raises(ModelError, match=f"its weights have other sizes; give the same settings of network: {size}$"):
        go_on("network.state_dim=16")


def test_other_features_are_refused(model_dir):
    with pytest.raises(DataError, match="trained on sessions of other features"):
        model_folder.check_warm_start(model_dir, "hrl-rec", schema.to_schema(FeatureSpec(list_length=3)))


def test_other_models_are_refused(model_dir, prepared, tmp_path, capsys):
    ours = schema.read(prepared / "schema.pbtxt")
    with pytest.raises(ModelError, match="holds the model hrl-rec, which this does not work with"):
        model_folder.check_warm_start(model_dir, "dqn-gru", ours)
    with pytest.raises(ModelError, match="holds no finished model"):
        model_folder.check_warm_start(tmp_path, "hrl-rec", ours)
    words = ["train", "--data", str(prepared), "--model", "lr", "--out", str(tmp_path / "lr")]
    assert main([*words, "--warm-start", str(model_dir)]) == 1
    assert "hrl-rec" in capsys.readouterr().err
