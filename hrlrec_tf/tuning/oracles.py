"""KerasTuner's oracles over a space that is known beforehand, with a state that survives a kill at any moment.

KerasTuner (1.4) writes an oracle's state and each trial to files of their own, in place, and while a trial that just
ended still counts as running. Here the caller takes the whole state (`state`) and writes it as one file.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial
from sklearn.exceptions import ConvergenceWarning

from hrlrec_tf.tuning.space import Choices, SearchSpace, Value

OBJECTIVE = "validation_auc"
# Variance of the AUC between seeds, as a share of its variance between trials: the Gaussian process must not follow
# every trial exactly, as it would with the library's 0.0001.
_NOISE = 0.01


class _Unsaved(keras_tuner.Oracle):
    """An oracle that leaves writing to its caller."""

    trials: dict[str, Trial]

    def save(self) -> None:
        """Nothing: see `state`."""

    def _save_trial(self, trial: Trial) -> None:
        """Nothing: trials are part of `state`."""


class GridOracle(_Unsaved, keras_tuner.oracles.GridSearchOracle):
    """Every combination, the last field fastest.

    The library's own order waits for a running trial's end in case it brings new fields, so that no two would run side
    by side, and its place in the grid is not part of its state. Here the next combination follows from the last one.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The next combination; `STOPPED` after the last."""
        if self.start_order:
            values = self._get_next_combination(self.trials[self.start_order[-1]].hyperparameters.values)
        else:
            values = {field.name: field.default for field in self.hyperparameters.space}
        return {"status": "STOPPED" if values is None else "RUNNING", "values": values}


class RandomOracle(_Unsaved, keras_tuner.oracles.RandomSearchOracle):
    """Values drawn independently."""


class BayesianOracle(_Unsaved, keras_tuner.oracles.BayesianOptimizationOracle):
    """A Gaussian process of the AUC proposes where its upper confidence bound is highest."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The next values; trials that still run count with the AUC that the ended ones predict for them.

        The library predicts that with the process of an earlier call, or with none at all: far off any real AUC.
        """
        every = self.trials
        ended = [trial for trial in every.values() if trial.status == "COMPLETED"]
        with warnings.catch_warnings():
            # A length scale at its bound: few trials, or a field that changes nothing.
            warnings.simplefilter("ignore", ConvergenceWarning)
            if self.ongoing_trials and len(ended) >= self.num_initial_points:
                self.trials = {trial.trial_id: trial for trial in ended}
                self.gpr.fit(*self._vectorize_trials())
                self.trials = every
            return dict(super().populate_space(trial_id))


def make(space: SearchSpace) -> keras_tuner.Oracle:
    """The oracle of a search that has not begun."""
    options: dict[str, Any] = {
        "objective": keras_tuner.Objective(OBJECTIVE, "max"),
        "max_trials": space.trials,
        "hyperparameters": _hyperparameters(space),
        "allow_new_entries": False,
        "seed": space.seed + 1,  # KerasTuner takes 0 for no seed
        # A failed trial is a result too; the library would end the search, with its lock held.
        "max_consecutive_failed_trials": -1,
    }
    if space.search == "grid":
        oracle = GridOracle(**options)
    elif space.search == "random":
        oracle = RandomOracle(**options)
    else:
        first = max(2, min(3 * len(space.fields), (space.trials or 0) // 3))  # drawn at random, before there is a model
        oracle = BayesianOracle(num_initial_points=first, alpha=_NOISE, **options)
    oracle.verbose = 0
    return oracle


def state(oracle: keras_tuner.Oracle) -> dict[str, Any]:
    """All that `restore` needs, ready for JSON."""
    return {"oracle": oracle.get_state(), "trials": [trial.get_state() for trial in oracle.trials.values()]}


def restore(oracle: keras_tuner.Oracle, saved: Mapping[str, Any]) -> None:
    """Brings a new oracle to a saved state. Trials that ran then are its `ongoing_trials`."""
    trials = [Trial.from_state(trial) for trial in saved["trials"]]
    oracle.trials = {trial.trial_id: trial for trial in trials}
    oracle.set_state(saved["oracle"])


def _hyperparameters(space: SearchSpace) -> keras_tuner.HyperParameters:
    found = keras_tuner.HyperParameters()
    for name, kind in space.fields.items():
        if isinstance(kind, Choices):
            _add_choices(found, name, kind.values)
        else:
            add = found.Int if kind.integer else found.Float
            add(name, kind.low, kind.high, sampling="log" if kind.log else "linear")
    return found


def _add_choices(found: keras_tuner.HyperParameters, name: str, values: tuple[Value, ...]) -> None:
    if isinstance(values[0], bool):  # which `Choice` would turn into whole numbers
        found.Boolean(name, default=values[0])
    else:
        found.Choice(name, list(values))
