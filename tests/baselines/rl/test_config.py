"""Settings of the RL competitors: what they share with HRL-Rec, what they lack, and that each is refused by name."""

import dataclasses

import pytest

from hrlrec_tf import models
from hrlrec_tf.baselines.rl import config
from hrlrec_tf.baselines.rl.designs import DESIGNS
from hrlrec_tf.config import Config, preset
from hrlrec_tf.errors import ConfigError

FLAT = [model for model in config.MODELS if model != "ddpg-hierarchical"]
# What may differ from preset `best`, by what the table of the paper says.
LACKS = {
    "ddpg-hierarchical": {"losses.ctr", "losses.action_ctr", "network.click_head"},
    "ddpg": {"rewards.weights"},
    "dqn-gru": {"rewards.weights"},
    "double-dueling-dqn": {"rewards.weights"},
    "dqn-lr": {"rewards.weights", "network.attention_heads", "network.dropout"},
}


def flat(settings: Config) -> dict:
    """Every field of a Config, whether it counts or not."""
    return {f"{part}.{name}": v for part, each in dataclasses.asdict(settings).items() for name, v in each.items()}


def test_names():
    assert set(config.MODELS) == set(DESIGNS) == set(LACKS) and set(config.MODELS) < set(models.NAMES)
    assert all(models.settings(model) == config.default(model) for model in config.MODELS)
    with pytest.raises(ConfigError, match="'hrl-rec' is no RL baseline; choose one of dqn-lr, dqn-gru,"):
        config.default("hrl-rec")


@pytest.mark.parametrize("model", config.MODELS)
def test_differs_from_hrl_rec_in_what_the_table_says_alone(model):
    """The comparison is of models."""
    mine, best = flat(config.default(model)), flat(preset("best"))
    differing = {name for name, value in best.items() if mine[name] != value}
    assert differing == LACKS["ddpg-hierarchical"] | LACKS[model]


@pytest.mark.parametrize("model", config.MODELS)
def test_diversity_and_novelty_are_rewarded_in_the_hierarchy_alone(model):
    click, dwell, diversity, novelty = config.default(model).rewards.weights
    assert click > dwell > 0 and (diversity > 0) == (novelty > 0) == (model not in FLAT)


@pytest.mark.parametrize("model", config.MODELS)
def test_round_trip(model):
    changed = config.default(model).override(["training.seed=3", "network.state_dim=16", "losses.gamma=0.5"])
    assert (changed.training.seed, changed.network.state_dim, changed.losses.gamma) == (3, 16, 0.5)
    assert config.default(model).rebuild(changed.to_dict()) == changed
    assert config.default(model).rebuild({}) == config.default(model)
    assert changed.override(["training.seed=0", "network.state_dim=128", "losses.gamma=0.3"]) == config.default(model)
    assert changed.click_score == "q" and not models.predicts_probability(changed)


@pytest.mark.parametrize("model", config.MODELS)
def test_what_a_model_lacks_is_no_setting_of_it(model):
    known = config.default(model).to_dict()
    for name in config.default(model).UNUSED:
        section, field = name.split(".")
        assert name in flat(Config()) and field not in known[section]
        with pytest.raises(ConfigError, match=f"setting '{name}' is unknown; known: network.embedding_dim"):
            config.default(model).override([f"{name}=1"])


@pytest.mark.parametrize(
    ("model", "setting", "sentence"),
    [
        ("dqn-gru", "losses.channel=1", "'losses.channel' is unknown"),
        ("dqn-gru", "training.actor_period=2", "'training.actor_period' is unknown"),
        ("dqn-lr", "network.sequence=mean", "'network.sequence' is unknown"),
        ("ddpg", "losses.ctr=1", "'losses.ctr' is unknown"),
        ("ddpg", "losses.gamma=2", "'gamma' is 2.0; it must lie between"),
        ("dqn-gru", "losses.item=0", "nothing trains the item level's Q"),
    ],
)
def test_refused(model, setting, sentence):
    with pytest.raises(ConfigError, match=sentence):
        config.default(model).override([setting])


def test_presets_are_hrl_recs():
    with pytest.raises(ConfigError, match="ddpg has no presets, got preset 'paper'"):
        models.settings("ddpg", "paper")
