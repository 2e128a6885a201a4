"""Settings of the model and its training: the paper's on one page, and where we depart from them.

Every default of the package stands here and nowhere else. `Config()` is the preset `paper`: the paper where it speaks,
the authors' released code where it is silent. `preset("best")` lists each departure as one field.

Equation and section numbers are those of "Hierarchical Reinforcement Learning for Integrated Recommendation" (AAAI
2021).
"""

import dataclasses
import json
import math
import typing
from collections.abc import Mapping
from typing import Any, Literal

from hrlrec_tf.errors import ConfigError
from hrlrec_tf.settings import Sections, build_sections, check_choices, check_range

Weights = tuple[float, float, float, float]
REWARDS = ("click", "dwell", "diversity", "novelty")
WARM = ("training.epochs=1",)  # settings of a training that goes on from yesterday's model, unless others are given


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """Sizes and forms of the networks (Sec. 3.2, 3.3, 4.3)."""

    embedding_dim: int = 32  # fields, items, channels and actions
    state_dim: int = 128  # GRU units
    attention_heads: int = 4
    dropout: float = 0.3  # authors' code
    fields: Literal["attention", "dense"] = "attention"  # eq. 1; dense: Table 4's ablation
    sequence: Literal["gru", "mean"] = "gru"  # eq. 2; mean: average pooling, Table 4's ablation
    window: Literal["fixed", "sliding"] = "fixed"  # sliding: exactly m rows before each position, a pass for each
    sequence_length: int = 0  # m, rows a state sees; 0: as many as the sessions carry (50 by default)
    action_space: Literal["tanh", "l2"] = "tanh"  # eq. 3, 6; l2: unit length, so that Q cannot grow with it
    critic_head: Literal["relu", "linear", "softplus"] = "relu"  # eq. 5, 8
    critic_form: Literal["linear", "interaction"] = "linear"  # interaction: dQ/da depends on the state
    # The "double strategy" that Sec. 3.4 adopts without a formula. 1: as eq. 9 writes it, the target actor selects and
    # the target critic evaluates. 2: TD3's clipped double critics, the smaller of two target critics' values counts.
    critics: Literal[1, 2] = 1
    # eq. 16; interaction adds a.d, state what the state itself says of the item, counts how often the user was shown,
    # and clicked, its channel and tags. Each has what those before it have.
    click_head: Literal["linear", "interaction", "state", "counts"] = "linear"
    channel_constraint: Literal["hard", "soft"] = "hard"  # at ranking: Sec. 3.3, or retrieval.select_softly
    channel_weight: float = 1.0  # of the channel selector's wish under the soft constraint
    # At ranking: share of exploration that draws a channel, in which the policy picks the item; the rest draws an item.
    channel_exploration: float = 0.0
    # As a profile feature. Sec. 3.2 has "long-term profiles"; under a split by time an id is learnt by heart.
    user_id: bool = False
    # Items that the training lists show less often share one embedding: what little is known of them lets the search
    # for the best of hundreds of candidates find the luckiest.
    min_item_impressions: int = 0

    def __post_init__(self) -> None:
        check_choices(self)
        check_range(self, "embedding_dim", 1, 4096)
        check_range(self, "state_dim", 1, 8192)
        check_range(self, "attention_heads", 1, 64)
        check_range(self, "dropout", 0.0, 0.95)
        check_range(self, "sequence_length", 0, 1 << 16)
        check_range(self, "channel_weight", 0.0, 1e6)
        check_range(self, "min_item_impressions", 0, 1 << 30)
        check_range(self, "channel_exploration", 0.0, 1.0)
        if self.embedding_dim % self.attention_heads:
            raise ConfigError(
                f"network.attention_heads must divide network.embedding_dim: got {self.attention_heads} and "
                f"{self.embedding_dim}; choose for instance 4 and 32"
            )
        if self.channel_constraint == "hard" and self.channel_weight != type(self).channel_weight:
            raise ConfigError(
                f"network.channel_weight is {self.channel_weight}, which network.channel_constraint=hard ignores; "
                f"choose soft, or leave the weight at {type(self).channel_weight}"
            )


