"""Off-policy estimates: what another policy's lists would have earned, from lists that were logged with propensities.

Of each row, r is the logged reward, mu = p(d_t | prefix) the logging policy's probability of what it showed, pi that of
the policy to be judged, both given the logged prefix. The importance weight is one of two extremes:

* `position`: w_t = pi_t / mu_t. Unbiased for a policy that chooses position t alone, below the logged prefix: exact if
  what stands above does not matter to the reward, and of little variance;
* `prefix`: w_t = product over s <= t of pi_s / mu_s, reward interaction IPS (McInerney et al. 2020), per-decision
  importance sampling of reinforcement learning (Precup et al. 2000). Unbiased whatever the reward owes to the rows
  above; its variance grows with t.

Weights may be capped at min(w, cap), which biases towards 0 (IPS) or the logging policy (SNIPS, DR) for less variance
(Ionides 2008). Per position, over the n_t lists that have it:

    IPS    sum of w r / n_t                                        (Horvitz and Thompson 1952, Precup et al. 2000)
    SNIPS  sum of w r / sum of w                                             (Swaminathan and Joachims 2015)
    DR     sum of (w_{t-1} E_pi q + w_t (r - q)) / n_t             (Dudik et al. 2011; prefix: Jiang and Li 2016)

q is any model's reward of what was shown, E_pi q its mean under pi given the prefix, w_0 = 1, and w_{t-1} = 1 with
`position`. The value of a list is the sum over positions of estimate times n_t / lists: how long a list is must not
depend on the policy. An estimate stands on no more than its effective sample size, (sum of w)^2 / sum of w^2 (Kish
1965): below a floor there is none.

All need mu > 0 wherever pi > 0. A mean weight far from 1 says that this, or a propensity, is wrong (or a cap at work).
"""

import dataclasses
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from hrlrec_tf.errors import ConfigError, DataError
from hrlrec_tf.evaluation.significance import LEAST_USERS, percentile_interval, user_weights

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class LoggedLists:
    """L lists of up to T rows. Nothing is read of a row that is not valid.

    Attributes:
      reward: [L, T] finite, clicks for instance.
      logging: [L, T] in (0, 1], mu: propensity_channel times propensity_item of the log.
      target: [L, T] in [0, 1], pi.
      valid: [L, T] bool; the valid rows of a list come first.
      user: [L] whole numbers from 0.

    Raises:
      DataError: a shape or a value is none of these.
    """

    reward: npt.NDArray[np.floating]
    logging: npt.NDArray[np.floating]
    target: npt.NDArray[np.floating]
    valid: npt.NDArray[np.bool_]
    user: npt.NDArray[np.integer]

    def __post_init__(self) -> None:
        shape = self.reward.shape
        if len(shape) != 2 or not shape[0] or self.user.shape != shape[:1]:
            raise DataError(f"off-policy estimates need rewards [lists, positions] and users [lists]: got {shape}")
        for name in ("logging", "target", "valid"):
            if getattr(self, name).shape != shape:
                raise DataError(f"{name} must have the shape of the rewards, {shape}: got {getattr(self, name).shape}")
        if self.user.min() < 0 or (self.valid[:, 1:] & ~self.valid[:, :-1]).any():
            raise DataError("users are numbers from 0, and the valid rows of a list come before all others")
        self._check("reward", "be finite", np.isfinite(self.reward))
        self._check("logging", "lie in (0, 1]; take what the log says", (self.logging > 0) & (self.logging <= 1))
        self._check("target", "lie in [0, 1]", (self.target >= 0) & (self.target <= 1))

    def _check(self, name: str, rule: str, holds: npt.NDArray[np.bool_]) -> None:
        bad = self.valid & ~holds
        if bad.any():
            row, position = np.argwhere(bad)[0]
            value = getattr(self, name)[row, position]
            raise DataError(f"{name} must {rule}: got {value} in list {row}, position {position + 1}")


class Weights(NamedTuple):
    """Importance weights, 0 where a row is not valid."""

    now: Floats  # [L, T] w_t
    before: Floats  # [L, T] w_{t-1}: 1 at the first position, and everywhere with `position`


class Terms(NamedTuple):
    """An estimator: per position the sum of one over the sum of the other, each [L, T], 0 where a row is not valid."""

    above: Floats
    below: Floats


def importance_weights(lists: LoggedLists, interaction: Literal["position", "prefix"], cap: float = np.inf) -> Weights:
    """Weights of one of the two extremes, capped at `cap` above 0.

    Raises:
      ConfigError: there is no such extreme, or the cap is not above 0.
    """
    if interaction not in ("position", "prefix") or not cap > 0:
        raise ConfigError(f"weights are of a position or a prefix, with a cap above 0: got {interaction!r}, {cap}")
    valid = lists.valid
    ratio = np.divide(lists.target, lists.logging, out=np.zeros(valid.shape), where=valid)
    before = np.ones(valid.shape)
    if interaction == "prefix":
        ratio = np.cumprod(ratio, axis=1)
        before[:, 1:] = ratio[:, :-1]
    return Weights(np.where(valid, np.minimum(ratio, cap), 0.0), np.where(valid, np.minimum(before, cap), 0.0))


def effective_sample_size(weights: Floats) -> Floats:
    """Kish's (sum of w)^2 / sum of w^2 over the first axis; 0 where all weights are."""
    squares = np.square(weights).sum(axis=0)
    return np.divide(np.square(weights.sum(axis=0)), squares, out=np.zeros_like(squares), where=squares > 0)


