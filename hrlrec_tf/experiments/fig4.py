"""Figure 4: how stable channel shares are while data and model change every day (Sec. 4.8).

Consecutive versions of a model replay one fixed panel of requests, so that nothing but the model moves. A version is
compared with the one of the same day a week later, hour by hour: |later - earlier| / earlier of a channel's share. A
policy that shows everybody the same is perfectly stable, so how much channel mixes differ between users, and how much
users click, stand beside every figure.
"""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hrlrec_tf import models
from hrlrec_tf.config import WARM
from hrlrec_tf.errors import ConfigError, TrainingError
from hrlrec_tf.evaluation import significance
from hrlrec_tf.experiments import formatting, trials
from hrlrec_tf.experiments.daily import FIRST_DAYS, Chain
from hrlrec_tf.simulator.config import WorldConfig

WEEK = 7
MODELS = {"hrl-rec": "HRL-Rec", "dqn-gru": "DQN (GRU)"}

Floats = npt.NDArray[np.float64]


class Published(NamedTuple):
    """What the paper prints of its video channel: relative changes."""

    mean_change: float
    max_change: float


PAPER = {"hrl-rec": Published(0.014, 0.045), "dqn-gru": Published(0.117, 0.180)}


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What is run.

    Attributes:
      world: of seed 0: a week to learn from, two adjacent weeks, and perhaps a third one with shocks.
      out: folder.
      seeds: of worlds and trainings.
      settings: `SECTION.FIELD=VALUE` of both models.
      warm: the same of their nightly updates alone.
    """

    world: WorldConfig
    out: pathlib.Path
    seeds: Sequence[int]
    settings: Sequence[str] = ()
    warm: Sequence[str] = WARM

    def __post_init__(self) -> None:
        for model in MODELS:  # told now, not after a week of the feed
            models.settings(model, None).override([*self.settings, *self.warm])
        if self.world.days < FIRST_DAYS + 2 * WEEK:
            raise ConfigError(
                f"days must be at least {FIRST_DAYS + 2 * WEEK}: a week to learn from and two to compare, got "
                f"{self.world.days}"
            )

    def chain(self, model: str, seed: int) -> Chain:
        """A model's life in the world of a seed."""
        world = dataclasses.replace(self.world, seed=self.world.seed + seed)
        return Chain(world, model, self.out / f"seed-{seed}" / model, tuple(self.settings), tuple(self.warm))


def reproduce(experiment: Experiment, jobs: int) -> dict[str, Any]:
    """Runs what is not finished; returns what is known afterwards.

    Returns:
      exhibit, title, seeds, users, `rows` (per model and channel, see `_row`), `models` (see `_model`), `series` (model
      -> channel -> week -> shares by hour of the week, of the first seed), `verdict` and `failed`.

    Raises:
      ConfigError: the folder holds something else.
      TrainingError: no chain is finished.
    """
    chains = [experiment.chain(model, seed) for seed in experiment.seeds for model in MODELS]
    failed = trials.execute_all(chains, jobs)
    finished: dict[str, list[Chain]] = {model: [] for model in MODELS}
    for chain in chains:
        if all(chain.trial(day) is not None for day in chain.days):
            finished[chain.model].append(chain)
    known = {model: each for model, each in finished.items() if each}
    if not known:
        raise TrainingError(f"no chain of days is finished: {next(iter(failed.values()), 'none was run')}")
    rows = [
        _row(model, channel, chains)
        for model, chains in known.items()
        for channel in range(len(experiment.world.channel_names))
    ]
    return {
        "exhibit": "fig4",
        "title": "Channel shares under daily updates, in the simulator",
        "seeds": list(experiment.seeds),
        "users": experiment.world.users,
        "shocks": [dataclasses.asdict(shock) for shock in experiment.world.shocks],
        "rows": rows,
        "models": [_model(model, chains) for model, chains in known.items()],
        "series": {model: _series(chains[0]) for model, chains in known.items()},
        "verdict": verdict(rows),
        "failed": failed,
    }


def weekly_changes(shares: Floats) -> Floats:
    """Relative change of each channel's share from a version to that of the same day a week later: [days, hours, C].

    Args:
      shares: [days, 2, hours, users, C] rows that consecutive versions show to the panel.

    Returns:
      0 where a channel was shown in neither week, NaN where it was in the later one only: no number is relative to 0.
    """
    by_hour = _by_hour(shares)
    earlier, later = by_hour[:-WEEK], by_hour[WEEK:]
    change = np.abs(later - earlier)
    return np.divide(change, earlier, out=np.where(change > 0, np.nan, 0.0), where=earlier > 0)


def noise_floor(shares: Floats) -> Floats:
    """Relative difference between what one version shows to the two halves of the panel: [days, hours, C].

    Halves are other users at the same hour, so this is what sampling alone does at half the panel's size.
    """
    first, second = (_by_hour(shares[:, half : half + 1]) for half in (0, 1))
    return 2 * np.abs(first - second) / np.maximum(first + second, 1e-9)


def between_user_variance(shares: Floats) -> float:
    """Variance over the panel's users of a channel's share, averaged over channels and versions."""
    by_user = shares.sum(axis=2)  # [days, 2, users, C]
    own = by_user / by_user.sum(axis=-1, keepdims=True)
    return float(own.reshape(len(own), -1, own.shape[-1]).var(axis=1).mean())


