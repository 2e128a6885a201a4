"""Table 3: an A/B test of reinforcement learning in a feed (Sec. 4.5), here in the simulator.

Every policy is trained on the same logged and explored days, then serves the same users on the days after, in two click
models: the one that made the log, and one that no policy has seen.
"""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hrlrec_tf.errors import ConfigError, TrainingError
from hrlrec_tf.evaluation import ab_test, significance
from hrlrec_tf.evaluation.ab_test import Arm
from hrlrec_tf.experiments import cells, table4, trials
from hrlrec_tf.experiments.cells import Cell, Run
from hrlrec_tf.experiments.simulated import SimulatedFeed
from hrlrec_tf.experiments.trials import TrialRun
from hrlrec_tf.simulator.config import CLICK_MODELS, WorldConfig
from hrlrec_tf.simulator.noise import Purpose, uniform

SIGNIFICANT = 0.01
TRIAL_DAYS = 5  # as in the paper
BASE, OURS = "lr", "hrl-rec"
_SHOWN = ("ctr", "acn", "awt")


class Policy(NamedTuple):
    """A row.

    Attributes:
      label: as printed.
      rule: how it ranks.
      ctr, acn: lifts that the paper prints, in percent (AWT only as +1.98 to DDPG).
      settings: `SECTION.FIELD=VALUE` by which a form of HRL-Rec differs from it.
    """

    label: str
    rule: str = "rank"
    ctr: float = math.nan
    acn: float = math.nan
    settings: tuple[str, ...] = ()