def ips(lists: LoggedLists, weights: Weights) -> Terms:
    """Inverse propensity score: unbiased, not invariant to rewards' zero."""
    return Terms(weights.now * _valid(lists, lists.reward), lists.valid.astype(float))


def self_normalized(lists: LoggedLists, weights: Weights) -> Terms:
    """SNIPS: a mean of logged rewards, so never outside their range; its bias vanishes with the sample size."""
    return Terms(weights.now * _valid(lists, lists.reward), weights.now)


def doubly_robust(lists: LoggedLists, weights: Weights, predicted: Floats, expected: Floats) -> Terms:
    """DR: unbiased if a position's propensities or the model are right; the better the model, the less variance.

    With `prefix` the propensities of the positions above must be right in any case.

    Args:
      lists: the log.
      weights: of either extreme.
      predicted: [L, T] q, the model's reward of what was shown; fitted on other lists, or it is too sure of these.
      expected: [L, T] E_pi q, its mean under the policy to be judged, given the logged prefix.

    Raises:
      DataError: a prediction of a valid row is not finite.
    """
    if not np.isfinite(np.stack([predicted, expected])[:, lists.valid]).all():
        raise DataError("the model's rewards of valid rows must be finite: predicted or expected has another")
    error = _valid(lists, lists.reward - predicted)
    return Terms(weights.before * _valid(lists, expected) + weights.now * error, lists.valid.astype(float))


class Estimate(NamedTuple):
    """What a list earns under the policy to be judged; NaN where the log cannot tell, with the reason."""

    value: float
    low: float  # of a bootstrap over users; NaN with fewer than LEAST_USERS, or without replicates
    high: float
    by_position: Floats  # [T] of the lists that have the position
    effective_sample_size: Floats  # [T]
    mean_weight: Floats  # [T] near 1 where propensities are right, both policies know the same choices and no cap acts
    reason: str  # why a value is NaN; "" if none is


def estimate(
    lists: LoggedLists, weights: Weights, terms: Terms, least_sample: float, replicates: int, seed: int
) -> Estimate:
    """Value per list and per position, with a 95 % interval.

    Args:
      lists: the log.
      weights: whose effective sample size counts.
      terms: of an estimator on these weights.
      least_sample: effective sample size below which a position, and with it the list, has no value.
      replicates: of the bootstrap over users (Poisson weights, as in `significance`); 0: no interval.
      seed: of the bootstrap.
    """
    sample, rows = effective_sample_size(weights.now), lists.valid.sum(axis=0)
    short = (rows > 0) & (sample < least_sample)
    sums = _user_sums(lists, terms)
    by_position = np.where(short, np.nan, _by_position(sums.sum(axis=0)))
    low = high = np.nan
    if not short.any() and replicates and len(sums) >= LEAST_USERS:
        low, high = percentile_interval(_replicates(sums, replicates, seed))
    return Estimate(
        value=np.nan if short.any() else float(_value(sums.sum(axis=0))),
        low=low,
        high=high,
        by_position=by_position,
        effective_sample_size=sample,
        mean_weight=np.divide(weights.now.sum(axis=0), rows, out=np.full(len(rows), np.nan), where=rows > 0),
        reason=_reason(short, sample, rows, least_sample),
    )


def _reason(short: npt.NDArray[np.bool_], sample: Floats, rows: npt.NDArray[np.int64], least: float) -> str:
    if not short.any():
        return ""
    at = int(np.argmax(short))
    return (
        f"at position {at + 1} the {rows[at]} logged rows count as {sample[at]:.1f}, fewer than {least:g}: the policy "
        "is too far from the one that was logged; log more exploration, cap the weights or judge single positions"
    )


def _valid(lists: LoggedLists, values: npt.NDArray[np.floating]) -> Floats:
    return np.where(lists.valid, values, 0.0)


def _user_sums(lists: LoggedLists, terms: Terms) -> Floats:
    """Sums over each user's lists of above, below, valid rows and lists: [users with a list, 4, T]."""
    users, user = np.unique(lists.user, return_inverse=True)
    sums = np.zeros((len(users), 4, lists.valid.shape[1]))
    parts = (terms.above, terms.below, lists.valid, np.ones(lists.valid.shape))
    for place, values in enumerate(parts):
        np.add.at(sums[:, place], user, values)
    return sums


def _by_position(sums: Floats) -> Floats:
    """Estimates [..., T] of sums [..., 4, T]; NaN where nothing was logged or no weight is above 0."""
    above, below = sums[..., 0, :], sums[..., 1, :]
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def _value(sums: Floats) -> Floats:
    """Value per list [...] of sums [..., 4, T]; positions that no list has earn nothing."""
    rows, lists = sums[..., 2, :], sums[..., 3, :]
    share = np.divide(rows, lists, out=np.full(rows.shape, np.nan), where=lists > 0)
    return np.where(rows > 0, _by_position(sums) * share, np.where(lists > 0, 0.0, np.nan)).sum(axis=-1)


def _replicates(sums: Floats, replicates: int, seed: int) -> Floats:
    values, flat = np.empty(replicates), sums.reshape(len(sums), -1)
    for which, counts in user_weights(len(sums), replicates, [seed]):
        values[which] = _value((counts.T @ flat).reshape(-1, *sums.shape[1:]))
    return values
