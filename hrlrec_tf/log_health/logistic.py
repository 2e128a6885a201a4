"""Logistic models whose uncertainty respects that a user's rows hang together."""

import dataclasses
import math

import numpy as np
from scipy import stats
from sklearn.linear_model import LogisticRegression

from hrlrec_tf.log_health.reading import Array

_RIDGE = 1.0  # on standardised columns: it only matters where columns repeat each other
_CHUNK_DRAWS = 1 << 22


@dataclasses.dataclass(frozen=True)
class Fit:
    """A fitted model. Attributes: coefficients [columns] and their covariance, robust to dependence within users."""

    coefficients: Array
    covariance: Array
    users: int

    def wald(self, tested: slice) -> float:
        """p-value of "all these coefficients are 0"; NaN when there is nothing to test."""
        effect, covariance = self.coefficients[tested], self.covariance[tested, tested]
        rank = int(np.linalg.matrix_rank(covariance, hermitian=True))
        if rank == 0 or self.users <= rank:
            return math.nan
        statistic = float(effect @ np.linalg.pinv(covariance, hermitian=True) @ effect)
        return float(stats.f.sf(statistic / rank, rank, self.users - 1))


def predictions(columns: Array, clicked: Array, fold: Array) -> Array:
    """Click probability of each row by a model of the other folds' rows: [N].

    Folds must hold both classes outside of each.
    """
    predicted = np.empty(len(clicked))
    for each in np.unique(fold):
        inside = fold == each
        model = _regression().fit(columns[~inside], clicked[~inside])
        predicted[inside] = model.predict_proba(columns[inside])[:, 1]
    return predicted


def fit(columns: Array, clicked: Array, user: Array) -> Fit:
    """A model of all rows with the sandwich covariance over users."""
    model = _regression().fit(columns, clicked)
    design = np.column_stack([np.ones(len(clicked)), columns])
    predicted = model.predict_proba(columns)[:, 1]
    information = design.T @ (design * (predicted * (1 - predicted))[:, np.newaxis])
    information[np.diag_indices(len(information))] += np.append(1e-6, np.full(columns.shape[1], _RIDGE))
    bread = np.linalg.inv(information)
    users = int(user.max()) + 1
    residual = clicked - predicted
    scores = np.stack([np.bincount(user, residual * column, users) for column in design.T], axis=1)
    present = len(np.unique(user))
    meat = scores.T @ scores * (present / max(present - 1, 1))
    return Fit(model.coef_[0], (bread @ meat @ bread)[1:, 1:], present)


def odds_ratio(column: Array, others: Array, clicked: Array, user: Array) -> dict[str, float]:
    """Odds ratio of a click per unit of a column beside other columns, with its 95 % interval and p-value."""
    spread = float(column.std())
    if spread < 1e-9:
        return dict.fromkeys(("odds_ratio", "low", "high", "p_value"), math.nan)
    model = fit(np.column_stack([(column - column.mean()) / spread, others]), clicked, user)
    effect, error = model.coefficients[0] / spread, math.sqrt(model.covariance[0, 0]) / spread
    half = float(stats.t.ppf(0.975, max(model.users - 1, 1))) * error
    values = {"odds_ratio": effect, "low": effect - half, "high": effect + half}
    return {name: math.exp(np.clip(value, -50, 50)) for name, value in values.items()} | {
        "p_value": model.wald(slice(0, 1))
    }


class UserBootstrap:
    """Differences between models under resampling of users; all models see the same draws.

    Args:
      user: [N] code of each row's user.
      clicked: [N] 0 or 1.
      draws: of the resampling.
    """

    def __init__(self, user: Array, clicked: Array, draws: int, seed: int = 0) -> None:
        names, self._user = np.unique(user, return_inverse=True)
        self._clicked, self._draws, self._users, self._seed = clicked, draws, len(names), seed

    def log_loss_gain(self, base: Array, model: Array) -> dict[str, float]:
        """How much lower the mean log loss of `model` is than that of `base`, [N] predictions each."""
        gain = _log_loss(self._clicked, base) - _log_loss(self._clicked, model)
        sums, rows = np.bincount(self._user, gain), np.bincount(self._user)
        return _summary(gain.mean(), np.concatenate([times @ sums / (times @ rows) for times in self._times()]))

    def auc_gain(self, base: Array, model: Array) -> dict[str, float]:
        """How much higher the AUC of `model` is than that of `base`, by the linear part of each user's influence.

        A resampled AUC would sort all rows in each draw; its first-order expansion in the users' weights (Obuchowski,
        1997, for clustered data) has the same interval and only needs sums by user.
        """
        (first, first_sums), (second, second_sums) = self._auc(base), self._auc(model)
        sums = second_sums - first_sums
        return _summary(second - first, second - first + np.concatenate([times @ sums for times in self._times()]))

    def _auc(self, predicted: Array) -> tuple[float, Array]:
        """AUC, and each user's influence on it."""
        rank = stats.rankdata(predicted)
        clicked = self._clicked > 0
        positives, negatives = clicked.sum(), (~clicked).sum()
        # Share of the other class on the right side of each row, ties half.
        better = np.empty(len(rank))
        better[clicked] = (rank[clicked] - stats.rankdata(predicted[clicked])) / negatives
        better[~clicked] = 1 - (rank[~clicked] - stats.rankdata(predicted[~clicked])) / positives
        auc = float(better[clicked].mean())
        influence = (better - auc) / np.where(clicked, positives, negatives)
        return auc, np.bincount(self._user, influence)

    def auc(self, predicted: Array) -> float:
        """AUC of [N] predictions."""
        return self._auc(predicted)[0]

    def _times(self) -> list[Array]:
        """How often each user is drawn: chunks of [draws, users]; the same at every call."""
        rng, share = np.random.default_rng(self._seed), np.full(self._users, 1 / self._users)
        step = max(_CHUNK_DRAWS // self._users, 1)
        sizes = [min(step, self._draws - first) for first in range(0, self._draws, step)]
        return (rng.multinomial(self._users, share, size) for size in sizes)  # type: ignore[return-value]


def _summary(value: float, draws: Array) -> dict[str, float]:
    """The value with its percentile interval, and the share of draws that deny it: one-sided p, ties half."""
    low, high = np.quantile(draws, [0.025, 0.975])
    denied = (draws < 0).sum() + 0.5 * (draws == 0).sum()
    p_value = (denied + 1) / (len(draws) + 1)
    return {"value": float(value), "low": float(low), "high": float(high), "p_value": float(p_value)}


def _log_loss(clicked: Array, predicted: Array) -> Array:
    inside = np.clip(predicted, 1e-7, 1 - 1e-7)
    loss: Array = -np.where(clicked > 0, np.log(inside), np.log1p(-inside))
    return loss


def _regression() -> LogisticRegression:
    return LogisticRegression(C=1 / _RIDGE, solver="newton-cholesky", max_iter=50)
