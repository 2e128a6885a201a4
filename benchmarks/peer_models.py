"""The peers as DeepCTR builds them: one Keras model per name on the same feature columns."""

from collections.abc import Callable

import tensorflow as tf
from deepctr import feature_column as columns
from deepctr import models
from deepctr.layers.core import PredictionLayer
from deepctr.layers.interaction import FM
from deepctr.layers.utils import add_func, concat_func

from benchmarks.peer_inputs import HISTORY_COUNTS, HISTORY_ITEMS, Inputs

EMBEDDING_DIM = 16


def build(name: str, inputs: Inputs, l2: float, seed: int) -> tf.keras.Model:
    """A peer that predicts the click probability.

    Args:
      name: one of BUILDERS.
      inputs: what the model gets.
      l2: penalty on embeddings and linear weights.
      seed: of the initial weights.
    """
    sparse = [_sparse(field, size, seed) for field, size in inputs.sizes.items()]
    pooled = []
    if inputs.items:
        items = _sparse(HISTORY_ITEMS, inputs.sizes["item_id"], seed, embedding_name="item_id")
        pooled = [columns.VarLenSparseFeat(items, inputs.items, combiner="mean")]
    dense = [columns.DenseFeat(HISTORY_COUNTS, inputs.counts)] if inputs.counts else []
    return BUILDERS[name](sparse + pooled, dense, l2, seed)


def _sparse(field: str, size: int, seed: int, embedding_name: str | None = None) -> columns.SparseFeat:
    start = tf.keras.initializers.RandomNormal(stddev=1e-4, seed=seed)  # DeepCTR's own, its seed is the same for all
    return columns.SparseFeat(
        field, size, EMBEDDING_DIM, embeddings_initializer=start, embedding_name=embedding_name or field
    )


def _lr(embedded: list, dense: list, l2: float, seed: int) -> tf.keras.Model:
    features = columns.build_input_features(embedded + dense)
    logit = columns.get_linear_logit(features, embedded + dense, seed=seed, l2_reg=l2)
    return tf.keras.Model(list(features.values()), PredictionLayer("binary")(logit))


def _fm(embedded: list, dense: list, l2: float, seed: int) -> tf.keras.Model:
    features = columns.build_input_features(embedded + dense)
    linear = columns.get_linear_logit(features, embedded + dense, seed=seed, l2_reg=l2)
    embeddings, _ = columns.input_from_feature_columns(features, embedded, l2, seed)
    logit = add_func([linear, FM()(concat_func(embeddings, axis=1))])
    return tf.keras.Model(list(features.values()), PredictionLayer("binary")(logit))


def _afm(embedded: list, dense: list, l2: float, seed: int) -> tf.keras.Model:
    # DeepCTR's AFM takes no numbers in its interactions.
    return models.AFM(embedded + dense, embedded, l2_reg_linear=l2, l2_reg_embedding=l2, seed=seed)


def _of(model: Callable[..., tf.keras.Model]) -> Callable[[list, list, float, int], tf.keras.Model]:
    def build_model(embedded: list, dense: list, l2: float, seed: int) -> tf.keras.Model:
        both = embedded + dense
        return model(both, both, l2_reg_linear=l2, l2_reg_embedding=l2, seed=seed)

    return build_model


BUILDERS: dict[str, Callable[[list, list, float, int], tf.keras.Model]] = {
    "lr": _lr,
    "fm": _fm,
    "nfm": _of(models.NFM),
    "afm": _afm,
    "wide-deep": _of(models.WDL),
    "deepfm": _of(models.DeepFM),
    "autoint": _of(models.AutoInt),
}
