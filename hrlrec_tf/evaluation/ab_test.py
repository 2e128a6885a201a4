"""A/B tests of feeds: what users did under each policy, lifts over the base, intervals, and checks of the split.

An experiment is repeated in several seeds (worlds and trainings). In each, a policy has the per-user counts of
`simulator.trial.Trial`. Two modes:

* paired: every policy served all users, with the same luck; users are resampled together.
* split: users are dealt to arms at random, as in a real feed; each arm has its own users. The lift is less certain, and
  two things are checked: an A/A pair (two arms under the base) and the sample ratio (Fabijan et al. 2019).

Lifts are means over seeds; their intervals come from resampling seeds, and inside each seed users.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from hrlrec_tf.evaluation import significance

Counts = Mapping[str, npt.NDArray[np.int64]]  # name -> [users]
Floats = npt.NDArray[np.float64]

REPLICATES = 2_000


class Ratio(NamedTuple):
    """A metric as a ratio of sums over users; `user_days`: users times days."""

    numerator: str
    denominator: str


METRICS = {
    "ctr": Ratio("clicks", "impressions"),  # click-through rate
    "acn": Ratio("clicks", "user_days"),  # average click number per capita (and day)
    "awt": Ratio("watched_tags", "user_days"),  # average watched tags per capita (and day)
    "requests": Ratio("requests", "user_days"),
    "list_tags": Ratio("list_tags", "requests"),  # distinct tags of a list: its diversity
    "list_channels": Ratio("list_channels", "requests"),
    "abandonment": Ratio("abandoned", "requests"),  # share of lists left before their end
}


@dataclasses.dataclass(frozen=True)
class Arm:
    """One policy in one seed.

    Attributes:
      counts: name -> [users].
      days: of the experiment.
      users: [users] bool, who was served by this arm; everybody in the paired mode.
    """

    counts: Counts
    days: int
    users: npt.NDArray[np.bool_]
    _kept: dict[tuple[int, int], dict[str, Floats]] = dataclasses.field(
        init=False, default_factory=dict, compare=False, repr=False
    )

    def sums(self, name: str) -> npt.NDArray[np.int64]:
        """[users]: what each user adds to a sum; 0 for those of other arms."""
        values = np.full(len(self.users), self.days) if name == "user_days" else self.counts[name]
        return np.where(self.users, values, 0)

    def value(self, metric: str) -> float:
        """A metric over the arm's users; NaN where nothing was shown."""
        numerator, denominator = (self.sums(name).sum() for name in METRICS[metric])
        return float(numerator / denominator) if denominator else float("nan")

    def replicates(self, metric: str, count: int, seed: int) -> Floats:
        """[count]: the metric under resampled users; the same seed resamples the same users."""
        sums = self._resampled(count, seed)
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = sums[METRICS[metric].numerator] / sums[METRICS[metric].denominator]
        return found

    def _resampled(self, count: int, seed: int) -> dict[str, Floats]:
        """Every sum over resampled users, [count] each; kept, for drawing users takes longer than adding them up."""
        if (count, seed) not in self._kept:
            names = sorted({name for metric in METRICS.values() for name in metric})
            values = np.stack([self.sums(name) for name in names]).astype(np.float64)
            sums = np.empty((len(names), count))
            for part, weights in significance.user_weights(len(self.users), count, [seed]):
                sums[:, part] = values @ weights
            self._kept[count, seed] = dict(zip(names, sums, strict=True))
        return self._kept[count, seed]


class Estimate(NamedTuple):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


class Lift(NamedTuple):
    """A policy's metric against another one's, relative: value / other - 1."""

    estimate: Estimate
    replicates: Floats  # [B], of the mean over seeds


def lift(ours: Sequence[Arm], base: Sequence[Arm], metric: str, replicates: int = REPLICATES) -> Lift:
    """Relative lift over the base, averaged over seeds.

    Args:
      ours, base: an arm per seed, in the same order.
      metric: one of METRICS.
      replicates: B.

    Returns:
      The lift; its replicates resample seeds and, in each, users: the same ones in both arms.
    """
    by_seed = np.stack(
        [_seed_lift(*pair, metric, replicates, n) for n, pair in enumerate(zip(ours, base, strict=True))]
    )
    rng = np.random.default_rng([len(by_seed), replicates])
    seeds = rng.integers(0, len(by_seed), (replicates, len(by_seed)))
    drawn = rng.integers(0, replicates, seeds.shape)
    means: Floats = by_seed[seeds, drawn].mean(axis=1) if len(by_seed) > 1 else by_seed[0]
    value = float(np.mean([a.value(metric) / b.value(metric) - 1 for a, b in zip(ours, base, strict=True)]))
    return Lift(Estimate(value, *significance.percentile_interval(means)), means)


def _seed_lift(ours: Arm, base: Arm, metric: str, replicates: int, seed: int) -> Floats:
    values = [arm.replicates(metric, replicates, seed) for arm in (ours, base)]
    return values[0] / values[1] - 1


def place(ours: Sequence[Arm], base: Sequence[Arm], oracle: Sequence[Arm], metric: str) -> float:
    """Where a policy stands between base (0) and oracle (1), averaged over seeds."""
    values = [[arm.value(metric) for arm in arms] for arms in (ours, base, oracle)]
    mine, lowest, highest = (np.array(each) for each in values)
    return float(np.mean((mine - lowest) / (highest - lowest)))


def deal(luck: Floats, arms: int) -> list[npt.NDArray[np.bool_]]:
    """Users of each of several arms, from uniform draws [users]: each user belongs to exactly one."""
    arm = np.minimum((luck * arms).astype(np.int64), arms - 1)
    return [arm == n for n in range(arms)]


def sample_ratio_p(arms: Sequence[npt.NDArray[np.bool_]]) -> float:
    """Chi-squared p of "users fall into arms of equal size"; below .001 the split is broken, not the policy."""
    return float(stats.chisquare([arm.sum() for arm in arms]).pvalue)
