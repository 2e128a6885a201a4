"""Health of training: what a step measures beside its losses, and what must stop it.

A step returns its metrics as one vector. Looking at it would make the host wait for the device, so `HealthMonitor` only
collects vectors; `check` looks at all of them at once, now and then.
"""

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from hrlrec_tf.config import Config
from hrlrec_tf.errors import TrainingError
from hrlrec_tf.losses import masked_mean
from hrlrec_tf.networks.list_network import ListNetwork

DEAD_WINDOW = 100  # batches over which a critic must be dead to stop training
_DEAD_SHARE = 0.99  # of a dead critic's outputs
_DEAD_Q = 0.01  # times the logged return: what a dead critic's mean Q stays below
_LEVELS = {"channel": "channel selector", "item": "item recommender"}
_LOSSES = {
    "critic_loss": "critic loss",
    "click_loss": "click loss",
    "action_click_loss": "click loss on the action alone",
    "similarity_loss": "similarity loss",
    "cloning_loss": "cloning loss",
    "actor_loss": "actor loss",
}


def gradient_norms(network: ListNetwork, gradients: Sequence[tf.Tensor | tf.IndexedSlices | None]) -> dict:
    """Norm of the gradient of each part's weights, before clipping: name -> scalar.

    Args:
      network: all levels.
      gradients: of `network.trainable_variables`, in their order; None where a loss does not reach.
    """
    slopes = {
        variable.ref(): gradient
        for variable, gradient in zip(network.trainable_variables, gradients, strict=True)
        if gradient is not None
    }
    parts = {f"{name}_{part}": own for name, level in network.levels.items() for part, own in level.parts.items()}
    parts["items"] = network.embedding.items.trainable_variables
    own = {variable.ref() for variable in parts["items"]}
    parts["tables"] = [each for each in network.embedding.trainable_variables if each.ref() not in own]
    return {f"{part}_gradient_norm": _norm(slopes, variables) for part, variables in parts.items()}


def _norm(slopes: Mapping, variables: Sequence[tf.Variable]) -> tf.Tensor:
    reached = [slopes[variable.ref()] for variable in variables if variable.ref() in slopes]
    return tf.linalg.global_norm(reached) if reached else tf.constant(0.0)


def q_health(q_values: Sequence[tf.Tensor], returns: tf.Tensor, valid: tf.Tensor) -> dict[str, tf.Tensor]:
    """How a level's values compare with what was earned, as docs/metrics.md defines each: name -> scalar.

    Args:
      q_values: of the displayed items, [B, T] by each critic; the first one is the level's Q.
      returns: [B, T] logged. valid: [B, T].
    """
    means = [masked_mean(q_t, valid) for q_t in q_values]
    dead = [masked_mean(tf.cast(q_t == 0, tf.float32), valid) for q_t in q_values]
    return_mean = masked_mean(returns, valid)
    return {
        "q_mean": means[0],
        "smallest_q_mean": tf.reduce_min(tf.stack(means)),  # what a TD target sees
        "return_mean": return_mean,
        "overestimation": means[0] - return_mean,
        "q_return_correlation": correlation(q_values[0], returns, valid),
        "dead_share": tf.reduce_max(tf.stack(dead)),  # Q is exactly 0 where a ReLU critic has died
    }


