"""What mattered: how much each searched field decided about the validation AUC.

A random forest predicts a trial's AUC from its values. A field's importance is by how much the forest's error grows, on
trials that it was not fitted on, when that field is shuffled (permutation importance), as a share of all fields' sum.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance
from sklearn.model_selection import KFold

from hrlrec_tf.tuning.space import Choices, SearchSpace, Value
from hrlrec_tf.tuning.trials import TrialRecord

FEWEST_TRIALS = 8
_TRIALS_PER_FIELD = 10  # below which a ranking is a hint only
_LEAST_EXPLAINED = 0.1  # below which the forest may as well have learned noise
_FOLDS = 4
_REPEATS = 10
_TREES = 60
_CURVE = 25  # points of a range's curve


@dataclasses.dataclass(frozen=True)
class Importance:
    """What the forest says.

    Attributes:
      shares: field -> importance, most important first, sum 1; empty where the trials cannot tell.
      curves: field -> (value, predicted AUC with all else as in the trials), by value; of choices, one per value.
      explained: share of the AUC's variance that the forest predicts on trials it was not fitted on.
      note: how far to trust it, one sentence.
    """

    shares: Mapping[str, float]
    curves: Mapping[str, Sequence[tuple[Value, float]]]
    explained: float | None
    note: str


def analyse(space: SearchSpace, records: Sequence[TrialRecord]) -> Importance:
    """Importance of every field from the trials that gave an AUC, each combination of values counted once."""
    used = [record for record in records if record.outcome.auc is not None and not record.outcome.same_as]
    target = np.array([record.outcome.auc for record in used], dtype=float)
    if len(used) < FEWEST_TRIALS or not target.std():
        return Importance(
            {}, {}, None, f"{len(used)} trials tell too little; it takes {FEWEST_TRIALS} of different AUC."
        )
    inputs = np.array([[_code(space, name, record.values[name]) for name in space.fields] for record in used])
    drops, errors = np.zeros(len(space.fields)), np.zeros(len(used))
    for fitted, held in KFold(_FOLDS, shuffle=True, random_state=0).split(inputs):
        forest = _forest().fit(inputs[fitted], target[fitted])
        errors[held] = (forest.predict(inputs[held]) - target[held]) ** 2
        shuffled = permutation_importance(
            forest, inputs[held], target[held], scoring="neg_mean_squared_error", n_repeats=_REPEATS, random_state=0
        )
        drops += np.maximum(shuffled.importances_mean, 0.0) * len(held)
    explained = float(1 - errors.mean() / target.var())
    if explained < _LEAST_EXPLAINED or not drops.any():
        return Importance({}, {}, explained, _note(len(used), len(space.fields), explained))
    forest = _forest().fit(inputs, target)
    order = sorted(zip(space.fields, drops / drops.sum(), strict=True), key=lambda pair: -pair[1])
    return Importance(
        {name: float(share) for name, share in order},
        {name: _curve(space, name, i, forest, inputs) for i, name in enumerate(space.fields)},
        explained,
        _note(len(used), len(space.fields), explained),
    )


def _forest() -> RandomForestRegressor:
    return RandomForestRegressor(_TREES, min_samples_leaf=2, random_state=0)


def _code(space: SearchSpace, name: str, value: Value) -> float:
    """A number for trees: a range's value itself, the place of a choice."""
    kind = space.fields[name]
    return float(kind.values.index(value)) if isinstance(kind, Choices) else float(value)


def _curve(
    space: SearchSpace, name: str, column: int, forest: RandomForestRegressor, inputs: np.ndarray
) -> list[tuple[Value, float]]:
    """Partial dependence: the mean prediction with one field set to a value in every trial."""
    kind = space.fields[name]
    if isinstance(kind, Choices):
        values: list[Value] = list(kind.values)
    else:
        spaced = np.geomspace if kind.log else np.linspace
        values = [float(value) for value in spaced(kind.low, kind.high, _CURVE)]
    curve = []
    for value in values:
        changed = inputs.copy()
        changed[:, column] = _code(space, name, value)
        curve.append((value, float(forest.predict(changed).mean())))
    return curve


def _note(trials: int, fields: int, explained: float) -> str:
    if explained < _LEAST_EXPLAINED:
        return (
            f"A random forest on {trials} trials can hardly predict trials it has not seen: what mattered is lost in "
            "noise. Run more trials, or more seeds per trial (executions)."
        )
    text = (
        f"A random forest on {trials} trials predicts {explained:.0%} of the AUC's variance on trials it has not seen."
    )
    if trials < _TRIALS_PER_FIELD * fields:
        text += f" With fewer than {_TRIALS_PER_FIELD} trials per field, take the shares as a hint."
    return text
