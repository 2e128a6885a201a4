"""The training loop of all baselines, on rows in memory: many steps per call of one traced function.

Everything a run depends on is in its checkpoints (one per epoch) or follows from its settings, so that a resumed run
ends as an unbroken one.
"""

import math
import pathlib
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
from sklearn.metrics import log_loss
from tqdm import tqdm

from hrlrec_tf.baselines.ctr.config import TrainingConfig
from hrlrec_tf.baselines.ctr.model import CtrModel
from hrlrec_tf.baselines.ctr.rows import TrainingRows
from hrlrec_tf.errors import DataError, ModelError, TrainingError
from hrlrec_tf.evaluation import metrics

_BATCHES = 100  # trained on per call, between two moves of the progress bar
_SCORED = 1 << 16  # rows at a time


class Fit:
    """One training run.

    Args:
      model: with all weights made; holds the best ones when `run` ends.
      rows: to train on.
      validation: to stop by; without any, or with one class only, all epochs run and the newest weights stand.
      settings: of the optimisation.
      folder: of the checkpoints `last` and `best`; what an earlier run left there is gone on from.

    Raises:
      DataError: there are no training rows. ModelError: another version wrote the checkpoints.
    """

    def __init__(
        self,
        model: CtrModel,
        rows: TrainingRows,
        validation: TrainingRows | None,
        settings: TrainingConfig,
        folder: pathlib.Path,
    ) -> None:
        if not rows.size:
            raise DataError("the training sessions are empty; look at summary.json of hrlrec prepare")
        self.model, self.rows, self.validation, self.settings = model, rows, validation, settings
        self.optimizer = tf.keras.optimizers.Adam(settings.learning_rate, global_clipnorm=settings.gradient_clip)
        self.optimizer.build(model.trainable_variables)
        model.compile(optimizer=self.optimizer)
        self._epoch, self._stale = tf.Variable(0, dtype=tf.int64), tf.Variable(0, dtype=tf.int64)
        self._best_auc = tf.Variable(-math.inf, dtype=tf.float64)
        last = tf.train.Checkpoint(
            model=model, optimizer=self.optimizer, epoch=self._epoch, stale=self._stale, best_auc=self._best_auc
        )
        self._last = tf.train.CheckpointManager(last, str(folder / "last"), max_to_keep=2)
        self._best = tf.train.CheckpointManager(tf.train.Checkpoint(model=model), str(folder / "best"), max_to_keep=1)
        self._restore()
        signature = [tf.TensorSpec([None], tf.int32)]
        features = {name: tf.TensorSpec([None, *each.shape[1:]], each.dtype) for name, each in rows.features.items()}
        # No Python control flow depends on tensors, and AutoGraph would multiply the tracing time.
        self._steps = tf.function(self._train_steps, input_signature=signature, autograph=False)
        self._score = tf.function(self._score_rows, input_signature=[features], autograph=False)

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return int(self._epoch)

    @property
    def batches(self) -> int:
        """Batches trained on in all epochs."""
        return int(self.optimizer.iterations)

    @property
    def best(self) -> dict[str, float]:
        """Validation AUC of the best weights, if there is one."""
        return {} if math.isinf(float(self._best_auc)) else {"validation_auc": float(self._best_auc)}

    def run(self, record: Callable[[int, int, str, Mapping[str, float]], None], progress: bool = False) -> None:
        """Trains to the end.

        Args:
          record: is told epoch, batches, split (`train` or `validation`) and the split's values after each epoch.
          progress: show a bar per epoch on stderr.

        Raises:
          TrainingError: the loss is NaN or infinite.
        """
        while self.epoch < self.settings.epochs and int(self._stale) < self.settings.patience:
            values = {"loss": self.train_epoch(progress), "learning_rate": float(self.optimizer.learning_rate)}
            self._epoch.assign_add(1)
            record(self.epoch, self.batches, "train", values)
            if found := self._validate():
                record(self.epoch, self.batches, "validation", found)
            self._last.save()
        self._best.checkpoint.restore(self._best.latest_checkpoint).assert_existing_objects_matched()

    def train_epoch(self, progress: bool = False) -> float:
        """One pass over the rows in an order that depends on seed and epoch; returns the mean loss."""
        size, epoch = self.settings.batch_size, self.epoch
        order = np.random.default_rng([self.settings.seed, epoch]).permutation(self.rows.size).astype(np.int32)
        total = 0.0
        with tqdm(total=len(order), desc=f"epoch {epoch + 1}", unit="row", disable=not progress) as bar:
            for first in range(0, len(order), size * _BATCHES):
                places = order[first : first + size * _BATCHES]
                total += float(self._steps(tf.constant(places)))
                if not math.isfinite(total):
                    raise TrainingError(
                        f"the loss is {total} in epoch {epoch + 1}; lower training.learning_rate (it is "
                        f"{float(self.optimizer.learning_rate):g}) or training.gradient_clip"
                    )
                bar.update(len(places))
        return total / len(order)

    def predict(self, rows: TrainingRows) -> np.ndarray:
        """Click probabilities [R]."""
        parts = [
            self._score({name: values[first : first + _SCORED] for name, values in rows.features.items()}).numpy()
            for first in range(0, rows.size, _SCORED)
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _train_steps(self, order: tf.Tensor) -> tf.Tensor:
        """Steps over the rows at `order`, batch by batch; returns the sum of the rows' losses."""
        size = self.settings.batch_size

        def step(first: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            places = order[first : first + size]
            loss = self.model.train_step(self.rows.take(places))["loss"]
            return first + size, total + loss * tf.cast(tf.size(places), tf.float32)

        more = lambda first, _: first < tf.size(order)  # noqa: E731
        return tf.while_loop(more, step, [0, 0.0], parallel_iterations=1)[1]

    def _score_rows(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return tf.sigmoid(self.model(features))

    def _validate(self) -> dict[str, float]:
        """Scores the validation rows and keeps the weights if their AUC is the best so far; cuts the rate if not."""
        values: dict[str, float] = {}
        if self.validation is not None and self.validation.size:
            labels, predictions = self.validation.labels.numpy(), self.predict(self.validation)
            values["log_loss"] = float(log_loss(labels, predictions.astype(np.float64), labels=[0, 1]))
            if not math.isnan(auc := metrics.auc(labels, predictions)):
                values["auc"] = auc
        if "auc" not in values:  # nothing to choose by: the newest weights stand
            self._best.save()
        elif values["auc"] > float(self._best_auc):
            self._best_auc.assign(values["auc"])
            self._stale.assign(0)
            self._best.save()
        else:
            self._stale.assign_add(1)
            self.optimizer.learning_rate.assign(self.optimizer.learning_rate * self.settings.plateau_cut)
        return values

    def _restore(self) -> None:
        checkpoint = self._last.latest_checkpoint
        if checkpoint is None:
            return
        try:
            self._last.checkpoint.restore(checkpoint).assert_existing_objects_matched()
        except (AssertionError, ValueError, tf.errors.InvalidArgumentError) as error:
            raise ModelError(
                f"{checkpoint} was written by another version of hrlrec_tf; start again without --resume"
            ) from error
