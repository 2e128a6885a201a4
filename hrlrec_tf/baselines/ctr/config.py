"""Settings of the click prediction baselines; every default stands here.

The recipe is BARS's (Zhu et al., "BARS: Towards Open Benchmarking for Recommender Systems", SIGIR 2022): Adam, the
learning rate cut after every epoch without a better validation AUC, early stopping, L2 on the whole embedding tables,
a gradient norm of at most 10. Its batch of 4,096 rows and its penalties are made for millions of rows; the batch here
is smaller, rates and penalties were chosen by AUC on the validation slices of MovieLens-100K and of a KuaiRand sample.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from hrlrec_tf.errors import ConfigError
from hrlrec_tf.settings import Sections, build_sections, check_range


@dataclasses.dataclass(frozen=True)
class HistoryConfig:
    """How as-of click rates are formed."""

    prior_impressions: float = 10.0  # that the mean click rate of the training rows is worth

    def __post_init__(self) -> None:
        check_range(self, "prior_impressions", 1e-3, 1e6)


@dataclasses.dataclass(frozen=True)
class InputConfig(HistoryConfig):
    """What a model sees of a row."""

    fields: tuple[str, ...] = ()  # names of the features; none: all that HRL-Rec sees of the row, and user_id
    history: bool = False  # also pooled history: click rates and counts as of the list


@dataclasses.dataclass(frozen=True)
class LinearConfig:
    """LR has no sizes."""


@dataclasses.dataclass(frozen=True)
class EmbeddingConfig:
    """FM: one embedding per id."""

    embedding_dim: int = 16

    def __post_init__(self) -> None:
        check_range(self, "embedding_dim", 1, 4096)


@dataclasses.dataclass(frozen=True)
class DenseConfig(EmbeddingConfig):
    """NFM, Wide&Deep, DeepFM: embeddings and a stack of dense layers."""

    hidden_units: tuple[int, ...] = (128, 128)
    dropout: float = 0.0
    batch_norm: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "dropout", 0.0, 0.95)
        for units in self.hidden_units:
            if not 1 <= units <= 1 << 16:
                raise ConfigError(f"setting 'hidden_units' holds {units}; every size must lie between 1 and 65536")


@dataclasses.dataclass(frozen=True)
class AfmConfig(EmbeddingConfig):
    """AFM: attention over the products of fields."""

    attention_units: int = 16
    attention_dropout: float = 0.0  # of the attention weights
    pooling_dropout: float = 0.0  # of the attended sum

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "attention_units", 1, 1 << 16)
        check_range(self, "attention_dropout", 0.0, 0.95)
        check_range(self, "pooling_dropout", 0.0, 0.95)


@dataclasses.dataclass(frozen=True)
class AutoIntConfig(DenseConfig):
    """AutoInt: self-attention over the fields; with hidden units AutoInt+, with a dense stack beside it."""

    hidden_units: tuple[int, ...] = ()
    attention_layers: int = 2
    attention_units: int = 32  # of all heads together
    attention_heads: int = 2
    residual: bool = True
    scale: bool = True  # dot products over the root of a head's size
    layer_norm: bool = False
    wide: bool = True  # a linear term beside the attention

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "attention_layers", 1, 64)
        check_range(self, "attention_units", 1, 1 << 16)
        check_range(self, "attention_heads", 1, 1 << 16)
        if self.attention_units % self.attention_heads:
            raise ConfigError(
                f"network.attention_heads must divide network.attention_units: got {self.attention_heads} and "
                f"{self.attention_units}; choose for instance 2 and 32"
            )


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Optimisation, as in BARS."""

    batch_size: int = 1024  # rows
    learning_rate: float = 1e-3
    plateau_cut: float = 0.1  # factor of the learning rate after an epoch without a better validation AUC
    patience: int = 2  # such epochs in a row before training stops
    epochs: int = 100
    embedding_l2: float = 1e-4  # lambda: lambda / 2 times the squared norm of the whole tables joins the loss
    gradient_clip: float = 10.0  # global norm
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("batch_size", 1, 1 << 24),
            ("learning_rate", 1e-9, 10.0),
            ("plateau_cut", 1e-3, 1.0),
            ("patience", 1, 1 << 20),
            ("epochs", 1, 1 << 20),
            ("embedding_l2", 0.0, 1e3),
            ("gradient_clip", 1e-6, 1e6),
            ("seed", 0, (1 << 31) - 1),
        ):
            check_range(self, name, low, high)


@dataclasses.dataclass(frozen=True)
class CtrConfig(Sections):
    """All settings of one training run; the model decides about the sections' fields, see `default`."""

    inputs: HistoryConfig
    network: LinearConfig | EmbeddingConfig
    training: TrainingConfig


_DEFAULTS = {
    "history-lr": CtrConfig(HistoryConfig(), LinearConfig(), TrainingConfig(learning_rate=1e-2, embedding_l2=1e-5)),
    "lr": CtrConfig(InputConfig(), LinearConfig(), TrainingConfig(learning_rate=1e-2, embedding_l2=1e-5)),
    "fm": CtrConfig(InputConfig(), EmbeddingConfig(), TrainingConfig()),
    "nfm": CtrConfig(InputConfig(), DenseConfig(), TrainingConfig()),
    "afm": CtrConfig(InputConfig(), AfmConfig(), TrainingConfig(learning_rate=1e-2)),
    "wide-deep": CtrConfig(InputConfig(), DenseConfig(), TrainingConfig(embedding_l2=1e-3)),
    "deepfm": CtrConfig(InputConfig(), DenseConfig(), TrainingConfig(embedding_l2=1e-3)),
    "autoint": CtrConfig(InputConfig(), AutoIntConfig(), TrainingConfig(embedding_l2=1e-3)),
}
MODELS = tuple(_DEFAULTS)


def default(model: str) -> CtrConfig:
    """The settings that a model has unless told otherwise; raises ConfigError for an unknown name."""
    if model not in _DEFAULTS:
        raise ConfigError(f"model {model!r} is no click prediction baseline; choose one of {', '.join(MODELS)}")
    return _DEFAULTS[model]


def from_dict(model: str, sections: Mapping[str, Mapping[str, Any]]) -> CtrConfig:
    """Inverse of `CtrConfig.to_dict`; absent sections and fields take their default."""
    config = default(model)
    known = config.to_dict()
    filled = {section: {**known.get(section, {}), **fields} for section, fields in sections.items()}
    return dataclasses.replace(config, **build_sections(config.kinds(), filled))