@dataclasses.dataclass(frozen=True)
class RewardConfig:
    """Item reward (eq. 7), in the order click, dwell, diversity, novelty.

    `power`: sum of (r_i + bias_i) ** weight_i, the paper's. `linear`: sum of weight_i * (r_i + bias_i).
    `channel_weights` overrides `weights` for single channels (the paper's lambda of the channel constraint).
    """

    combine: Literal["power", "linear"] = "power"
    biases: Weights = (0.0, 1.0, 1.0, 1.0)
    weights: Weights = (1.0, 0.2, 0.1, 0.1)  # clicks dominate (Sec. 4.5)
    channel_weights: Mapping[str, Weights] = dataclasses.field(default_factory=dict)
    dwell_unit_seconds: float = 60.0

    def __post_init__(self) -> None:
        check_choices(self)
        check_range(self, "dwell_unit_seconds", 1e-3, 1e6)
        for name, weights in {"weights": self.weights, **self.channel_weights}.items():
            if len(weights) != len(REWARDS) or len(self.biases) != len(REWARDS):
                raise ConfigError(f"rewards.{name} and rewards.biases need four numbers ({', '.join(REWARDS)})")
            for reward, weight, bias in zip(REWARDS, weights, self.biases, strict=True):
                if not (math.isfinite(weight) and math.isfinite(bias)):
                    raise ConfigError(
                        f"rewards.{name}: {reward} needs finite numbers, got weight {weight}, bias {bias}"
                    )
                if bias < 0:
                    raise ConfigError(f"rewards.biases: {reward} is {bias}; the base of eq. 7 must not be negative")
                if self.combine == "power" and bias == 0 and weight <= 0:
                    raise ConfigError(
                        f"rewards.{name}: {reward} raises a base of 0 to {weight}; give a bias or a weight above 0"
                    )


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Weights of the four losses and how they are formed (Sec. 3.4, eq. 9 to 18)."""

    gamma: float = 0.3  # Sec. 4.3
    beta: float = 1.0  # eq. 11, 14
    channel: float = 5.0  # eq. 18
    item: float = 5.0
    ctr: float = 1.0
    action_ctr: float = 0.0  # where the click head reads states: eq. 15 again, on the cosines that retrieval sorts by
    similarity: float = 1.0
    action_noise: float = 0.01  # standard deviation; authors' code
    behaviour_cloning: float = 0.0  # MSE from action to the displayed item; in the authors' code only
    # Action of the TD target at t + 1: the target actor's (eq. 9), the displayed item (authors' code), or the real item
    # nearest to the target actor's action among the batch's (item level: of the logged channel).
    bootstrap: Literal["actor", "logged", "retrieved"] = "actor"
    # Above 0: critic and click losses weigh rows with min(this, 1 / propensity); see propensity.py. The other losses do
    # not: -Q and similarity are about the actor's own choice, cloning imitates the log as it is.
    propensity_cap: float = 0.0

    def __post_init__(self) -> None:
        check_choices(self)
        check_range(self, "gamma", 0.0, 1.0)
        for name in ("beta", "channel", "item", "ctr", "action_ctr", "similarity", "action_noise", "behaviour_cloning"):
            check_range(self, name, 0.0, 1e6)
        check_range(self, "propensity_cap", 0.0, 1e6)
        if 0 < self.propensity_cap <= 1:
            raise ConfigError(
                f"losses.propensity_cap is {self.propensity_cap}, but the weights that it caps, 1 / propensity, are at "
                "least 1; choose a cap above 1, or 0 for no weights"
            )
        self._check_that_something_trains()

    def _check_that_something_trains(self) -> None:
        for level in ("channel", "item"):
            weight = getattr(self, level)
            if not (self.beta * weight or self.ctr or self.similarity or self.behaviour_cloning):
                raise ConfigError(
                    f"losses: nothing trains the {level} level's actor; give one of losses.ctr, losses.similarity, "
                    f"losses.behaviour_cloning a weight above 0, or both losses.beta and losses.{level}"
                )
            if not (weight or self.ctr):
                raise ConfigError(
                    f"losses.ctr is 0, so Q predicts clicks, and losses.{level} is 0, so nothing trains the {level} "
                    f"level's Q; give losses.{level} a weight above 0, or losses.ctr where the model has it"
                )


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Optimisation (Sec. 3.4, 4.3; rates from the authors' code)."""

    batch_size: int = 256  # lists
    learning_rate: float = 2e-4
    gradient_clip: float = 5.0  # global norm
    embedding_l2: float = 0.0  # weight decay of embedding rows, applied to the rows of a batch
    hidden_ids: float = 0.0  # share of user and item ids that training batches show as unknown
    actor_period: int = 10  # critics update this many times as often as actors (5 to 30 in the paper)
    target_tau: float = 0.1
    target_period: int = 30  # batches between soft target updates
    keep: Literal["online", "target"] = "online"  # networks that become the model; target: a moving average of weights
    epochs: int = 30
    patience: int = 3  # epochs without a better validation AUC before training stops
    checkpoint_batches: int = 500  # between checkpoints inside an epoch: what a kill can cost
    # In training that goes on from a model: values that the new sessions do not hold keep their ids and rows, or lose
    # them.
    vanished: Literal["keep", "drop"] = "keep"
    seed: int = 0

    def __post_init__(self) -> None:
        check_choices(self)
        for name, low, high in (
            ("batch_size", 1, 1 << 20),
            ("learning_rate", 1e-9, 10.0),
            ("gradient_clip", 1e-6, 1e6),
            ("embedding_l2", 0.0, 1.0),
            ("hidden_ids", 0.0, 1.0),
            ("actor_period", 1, 1 << 20),
            ("target_tau", 1e-6, 1.0),
            ("target_period", 1, 1 << 20),
            ("epochs", 1, 1 << 20),
            ("patience", 1, 1 << 20),
            ("checkpoint_batches", 1, 1 << 20),
            ("seed", 0, (1 << 31) - 1),
        ):
            check_range(self, name, low, high)


