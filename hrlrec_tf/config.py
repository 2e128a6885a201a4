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
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from hrlrec_tf.errors import ConfigError

Weights = tuple[float, float, float, float]
REWARDS = ("click", "dwell", "diversity", "novelty")


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """Sizes and forms of the networks (Sec. 3.2, 3.3, 4.3)."""

    embedding_dim: int = 32  # fields, items, channels and actions
    state_dim: int = 128  # GRU units
    attention_heads: int = 4
    dropout: float = 0.3  # authors' code
    action_space: Literal["tanh", "l2"] = "tanh"  # eq. 3, 6; l2: unit length, so that Q cannot grow with it
    critic_head: Literal["relu", "linear", "softplus"] = "relu"  # eq. 5, 8
    critic_form: Literal["linear", "interaction"] = "linear"  # interaction: dQ/da depends on the state
    click_head: Literal["linear", "interaction"] = "linear"  # eq. 16; interaction adds a.d
    user_id: bool = True  # the user's id as a profile feature

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_range(self, "embedding_dim", 1, 4096)
        _check_range(self, "state_dim", 1, 8192)
        _check_range(self, "attention_heads", 1, 64)
        _check_range(self, "dropout", 0.0, 0.95)
        if self.embedding_dim % self.attention_heads:
            raise ConfigError(
                f"network.attention_heads must divide network.embedding_dim: got {self.attention_heads} and "
                f"{self.embedding_dim}; choose for instance 4 and 32"
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
        _check_choices(self)
        _check_range(self, "dwell_unit_seconds", 1e-3, 1e6)
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
    similarity: float = 1.0
    action_noise: float = 0.01  # standard deviation; authors' code
    behaviour_cloning: float = 0.0  # MSE from action to the displayed item; in the authors' code only
    bootstrap: Literal["actor", "logged"] = "actor"  # action of the TD target: eq. 9, or the authors' code

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_range(self, "gamma", 0.0, 1.0)
        for name in ("beta", "channel", "item", "ctr", "similarity", "action_noise", "behaviour_cloning"):
            _check_range(self, name, 0.0, 1e6)


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Optimisation (Sec. 3.4, 4.3; rates from the authors' code)."""

    batch_size: int = 256  # lists
    learning_rate: float = 2e-4
    gradient_clip: float = 5.0  # global norm
    embedding_l2: float = 0.0  # weight decay of embedding rows, applied to the rows of a batch
    actor_period: int = 10  # critics update this many times as often as actors (5 to 30 in the paper)
    target_tau: float = 0.1
    target_period: int = 30  # batches between soft target updates
    epochs: int = 30
    patience: int = 3  # epochs without a better validation AUC before training stops
    checkpoint_batches: int = 500  # between checkpoints inside an epoch: what a kill can cost
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("batch_size", 1, 1 << 20),
            ("learning_rate", 1e-9, 10.0),
            ("gradient_clip", 1e-6, 1e6),
            ("embedding_l2", 0.0, 1.0),
            ("actor_period", 1, 1 << 20),
            ("target_tau", 1e-6, 1.0),
            ("target_period", 1, 1 << 20),
            ("epochs", 1, 1 << 20),
            ("patience", 1, 1 << 20),
            ("checkpoint_batches", 1, 1 << 20),
            ("seed", 0, (1 << 31) - 1),
        ):
            _check_range(self, name, low, high)


@dataclasses.dataclass(frozen=True)
class Config:
    """All settings of one training run; `Config()` is the preset `paper`."""

    network: NetworkConfig = dataclasses.field(default_factory=NetworkConfig)
    rewards: RewardConfig = dataclasses.field(default_factory=RewardConfig)
    losses: LossConfig = dataclasses.field(default_factory=LossConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)

    def override(self, settings: Sequence[str]) -> "Config":
        """Applies `SECTION.FIELD=VALUE` settings, VALUE in JSON (a bare word is a string).

        Raises:
          ConfigError: a setting names no field, or its value is outside the field's range or type.
        """
        sections = self.to_dict()
        for setting in settings:
            key, equals, text = setting.partition("=")
            section, dot, field = key.partition(".")
            if not equals or not dot:
                raise ConfigError(f"setting {setting!r} is not SECTION.FIELD=VALUE, for instance losses.gamma=0.5")
            if section not in sections or field not in sections[section]:
                known = ", ".join(f"{name}.{key}" for name, fields in sections.items() for key in fields)
                raise ConfigError(f"setting {key!r} is unknown; known: {known}")
            sections[section][field] = _parse_value(text)
        return Config.from_dict(sections)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Plain nested dictionaries, ready for JSON."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """Stable JSON text."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_dict(cls, sections: Mapping[str, Mapping[str, Any]]) -> "Config":
        """Inverse of `to_dict`. Absent fields take their default; unknown ones raise ConfigError."""
        kinds = typing.get_type_hints(cls)
        built = {}
        for section, fields in sections.items():
            if section not in kinds:
                raise ConfigError(f"section {section!r} is unknown; known: {', '.join(kinds)}")
            built[section] = _build(section, kinds[section], fields)
        return cls(**built)

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
                dropout=0.1,
                action_space="l2",
                critic_head="linear",
                critic_form="interaction",
                click_head="interaction",
            ),
            rewards=RewardConfig(combine="linear", biases=(0.0,) * 4, weights=(1.0, 0.1, 0.05, 0.05)),
            losses=LossConfig(ctr=10.0),
            training=TrainingConfig(batch_size=64, learning_rate=1e-3, gradient_clip=50.0, epochs=5, patience=2),
        )
    raise ConfigError(f"preset {name!r} is unknown; choose paper or best")


def _build(section: str, kind: type, fields: Mapping[str, Any]) -> Any:
    hints = typing.get_type_hints(kind)
    values = {}
    for field, value in fields.items():
        if field not in hints:
            raise ConfigError(f"setting '{section}.{field}' is unknown; known: {', '.join(hints)}")
        values[field] = _coerce(f"{section}.{field}", hints[field], value)
    return kind(**values)


def _coerce(name: str, hint: Any, value: Any) -> Any:
    """Checks `value` against a field's type; JSON's lists become tuples and whole numbers floats."""
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint == Weights and isinstance(value, (list, tuple)):
        return tuple(_coerce(name, float, number) for number in value)
    if typing.get_origin(hint) is Literal and isinstance(value, str):
        return value
    if typing.get_origin(hint) in (dict, Mapping) and isinstance(value, Mapping):
        return {str(key): _coerce(f"{name}.{key}", Weights, weights) for key, weights in value.items()}
    raise ConfigError(f"setting '{name}' has the wrong type: got {value!r}, expected {getattr(hint, '__name__', hint)}")


def _parse_value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _check_choices(config: Any) -> None:
    for field, hint in typing.get_type_hints(type(config)).items():
        if typing.get_origin(hint) is Literal and getattr(config, field) not in typing.get_args(hint):
            choices = ", ".join(typing.get_args(hint))
            raise ConfigError(f"setting {field!r} is {getattr(config, field)!r}; choose one of {choices}")


def _check_range(config: Any, field: str, low: float, high: float) -> None:
    value = getattr(config, field)
    if not low <= value <= high:
        raise ConfigError(f"setting {field!r} is {value}; it must lie between {low} and {high}")