def _by_hour(shares: Floats) -> Floats:
    """[days, hours, C]: shares of the channels at each hour."""
    summed: Floats = shares.sum(axis=(1, 3))
    return summed / summed.sum(axis=-1, keepdims=True)


def _shares(chain: Chain, first: int, weeks: int) -> Floats:
    days = range(first, min(first + weeks * WEEK, chain.days.stop))
    found = [chain.shares(day) for day in days]
    return np.stack([each for each in found if each is not None])


def _row(model: str, channel: int, chains: Sequence[Chain]) -> dict[str, Any]:
    """One channel under one model, averaged over seeds; `shock_` figures compare the third week with the second.

    `new_hours` and `shock_new_hours` are shares of hours without a change: the channel was not shown a week earlier.
    """
    figures = []
    for chain in chains:
        shares = _shares(chain, FIRST_DAYS, 2)
        figure = {
            "share": float(_by_hour(shares)[..., channel].mean()),
            **_figures_of(weekly_changes(shares)[..., channel], ""),
            "noise_floor": float(noise_floor(shares)[..., channel].mean()),
        }
        if chain.days.stop > FIRST_DAYS + 2 * WEEK:
            figure |= _figures_of(weekly_changes(_shares(chain, FIRST_DAYS + WEEK, 2))[..., channel], "shock_")
        figures.append(figure)
    means = {name: _mean([figure[name] for figure in figures]) for name in figures[0]}
    low, high = significance.t_interval(np.array([figure["mean_change"] for figure in figures]))
    labels = {
        "model": model,
        "label": MODELS[model],
        "channel": chains[0].world.channel_names[channel],
        "seeds": len(chains),
    }
    return {**labels, **means, "mean_change_low": max(low, 0.0), "mean_change_high": high}  # a change is >= 0


def _figures_of(change: Floats, prefix: str) -> dict[str, float]:
    known = change[~np.isnan(change)]
    return {
        f"{prefix}mean_change": _mean(known),
        f"{prefix}max_change": float(known.max()) if known.size else math.nan,
        f"{prefix}new_hours": float(np.isnan(change).mean()),
    }


def _mean(values: npt.ArrayLike) -> float:
    """Mean of what is known; NaN where nothing is."""
    values = np.asarray(values, np.float64)
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def _model(model: str, chains: Sequence[Chain]) -> dict[str, Any]:
    """What users did, and how much their channel mixes differ, under one model."""
    days = range(FIRST_DAYS, FIRST_DAYS + 2 * WEEK)
    counts = [[trial for day in days if (trial := chain.trial(day)) is not None] for chain in chains]
    clicks = [sum(int(trial.clicks.sum()) for trial in each) for each in counts]
    impressions = [sum(int(trial.impressions.sum()) for trial in each) for each in counts]
    users = chains[0].world.users
    return {
        "model": model,
        "label": MODELS[model],
        "seeds": len(chains),
        "acn": float(np.mean(clicks)) / (users * len(days)),
        "ctr": float(np.mean([c / max(i, 1) for c, i in zip(clicks, impressions, strict=True)])),
        "between_user_channel_variance": float(
            np.mean([between_user_variance(_shares(chain, FIRST_DAYS, 2)) for chain in chains])
        ),
    }


def _series(chain: Chain) -> dict[str, dict[str, list[float]]]:
    """Channel -> week -> its share by hour of the week, as the panel saw it."""
    by_hour = _by_hour(_shares(chain, FIRST_DAYS, 2))
    weeks = {"first week": by_hour[:WEEK], "second week": by_hour[WEEK:]}
    return {
        name: {week: values[..., channel].reshape(-1).tolist() for week, values in weeks.items()}
        for channel, name in enumerate(chain.world.channel_names)
    }


def verdict(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the figures say, in sentences."""
    said, means = [], {}
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == model]
        means[model] = _mean([row["mean_change"] for row in mine])
        floor = formatting.percent(_mean([row["noise_floor"] for row in mine]))
        said.append(
            f"{mine[0]['label']}: shares change by {_changes(mine, '')} from one week to the next; two halves of the "
            f"panel differ by {floor} under one version."
        )
        if "shock_mean_change" in mine[0]:
            said[-1] += f" To the week with shocks: {_changes(mine, 'shock_')}."
    if means.keys() == PAPER.keys() and means["dqn-gru"] > 0 and math.isfinite(means["hrl-rec"]):
        paper = PAPER["hrl-rec"].mean_change / PAPER["dqn-gru"].mean_change
        ratio = means["hrl-rec"] / means["dqn-gru"]
        said.append(
            f"HRL-Rec's mean change is {ratio:.2f} of DQN's; the paper's, of its video channel, was {paper:.2f} of it."
        )
    return said


def _changes(rows: Sequence[Mapping[str, Any]], prefix: str) -> str:
    """Mean and maximum over channels, and how much is left out."""
    mean = formatting.percent(_mean([row[f"{prefix}mean_change"] for row in rows]))
    most = formatting.percent(np.fmax.reduce([row[f"{prefix}max_change"] for row in rows]))
    new = _mean([row[f"{prefix}new_hours"] for row in rows])
    left_out = f" (without {formatting.percent(new, 2)} of hours, in which a channel came up anew)" if new else ""
    return f"{mean} on average and by {most} at most{left_out}"