@dataclasses.dataclass(frozen=True)
class Config(Sections):
    """All settings of one training run; `Config()` is the preset `paper`."""

    network: NetworkConfig = dataclasses.field(default_factory=NetworkConfig)
    rewards: RewardConfig = dataclasses.field(default_factory=RewardConfig)
    losses: LossConfig = dataclasses.field(default_factory=LossConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        if self.losses.action_ctr and not (self.losses.ctr and self.network.click_head in ("state", "counts")):
            raise ConfigError(
                f"losses.action_ctr is {self.losses.action_ctr}, which joins losses.ctr where "
                f"network.click_head is state or counts; got losses.ctr={self.losses.ctr} and "
                f"network.click_head={self.network.click_head}: set losses.action_ctr=0"
            )

    @property
    def click_score(self) -> Literal["click", "q"]:
        """What predicts clicks: the click heads, or Q where no loss trains them (Table 4, "- L_c")."""
        return "click" if self.losses.ctr else "q"

    @classmethod
    def from_dict(cls, sections: Mapping[str, Mapping[str, Any]]) -> "Config":
        """Inverse of `to_dict`. Absent fields take their default; unknown ones raise ConfigError."""
        return cls(**build_sections(typing.get_type_hints(cls), sections))

    @classmethod
    def from_json(cls, text: str) -> "Config":
        """Inverse of `to_json`."""
        return cls.from_dict(json.loads(text))


def preset(name: str) -> Config:
    """The named preset.

    Args:
      name: `paper` or `best`.

    Raises:
      ConfigError: there is no such preset.
    """
    if name == "paper":
        return Config()
    if name == "best":
        return Config(
            network=NetworkConfig(
                dropout=0.2,
                action_space="l2",
                critic_head="linear",
                critic_form="interaction",
                click_head="counts",
                min_item_impressions=20,
            ),
            rewards=RewardConfig(combine="linear", biases=(0.0,) * 4, weights=(1.0, 0.1, 0.05, 0.05)),
            losses=LossConfig(ctr=10.0, action_ctr=10.0),
            training=TrainingConfig(
                batch_size=64,
                learning_rate=1e-3,
                gradient_clip=50.0,
                hidden_ids=0.3,
                target_period=10,
                keep="target",
                epochs=10,
                patience=2,
            ),
        )
    raise ConfigError(f"preset {name!r} is unknown; choose paper or best")