# In the paper's order.
MODELS = {
    BASE: Policy("LR with channel rules", "quotas", 0.0, 0.0),
    "dqn-lr": Policy("DQN (LR)", ctr=4.17, acn=3.72),
    "dqn-gru": Policy("DQN (GRU)", ctr=5.27, acn=4.77),
    "double-dueling-dqn": Policy("Double-Dueling-DQN", ctr=5.40, acn=5.41),
    "ddpg": Policy("DDPG", ctr=5.80, acn=7.82),
    "ddpg-hierarchical": Policy("DDPG (hierarchical)", ctr=6.07, acn=10.43),
    OURS: Policy("HRL-Rec", ctr=6.34, acn=11.67),
}
# Not in the paper: what reinforcement learning adds to HRL-Rec where an item changes what the next ones earn.
ABLATIONS = {
    f"{OURS}-{name}": Policy(label, settings=table4.ABLATIONS[name][1])
    for name, label in (("gamma-0", "HRL-Rec, γ = 0"), ("supervised", "HRL-Rec, no RL"))
}
REFERENCES = {"logging": Policy("logging policy"), "oracle": Policy("oracle, short-sighted")}
POLICIES = {**MODELS, **ABLATIONS, **REFERENCES}


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What is run.

    Attributes:
      world: of seed 0; other seeds have other users and items of the same kind.
      out: folder.
      seeds: of worlds and trainings.
      settings: `SECTION.FIELD=VALUE` of every RL model.
    """

    world: WorldConfig
    out: pathlib.Path
    seeds: Sequence[int]
    settings: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.world.days <= TRIAL_DAYS + 2:
            raise ConfigError(
                f"days must be at least {TRIAL_DAYS + 3}, three of them before the trial, got {self.world.days}"
            )

    def feed(self, seed: int) -> SimulatedFeed:
        """The world of a seed."""
        world = dataclasses.replace(self.world, seed=self.world.seed + seed)
        return SimulatedFeed(world, world.days - TRIAL_DAYS, self.out / f"seed-{seed}")

    def cells(self) -> list[Cell]:
        """What is trained."""
        chosen = tuple(self.settings)
        rows = [Cell(name, name, settings=() if name == BASE else chosen) for name in MODELS]
        return rows + [Cell(name, OURS, settings=(*chosen, *row.settings)) for name, row in ABLATIONS.items()]


def reproduce(experiment: Experiment, jobs: int, replicates: int = ab_test.REPLICATES) -> dict[str, Any]:
    """Runs what is not finished; returns what is known afterwards.

    Args:
      experiment: what to run.
      jobs: processes at the same time.
      replicates: of the bootstrap.

    Returns:
      exhibit, title, seeds, users, `rows` (per click model and policy, see `_row`), `split` (A/A and sample ratio),
      `offline` (see `offline_online`), `verdict` (sentences) and `failed` (run -> reason).

    Raises:
      ConfigError: the folder holds something else.
      TrainingError: base or HRL-Rec has no finished trial.
    """
    feeds = {seed: experiment.feed(seed) for seed in experiment.seeds}
    runs = [
        Run(cell, feed.config.seed, sessions, feed.folder)
        for feed, sessions in [(feed, feed.prepare()) for feed in feeds.values()]
        for cell in experiment.cells()
    ]
    failed = cells.run_all(runs, jobs)
    finished = {(run.seed, run.cell.name) for run in runs if run.result() is not None}
    wanted = [
        TrialRun(feed, TRIAL_DAYS, click_model, name, row.rule)
        for feed in feeds.values()
        for click_model in CLICK_MODELS
        for name, row in POLICIES.items()
        if name in REFERENCES or (feed.config.seed, name) in finished
    ]
    failed |= trials.run_all(wanted, jobs)
    found = {(run.click_model, run.policy, run.feed.config.seed): run.result() for run in wanted}
    arms = {key: _everybody(trial) for key, trial in found.items() if trial is not None}
    rows = [row for click_model in CLICK_MODELS for row in _rows(arms, experiment, click_model, replicates)]
    return {
        "exhibit": "table3",
        "title": "A/B test in the simulator",
        "seeds": list(experiment.seeds),
        "users": experiment.world.users,
        "trial_days": TRIAL_DAYS,
        "rows": rows,
        "split": _split(arms, experiment, replicates),
        "offline": _offline(rows, runs, wanted),
        "verdict": [sentence for click_model in CLICK_MODELS for sentence in verdict(rows, click_model)],
        "failed": failed,
    }


def _everybody(trial: Any) -> Arm:
    counts = {name: values for name, values in dataclasses.asdict(trial).items() if name != "days"}
    return Arm(counts, trial.days, np.ones(len(trial.clicks), bool))


def _rows(
    arms: Mapping[tuple[str, str, int], Arm], experiment: Experiment, click_model: str, replicates: int
) -> list[dict[str, Any]]:
    """Rows of one click model, on the seeds that all of its policies have finished."""
    seeds = [experiment.feed(seed).config.seed for seed in experiment.seeds]
    by_policy = {
        name: [arms[click_model, name, seed] for seed in seeds if (click_model, name, seed) in arms]
        for name in POLICIES
    }
    for name in (BASE, OURS, "oracle"):
        if len(by_policy[name]) < len(seeds):
            raise TrainingError(f"{name} has no finished trial in every seed; look above for what failed")
    complete = {name: each for name, each in by_policy.items() if len(each) == len(seeds)}
    lifts = {
        name: {metric: ab_test.lift(each, complete[BASE], metric, replicates) for metric in _SHOWN}
        for name, each in complete.items()
    }
    rows = [_row(name, click_model, complete, lifts[name], lifts[OURS]) for name in complete]
    for family in (MODELS, ABLATIONS):
        rivals = [row for row in rows if row["model"] in family and row["model"] != OURS]
        for metric in _SHOWN:
            adjusted = significance.holm(np.array([row[f"{metric}_p"] for row in rivals]))
            for row, p in zip(rivals, adjusted, strict=True):
                row[f"{metric}_p"] = float(p)
    return rows


def _row(
    name: str,
    click_model: str,
    arms: Mapping[str, Sequence[Arm]],
    lifts: Mapping[str, ab_test.Lift],
    ours: Mapping[str, ab_test.Lift],
) -> dict[str, Any]:
    """Figures of one policy.

    Every metric of `ab_test.METRICS` as a mean over seeds; METRIC_lift, _low and _high over the base; METRIC_p,
    one-sided, of HRL-Rec's lift being no larger, Holm over the table's models or over HRL-Rec's own forms;
    METRIC_place between base (0) and oracle (1).
    """
    mine = arms[name]
    published = POLICIES[name]
    row: dict[str, Any] = {
        "model": name,
        "label": published.label,
        "click_model": click_model,
        "unseen": click_model != CLICK_MODELS[0],
        "seeds": len(mine),
        "paper_ctr_lift": published.ctr / 100,
        "paper_acn_lift": published.acn / 100,
    }
    row |= {metric: float(np.mean([arm.value(metric) for arm in mine])) for metric in ab_test.METRICS}
    for metric in _SHOWN:
        estimate = lifts[metric].estimate
        row |= {f"{metric}_lift": estimate.value, f"{metric}_low": estimate.low, f"{metric}_high": estimate.high}
        against = significance.p_value(ours[metric].replicates, lifts[metric].replicates)
        row[f"{metric}_p"] = math.nan if name == OURS or name in REFERENCES else against
        row[f"{metric}_place"] = ab_test.place(mine, arms[BASE], arms["oracle"], metric)
        row[f"{metric}_by_seed"] = [
            a.value(metric) / b.value(metric) - 1 for a, b in zip(mine, arms[BASE], strict=True)
        ]
    return row


def _split(arms: Mapping[tuple[str, str, int], Arm], experiment: Experiment, replicates: int) -> list[dict[str, Any]]:
    """The test as a real feed would run it: users dealt to three arms, two of them under the base.

    Users do not meet, so what an arm's users did is what they did when their policy served everybody.
    """
    found = []
    for click_model in CLICK_MODELS:
        dealt: dict[str, list[Arm]] = {"A": [], "A'": [], "B": []}
        ratios = []
        for seed in experiment.seeds:
            number = experiment.feed(seed).config.seed
            luck = uniform(number, Purpose.ARM, np.arange(experiment.world.users))
            members = ab_test.deal(luck, len(dealt))
            ratios.append(ab_test.sample_ratio_p(members))
            for each, policy, users in zip(dealt.values(), (BASE, BASE, OURS), members, strict=True):
                each.append(dataclasses.replace(arms[click_model, policy, number], users=users))
        row: dict[str, Any] = {"click_model": click_model, "sample_ratio_p": min(1.0, min(ratios) * len(ratios))}
        for metric in _SHOWN:
            for name, arm in (("aa", "A'"), ("ab", "B")):
                row[f"{name}_{metric}"] = list(ab_test.lift(dealt[arm], dealt["A"], metric, replicates).estimate)
        found.append(row)
    return found


def _offline(rows: Sequence[Mapping[str, Any]], runs: Sequence[Run], tried: Sequence[TrialRun]) -> list[dict[str, Any]]:
    """What evaluation on the log said of the same models, AUC and inverse propensities, beside what the test said."""
    offline = []
    for row in rows:
        aucs = [float(str((run.result() or {}).get("auc", "nan"))) for run in runs if run.cell.name == row["model"]]
        if aucs:
            lifts = {name: row[name] for name in ("model", "label", "click_model", "unseen", "ctr_lift", "acn_lift")}
            estimates = [run.estimates() for run in tried if run.policy == row["model"]]
            for level in ("item", "channel"):
                known = [each[level] for each in estimates if level in each]
                for figure in ("value", "effective_sample_size"):
                    values = [math.nan if each[figure] is None else each[figure] for each in known]
                    lifts[f"{level}_{figure}"] = float(np.mean(values)) if values else math.nan
            offline.append({**lifts, "auc": float(np.mean(aucs))})
    return offline


def verdict(rows: Sequence[Mapping[str, Any]], click_model: str) -> list[str]:
    """What the figures of one click model say, in sentences."""
    known = {row["model"]: row for row in rows if row["click_model"] == click_model}
    table = {name: row for name, row in known.items() if name in MODELS}
    where = f"{click_model}{' (unseen in training)' if table[OURS]['unseen'] else ''}"
    said = []
    for metric in ("ctr", "acn"):
        ranked = sorted(table.values(), key=lambda row: -row[f"{metric}_lift"])
        order = " > ".join(f"{row['label']} {100 * row[f'{metric}_lift']:+.1f} %" for row in ranked)
        said.append(f"{where}, {metric.upper()} over the base: {order}.")
        rivals = [row for name, row in table.items() if name != OURS]
        behind = [row["label"] for row in rivals if row[f"{metric}_p"] < SIGNIFICANT]
        open_ones = [row["label"] for row in rivals if not row[f"{metric}_p"] < SIGNIFICANT]
        if behind:
            said.append(f"{where}, {metric.upper()}: HRL-Rec is ahead of {', '.join(behind)} (p < {SIGNIFICANT:g}).")
        if open_ones:
            said.append(f"{where}, {metric.upper()}: HRL-Rec is not ahead of {', '.join(open_ones)} at that level.")
        for row in (known[name] for name in ABLATIONS if name in known):
            said.append(
                f"{where}, {metric.upper()}: {row['label']}: {100 * row[f'{metric}_lift']:+.1f} %, HRL-Rec itself "
                f"{100 * table[OURS][f'{metric}_lift']:+.1f} % (p {row[f'{metric}_p']:.2g} of being no better)."
            )
    return said
