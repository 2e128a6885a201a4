"""The baselines by name, as one TFRS model, and as a scorer of sessions."""

from collections.abc import Mapping

import tensorflow as tf
import tensorflow_recommenders as tfrs

from hrlrec_tf.baselines.ctr.afm import Afm
from hrlrec_tf.baselines.ctr.autoint import AutoInt
from hrlrec_tf.baselines.ctr.config import CtrConfig
from hrlrec_tf.baselines.ctr.deepfm import DeepFm
from hrlrec_tf.baselines.ctr.fields import SessionRows
from hrlrec_tf.baselines.ctr.fm import Fm
from hrlrec_tf.baselines.ctr.formula import Formula
from hrlrec_tf.baselines.ctr.history import HistoryRates
from hrlrec_tf.baselines.ctr.history_lr import HistoryLr
from hrlrec_tf.baselines.ctr.inputs import Fields, Rows
from hrlrec_tf.baselines.ctr.lr import Lr
from hrlrec_tf.baselines.ctr.nfm import Nfm
from hrlrec_tf.baselines.ctr.wide_deep import WideDeep
from hrlrec_tf.data.input import Batch

FORMULAS: Mapping[str, type[Formula]] = {
    "history-lr": HistoryLr,
    "lr": Lr,
    "fm": Fm,
    "nfm": Nfm,
    "afm": Afm,
    "wide-deep": WideDeep,
    "deepfm": DeepFm,
    "autoint": AutoInt,
}
LABEL = "label"


class CtrModel(tfrs.Model):
    """A formula trained on clicks.

    Args:
      formula: gives the logit.
      rates: makes numbers of the rows' history counts, None where they have none.

    Call:
      rows: as `SessionRows` makes them, flat: `ids` [R, C], `numbers` [R, M], `counts` [R, G, 2], as far as the
        formula has such fields. Returns logits [R].
    """

    def __init__(self, formula: Formula, rates: HistoryRates | None = None) -> None:
        super().__init__()
        self.formula, self.rates = formula, rates
        self.task = tfrs.tasks.Ranking(loss=tf.keras.losses.BinaryCrossentropy(from_logits=True))

    def call(self, rows: Rows, training: bool = False) -> tf.Tensor:
        rows = dict(rows)
        if self.rates is not None:
            numbers = [rows["numbers"]] if "numbers" in rows else []
            rows["numbers"] = tf.concat([*numbers, self.rates(rows.pop("counts"))], axis=-1)
        return self.formula(rows, training=training)

    def compute_loss(self, rows: Rows, training: bool = False) -> tf.Tensor:
        """Mean cross-entropy of rows with a `label` [R]."""
        rows = dict(rows)
        labels = rows.pop(LABEL)[:, tf.newaxis]
        return self.task(labels, self(rows, training=training)[:, tf.newaxis], compute_metrics=False)


class SessionScorer(tf.Module):
    """Click probabilities of the rows of sessions: what `evaluate` and an exported model call.

    Args:
      model: trained. rows: what it reads.

    Call:
      batch: transformed sessions with T rows each. Returns {"click_probability": [B, T]}.
    """

    def __init__(self, model: CtrModel, rows: SessionRows) -> None:
        super().__init__(name="ctr")
        self.model, self.rows = model, rows

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        logits = self.model(flatten(self.rows(batch)))
        return {"click_probability": tf.reshape(tf.sigmoid(logits), tf.shape(batch["channel"]))}


def flatten(rows: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """[B, T, ...] to [B * T, ...]."""
    return {name: tf.reshape(values, [-1, *values.shape[2:]]) for name, values in rows.items()}


def build(model: str, config: CtrConfig, fields: Fields, groups: int = 0) -> CtrModel:
    """A model with all weights made.

    Args:
      model: its name. config: its settings. fields: of a row, those of history included.
      groups: of history.
    """
    formula = FORMULAS[model](fields, config.network, config.training.embedding_l2)
    rates = HistoryRates(groups, config.inputs.prior_impressions) if groups else None
    built = CtrModel(formula, rates)
    built(_padding(fields, groups))
    return built


def _padding(fields: Fields, groups: int) -> dict[str, tf.Tensor]:
    """One row of zeros."""
    rows = {}
    if fields.sizes:
        rows["ids"] = tf.zeros([1, len(fields.sizes) - bool(fields.tags) + fields.tags], tf.int32)
    if numbers := len(fields.numeric) - 2 * groups:
        rows["numbers"] = tf.zeros([1, numbers])
    if groups:
        rows["counts"] = tf.zeros([1, groups, 2])
    return rows