def correlation(one: tf.Tensor, other: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """Pearson correlation of two tensors [B, T] where `valid` [B, T] is not zero; 0 where one of them is constant."""
    one, other = (values - masked_mean(values, valid) for values in (one, other))
    spread = tf.sqrt(masked_mean(tf.square(one), valid) * masked_mean(tf.square(other), valid))
    return tf.math.divide_no_nan(masked_mean(one * other, valid), spread)


class HealthMonitor(tf.train.experimental.PythonState):
    """Means of an epoch's metrics; stops training at a loss that is no number and at a dead critic.

    A checkpoint keeps what was collected of an unfinished epoch.

    Args:
      config: of the run; a level whose loss has no weight may be dead.
    """

    def __init__(self, config: Config) -> None:
        self._levels = [level for level in _LEVELS if getattr(config.losses, level) > 0]
        self._names: list[str] = []
        self._waiting: list[tf.Tensor] = []
        self._epoch, self._window = _Sums(), _Sums()

    @property
    def batches(self) -> int:
        """Batches of the epoch so far."""
        return self._epoch.batches + len(self._waiting)

    def pack(self, metrics: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The metrics of a step as one vector for `add`; notes their names, which never change, while tracing."""
        self._names = sorted(metrics)
        return tf.stack([metrics[name] for name in self._names])

    def add(self, values: tf.Tensor) -> None:
        """Takes the metrics of one more batch; does not wait for them."""
        self._waiting.append(values)

    def check(self, step: int) -> None:
        """Looks at what was added since the last check.

        Args:
          step: number of the newest batch since training began.

        Raises:
          TrainingError: a metric is NaN or infinite, or a critic has died.
        """
        if self._waiting:
            rows = np.stack([values.numpy() for values in self._waiting]).astype(np.float64)
            self._waiting = []
            _check_finite(self._names, rows, step - len(rows) + 1)
            for sums in (self._epoch, self._window):
                sums.add(self._names, rows)
        if self._window.batches >= DEAD_WINDOW:
            self._check_alive(self._window)
            self._window = _Sums()

    def finish_epoch(self, step: int) -> dict[str, float]:
        """Checks the rest of an epoch, starts a new one; returns the means over the epoch's batches.

        Raises:
          TrainingError: as `check`.
        """
        self.check(step)
        if self._epoch.batches < DEAD_WINDOW:
            self._check_alive(self._epoch)
        means = self._epoch.means()
        self._epoch = _Sums()
        return means

    def _check_alive(self, sums: "_Sums") -> None:
        means = sums.means()
        for level in self._levels:
            names = ("dead_share", "smallest_q_mean", "return_mean")
            dead, q, logged = (means.get(f"{level}_{name}", 0.0) for name in names)
            if dead >= _DEAD_SHARE and abs(q) < _DEAD_Q * abs(logged):
                raise TrainingError(
                    f"the critic of the {_LEVELS[level]} is dead: Q is 0 for {100 * dead:.1f} % of the rows of the "
                    f"last {sums.batches} batches, while the mean logged return is {logged:.4g}; its ReLU (eq. 5, 8) "
                    "passes no gradient where it is 0, so it cannot recover: set network.critic_head to linear or "
                    "softplus, or lower training.learning_rate"
                )

    def serialize(self) -> str:
        """For the checkpoint; nothing may be waiting, see `check`."""
        return json.dumps([vars(self._epoch), vars(self._window)])

    def deserialize(self, string_value: str | bytes) -> None:
        """Inverse of `serialize`."""
        self._epoch, self._window = (_Sums(**fields) for fields in json.loads(string_value))


class _Sums:
    """Sums of metrics over batches."""

    def __init__(self, batches: int = 0, totals: Mapping[str, float] | None = None) -> None:
        self.batches, self.totals = batches, dict(totals or {})

    def add(self, names: Sequence[str], rows: np.ndarray) -> None:
        """Adds rows [n, len(names)]."""
        self.batches += len(rows)
        for name, column in zip(names, rows.T, strict=True):
            for value in column:  # one by one: a sum must not depend on when it was checked
                self.totals[name] = self.totals.get(name, 0.0) + float(value)

    def means(self) -> dict[str, float]:
        """Mean of each metric over the batches."""
        return {name: total / self.batches for name, total in self.totals.items()}


def _check_finite(names: Sequence[str], rows: np.ndarray, first_step: int) -> None:
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        at = int(bad[0])
        values = dict(zip(names, rows[at].tolist(), strict=True))
        raise TrainingError(_diagnosis(values, first_step + at))


def _diagnosis(values: Mapping[str, float], batch: int) -> str:
    """Which loss went wrong first, the likely cause and the remedy, from the metrics of the first bad batch."""
    bad = {name for name, value in values.items() if not math.isfinite(value)}
    parts = [(level, loss) for loss in _LOSSES for level in _LEVELS if f"{level}_{loss}" in bad]
    if not parts:
        name = min(bad)
        return (
            f"{name} is {values[name]} in batch {batch} while every loss is finite: a gradient or the sum of the "
            "losses overflowed; lower training.learning_rate or the weights in losses"
        )
    level, loss = parts[0]
    said = f"the {_LOSSES[loss]} of the {_LEVELS[level]} is {values[f'{level}_{loss}']} in batch {batch}"
    if f"{level}_return_mean" in bad:
        return (
            f"{said}, for its rewards are: look for extreme values in clicks and dwell_seconds, raise "
            "rewards.dwell_unit_seconds or set rewards.combine to linear"
        )
    if {f"{level}_click_loss", f"{level}_similarity_loss"} <= bad:
        return (
            f"{said}, and so are the states: the weights overflowed, or a numeric column (user_*, context_*, item_*) "
            "holds extreme values; lower training.learning_rate or clean the column"
        )
    return (
        f"{said} while the rewards are finite: Q grew without bound; lower training.learning_rate or losses.gamma, or "
        "raise rewards.dwell_unit_seconds"
    )
