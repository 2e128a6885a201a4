"""Settings of the baselines: defaults by model, overrides, ranges, and that each reaches what it builds."""

import dataclasses

import pytest
import tensorflow as tf

from hrlrec_tf import models
from hrlrec_tf.baselines.ctr import config
from hrlrec_tf.baselines.ctr.inputs import Fields
from hrlrec_tf.baselines.ctr.model import FORMULAS, build
from hrlrec_tf.config import Config
from hrlrec_tf.errors import ConfigError


@pytest.mark.parametrize("model", config.MODELS)
def test_round_trip(model):
    changed = config.default(model).override(["training.seed=3", "inputs.prior_impressions=4"])
    assert changed != config.default(model) and changed.training.seed == 3
    assert config.from_dict(model, changed.to_dict()) == changed
    assert config.from_dict(model, {}) == config.from_dict(model, {"training": {}}) == config.default(model)


def test_names():
    assert models.NAMES[: len(config.MODELS)] == config.MODELS and models.NAMES[-1] == "hrl-rec"
    assert set(FORMULAS) == set(config.MODELS)
    assert isinstance(models.settings("hrl-rec"), Config)
    assert models.settings("hrl-rec").network.click_head == "counts"  # preset best
    assert models.settings("hrl-rec", "paper") == Config()
    assert models.settings("fm") == config.default("fm")


@pytest.mark.parametrize(
    ("model", "setting", "sentence"),
    [
        ("fm", "network.embedding_dim=0", "'embedding_dim' is 0; it must lie between 1 and"),
        ("deepfm", "network.hidden_units=[8, 0]", "'hidden_units' holds 0; every size must lie"),
        ("deepfm", "network.dropout=1", "'dropout' is 1.0; it must lie"),
        ("afm", "network.attention_units=0", "'attention_units' is 0"),
        ("autoint", "network.attention_heads=3", "attention_heads must divide network.attention_units: got 3 and 32"),
        ("lr", "network.embedding_dim=4", "'network.embedding_dim' is unknown; known: inputs.prior_impressions"),
        ("history-lr", "inputs.history=true", "'inputs.history' is unknown"),
        ("lr", "inputs.fields=[1]", "'inputs.fields' has the wrong type: got 1, expected str"),
        ("lr", "training.plateau_cut=0", "'plateau_cut' is 0.0"),
        ("lr", "training.patience=0", "'patience' is 0"),
    ],
)
def test_refused(model, setting, sentence):
    with pytest.raises(ConfigError, match=sentence):
        config.default(model).override([setting])


def test_unknown_models():
    with pytest.raises(ConfigError, match="model 'hal' is unknown; choose one of history-lr, lr, "):
        models.settings("hal")
    with pytest.raises(ConfigError, match="model 'hrl-rec' is no click prediction baseline; choose one of"):
        config.default("hrl-rec")


OTHER = {
    "fm": {"embedding_dim": 3},
    "nfm": {"hidden_units": (5,), "batch_norm": True, "dropout": 0.5},
    "wide-deep": {"hidden_units": (5,), "batch_norm": True, "dropout": 0.5},
    "deepfm": {"hidden_units": (5,), "batch_norm": True, "dropout": 0.5},
    "afm": {"attention_units": 5, "attention_dropout": 0.5, "pooling_dropout": 0.5},
    "autoint": {
        **{"attention_layers": 1, "attention_units": 8, "attention_heads": 4, "residual": False, "scale": False},
        **{"layer_norm": True, "wide": False, "hidden_units": (5,), "dropout": 0.5},
    },
}


@pytest.mark.parametrize(("model", "field"), [(model, field) for model, fields in OTHER.items() for field in fields])
def test_every_field_reaches_the_model(model, field):
    def outputs(changes):
        network = dataclasses.replace(config.default(model).network, **changes)
        settings = dataclasses.replace(config.default(model), network=network)
        built = build(model, settings, Fields({"user": 5, "item": 6, "hour": 4}))
        for place, weight in enumerate(built.trainable_variables):
            weight.assign(tf.random.stateless_normal(weight.shape, [place, 1]))
        ids = tf.constant([[1, 6, 12], [4, 10, 14]])
        shapes = [tuple(weight.shape) for weight in built.trainable_variables]
        return shapes, built({"ids": ids}, training=True).numpy().round(3).tolist()

    assert outputs({field: OTHER[model][field]}) != outputs({})
