"""What the benchmarks work on: random sessions of the paper's sizes, every row of them full."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from hrlrec_tf import config, features
from hrlrec_tf.config import Config
from hrlrec_tf.features import FeatureSpec, Kind

CHANNELS = tuple(f"channel{number}" for number in range(1, 5))  # of the paper
_PROFILE_TAGS = 20  # of a user
_TAGS = 2  # of an item, of the `max_tags` that a row can carry
_TAG_IDS, _COLUMN_IDS = 200, 100
_DAY_MS = 86_400_000
_NOW = 1_700_000_000_000


@dataclasses.dataclass(frozen=True)
class Workload:
    """Sizes of a training step; the defaults are the paper's.

    Attributes:
      batch: lists of a step.
      rows: S, behaviours that a state sees: history and placed rows.
      list_length: T, positions of a list.
      ids: users, and as many items.
      columns: optional categorical columns, found by prefix as those of a log.
      settings: further settings on top of the preset `paper`.
    """

    batch: int = 256
    rows: int = 50
    list_length: int = 10
    ids: int = 20_000
    columns: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    @property
    def spec(self) -> FeatureSpec:
        """The sessions' features."""
        return FeatureSpec(
            list_length=self.list_length,
            history_length=self.rows - self.list_length + 1,
            optional=dict.fromkeys(self.columns, Kind.STRING),
        )

    @property
    def config(self) -> Config:
        """The paper's settings, with an actor update in each step."""
        return config.preset("paper").override(["training.actor_period=1", *self.settings])

    @property
    def sizes(self) -> dict[str, int]:
        """Vocabulary name -> number of ids."""
        sizes = {"user_id": self.ids, "item_id": self.ids, "channel": len(CHANNELS) + 2, "tags": _TAG_IDS}
        return sizes | dict.fromkeys(self.columns, _COLUMN_IDS)


# So small that a whole benchmark takes seconds: to see that it runs.
QUICK = Workload(
    batch=8,
    rows=6,
    list_length=3,
    ids=50,
    settings=("network.embedding_dim=8", "network.state_dim=12", "network.attention_heads=2"),
)


def random_batch(workload: Workload, seed: int = 0) -> dict[str, npt.NDArray]:
    """A batch as `SessionReader.transform_lists` gives it, of ids and numbers."""
    rng, spec, count = np.random.default_rng(seed), workload.spec, workload.batch
    batch = {
        name: _values(rng, name, kind, _shape(spec, name, count), workload)
        for name, kind in spec.session.items()
        if name != "request_id"
    }
    batch["profile_channel"] = np.tile(np.arange(1, len(CHANNELS) + 1), (count, 1))
    for name in ("impressions", "clicks"):
        batch[f"profile_channel_{name}"] = batch[f"profile_tag_{name}"][:, : len(CHANNELS)]
    batch["timestamp"] = _NOW + rng.integers(0, _DAY_MS, count)
    batch["history_timestamp"] = batch["timestamp"][:, None] - rng.integers(
        1, 30 * _DAY_MS, (count, spec.history_length)
    )
    batch["position"] = np.tile(np.arange(1, spec.list_length + 1), (count, 1))
    batch["weight"] = np.ones((count, spec.list_length), np.float32)
    return batch


def _shape(spec: FeatureSpec, name: str, count: int) -> tuple[int, ...]:
    if name in spec.request:
        return (count,)
    if name in features.PROFILE:
        return (count, _PROFILE_TAGS)
    rows = spec.list_length if name in spec.list_rows else spec.history_length
    return (count, rows, spec.max_tags) if name in ("tags", "history_tags") else (count, rows)


def _values(rng: np.random.Generator, name: str, kind: Kind, shape: tuple[int, ...], workload: Workload) -> npt.NDArray:
    base = name.removeprefix(features.HISTORY)
    if kind is Kind.FLOAT:
        return rng.uniform(0, 30, shape).astype(np.float32)
    if kind is Kind.INT:
        return rng.integers(0, 2 if base in ("clicks", "explored") else 5, shape)
    vocabulary = {"profile_channel": "channel", "profile_tag": "tags"}.get(name, base)
    ids = rng.integers(1, workload.sizes[vocabulary] - 1, shape)
    if base == "tags":
        ids[..., _TAGS:] = 0
    return ids


def random_sessions(workload: Workload, seed: int = 0) -> Mapping[str, npt.NDArray]:
    """The same as raw features, flat in each list: what `hrlrec prepare` writes."""
    batch = random_batch(workload, seed)
    raw: dict[str, npt.NDArray] = {"request_id": np.arange(workload.batch).astype(str)}
    for name, kind in workload.spec.session.items():
        if name != "request_id":
            values = batch[name].reshape(workload.batch, -1)
            raw[name] = np.where(values > 0, values.astype(str), "") if kind is Kind.STRING else values
    return raw
