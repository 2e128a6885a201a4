"""Settings of the RL competitors; every default stands here.

What a competitor shares with HRL-Rec has the value of HRL-Rec's preset `best`, so that Table 3 compares models and not
settings. What it lacks is no setting of it: such fields stand in `UNUSED`, and nobody can set them.

| model | state | learns | levels | diversity, novelty rewards |
|---|---|---|---|---|
| `dqn-lr` | linear | Q of each candidate | one | no |
| `dqn-gru` | GRU | Q of each candidate | one | no |
| `double-dueling-dqn` | GRU | Q of each candidate, double and dueling | one | no |
| `ddpg` | GRU | actor and critic | one | no |
| `ddpg-hierarchical` | GRU | actor and critic | two | yes |
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from hrlrec_tf.config import Config, preset
from hrlrec_tf.errors import ConfigError

_CLICK_LOSS = ("losses.ctr", "losses.action_ctr", "network.click_head")
_CHANNEL_LEVEL = ("losses.channel", "network.channel_constraint", "network.channel_weight")
_ACTOR = (
    *("losses.beta", "losses.similarity", "losses.action_noise", "losses.behaviour_cloning", "losses.bootstrap"),
    *("network.critics", "training.actor_period"),
)
_GRU = (*(f"network.{name}" for name in ("attention_heads", "dropout", "fields", "sequence", "window")),)


class RlConfig(Config):
    """Settings of HRL-Rec less those in `UNUSED`, which keep the values that `default` gives them."""

    UNUSED: ClassVar[Collection[str]] = _CLICK_LOSS

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Plain nested dictionaries of the fields that count."""
        return {
            section: {name: value for name, value in fields.items() if f"{section}.{name}" not in self.UNUSED}
            for section, fields in super().to_dict().items()
        }

    def rebuild(self, sections: Mapping[str, Mapping[str, Any]]) -> "RlConfig":
        """Inverse of `to_dict`, for settings of the same model; absent fields take this one's value."""
        whole = {section: {**fields, **sections.get(section, {})} for section, fields in super().to_dict().items()}
        return super().rebuild({**sections, **whole})


class HierarchicalConfig(RlConfig):
    """Of `ddpg-hierarchical`."""


class FlatConfig(RlConfig):
    """Of `ddpg`, which has no channel level."""

    UNUSED = (*_CLICK_LOSS, *_CHANNEL_LEVEL)


class QConfig(RlConfig):
    """Of the DQNs with a GRU, which have no actor."""

    UNUSED = (*_CLICK_LOSS, *_CHANNEL_LEVEL, *_ACTOR)


class LinearConfig(RlConfig):
    """Of `dqn-lr`, whose state is linear."""

    UNUSED = (*QConfig.UNUSED, *_GRU)


_KINDS: Mapping[str, type[RlConfig]] = {
    "dqn-lr": LinearConfig,
    "dqn-gru": QConfig,
    "double-dueling-dqn": QConfig,
    "ddpg": FlatConfig,
    "ddpg-hierarchical": HierarchicalConfig,
}
MODELS = tuple(_KINDS)


def default(model: str) -> RlConfig:
    """The settings that a model has unless told otherwise; raises ConfigError for an unknown name."""
    if model not in _KINDS:
        raise ConfigError(f"model {model!r} is no RL baseline; choose one of {', '.join(MODELS)}")
    best = preset("best")
    network = dataclasses.replace(best.network, click_head="linear")
    rewards = best.rewards
    if model != "ddpg-hierarchical":  # clicks and dwell time alone
        rewards = dataclasses.replace(rewards, weights=(*rewards.weights[:2], 0.0, 0.0))
    if model == "dqn-lr":
        network = dataclasses.replace(network, attention_heads=1, dropout=0.0)
    losses = dataclasses.replace(best.losses, ctr=0.0, action_ctr=0.0)
    return _KINDS[model](network, rewards, losses, best.training)
