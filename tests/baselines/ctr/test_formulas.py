"""Every formula against NumPy, its number of parameters against the published one, its serialised form."""

import numpy as np
import pytest
import tensorflow as tf

from baselines.ctr import oracle
from hrlrec_tf.baselines.ctr import config, crosses
from hrlrec_tf.baselines.ctr.autoint import FieldAttention
from hrlrec_tf.baselines.ctr.dense_stack import DenseStack
from hrlrec_tf.baselines.ctr.inputs import Fields, FieldTable, offset_ids
from hrlrec_tf.baselines.ctr.model import FORMULAS, build
from hrlrec_tf.errors import ConfigError

FIELDS = Fields({"user": 5, "item": 7, "tags": 4}, ("age", "rate"), tags=3)
ROWS = [
    ({"user": 1, "item": 6, "tags": (1, 3, 0)}, (0.5, -1.0)),
    ({"user": 4, "item": 0, "tags": (0, 0, 0)}, (2.0, 0.0)),
    ({"user": 0, "item": 2, "tags": (0, 2, 2)}, (-1.5, 3.0)),
]
NETWORKS = {
    "lr": config.LinearConfig(),
    "fm": config.EmbeddingConfig(3),
    "nfm": config.DenseConfig(3, (4, 2), batch_norm=True),
    "afm": config.AfmConfig(3, 4),
    "wide-deep": config.DenseConfig(3, (4, 2)),
    "deepfm": config.DenseConfig(3, (4, 2), batch_norm=True),
    "autoint": config.AutoIntConfig(3, (4,), attention_units=6, attention_heads=2, layer_norm=True),
}
PLAIN_AUTOINT = config.AutoIntConfig(4, attention_units=4, residual=True, scale=False, wide=False)


def rows() -> dict[str, tf.Tensor]:
    ids = [[u["user"], 5 + u["item"], *(12 + tag for tag in u["tags"])] for u, _ in ROWS]
    return {"ids": tf.constant(ids, tf.int32), "numbers": tf.constant([numbers for _, numbers in ROWS])}


def randomised(model: str, network) -> tf.keras.layers.Layer:
    """A formula whose weights are all drawn, those that start at 0 too."""
    formula = FORMULAS[model](FIELDS, network)
    formula(rows())
    rng = np.random.default_rng(3)
    for weight in formula.weights:
        drawn = rng.normal(size=weight.shape)
        weight.assign(np.abs(drawn) + 0.5 if "variance" in weight.name else drawn)
    return formula


def dense_weights(stack: DenseStack) -> list[tuple]:
    layers, hidden = stack.layers, []
    for place, layer in enumerate(layers):
        if isinstance(layer, tf.keras.layers.Dense):
            norm = layers[place + 1]
            is_norm = isinstance(norm, tf.keras.layers.BatchNormalization)
            hidden.append((*numpy(layer), numpy(norm) if is_norm else None))
    return [*hidden, numpy(stack.last)]


def numpy(layer: tf.keras.layers.Layer) -> list[np.ndarray]:
    return [weight.astype(np.float64) for weight in layer.get_weights()]


def expected(model: str, formula, row) -> float:
    network, logit, e = formula.network, 0.0, []
    if getattr(formula, "linear", None) is not None:
        *tables, bias = [*numpy(formula.linear), None][:3]
        weights = oracle.vectors(*tables, row, FIELDS.sizes, FIELDS.tags)
        logit = float(sum(weights)[0]) + (0.0 if bias is None else float(bias))
    if model != "lr":
        e = oracle.vectors(*numpy(formula.embedding), row, FIELDS.sizes, FIELDS.tags)
    if model in ("fm", "deepfm"):
        logit += oracle.second_order(e)
    if model in ("wide-deep", "deepfm") or getattr(network, "hidden_units", ()) and model == "autoint":
        logit += oracle.dense(np.concatenate(e), dense_weights(formula.dense))
    if model == "nfm":
        logit += oracle.dense(sum(oracle.products(e)), dense_weights(formula.dense))
    if model == "afm":
        logit += oracle.afm(e, *numpy(formula.attention), *numpy(formula.weight), *numpy(formula.projection))
    if model == "autoint":
        for layer in formula.attention:
            weights = [numpy(each)[0] for each in (layer.queries, layer.keys, layer.values)]
            same = np.eye(len(e[0]))
            residual = same if layer.residual_projection is None else numpy(layer.residual_projection)[0]
            norm = numpy(layer.norm) if layer.norm is not None else None
            e = oracle.attention(e, *weights, residual, layer.heads, layer.scale, norm)
        logit += oracle.dense(np.concatenate(e), dense_weights(formula.last))
    return logit


@pytest.mark.parametrize(
    ("model", "network"), [*NETWORKS.items(), ("autoint", PLAIN_AUTOINT)], ids=[*NETWORKS, "autoint-plain"]
)
def test_value(model, network):
    formula = randomised(model, network)
    found = formula(rows()).numpy()
    np.testing.assert_allclose(found, [expected(model, formula, row) for row in ROWS], rtol=1e-4, atol=1e-5)
    assert len({round(float(each), 3) for each in found}) == len(ROWS)


@pytest.mark.parametrize("model", NETWORKS)
def test_serialises(model):
    formula = randomised(model, NETWORKS[model])
    copy = type(formula).from_config(formula.get_config())
    copy(rows())
    copy.set_weights(formula.get_weights())
    np.testing.assert_array_equal(copy(rows()), formula(rows()))


# BARS's logs state "Total number of parameters" for each. All models embed the ids of the training file and one unknown
# id per field: 90,239 ids on MovielensLatest (3 fields), 5,389 on Frappe (10 fields), which follows from the linear
# model's count of ids + 1. How they are spread over the fields does not matter.
MOVIELENS, FRAPPE = (3, 90_239), (10, 5_389)
DEEP = {"embedding_dim": 10, "hidden_units": (400, 400, 400)}


@pytest.mark.parametrize(
    ("model", "data", "network", "published"),
    [
        ("lr", MOVIELENS, {}, 90_240),
        ("lr", FRAPPE, {}, 5_390),
        ("fm", MOVIELENS, {"embedding_dim": 10}, 992_630),
        ("fm", FRAPPE, {"embedding_dim": 10}, 59_280),
        ("nfm", MOVIELENS, DEEP, 1_318_230),
        ("nfm", FRAPPE, DEEP, 384_880),
        ("afm", MOVIELENS, {"embedding_dim": 10, "attention_units": 16}, 992_832),
        ("afm", FRAPPE, {"embedding_dim": 10, "attention_units": 128}, 60_826),
        ("wide-deep", MOVIELENS, DEEP | {"batch_norm": True}, 1_328_630),
        ("wide-deep", FRAPPE, DEEP | {"batch_norm": True}, 423_280),
        ("deepfm", MOVIELENS, DEEP | {"batch_norm": True}, 1_328_630),
        ("deepfm", FRAPPE, DEEP | {"batch_norm": True}, 423_280),
        (
            "autoint",
            MOVIELENS,
            {"embedding_dim": 10, "attention_units": 128, "attention_heads": 4, "layer_norm": True},
            1_047_798,
        ),
        (
            "autoint",
            FRAPPE,
            {
                "embedding_dim": 10,
                "attention_layers": 6,
                "attention_units": 128,
                "attention_heads": 4,
                "wide": False,
            },
            306_051,
        ),
        (
            "autoint",
            MOVIELENS,
            DEEP | {"batch_norm": True, "attention_units": 128, "attention_heads": 4, "layer_norm": True},
            1_383_799,
        ),
    ],
)
def test_number_of_parameters_is_the_published_one(model, data, network, published):
    count, ids = data
    sizes = {f"field{i}": 1 for i in range(count - 1)} | {"rest": ids - count + 1}
    settings = config.from_dict(model, {"network": network})
    built = build(model, settings, Fields(sizes))
    assert sum(int(tf.size(weight)) for weight in built.trainable_variables) == published


def test_crosses():
    e = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    for row, products, pooled, total in zip(e, crosses.pairs(e), crosses.bi_interaction(e), crosses.second_order(e)):
        np.testing.assert_allclose(products, oracle.products(row), rtol=1e-5)
        np.testing.assert_allclose(pooled, sum(oracle.products(row)), rtol=1e-4, atol=1e-5)
        assert float(total) == pytest.approx(oracle.second_order(row), rel=1e-4)


def test_the_penalty_is_half_lambda_times_the_squared_norm_of_the_whole_tables():
    formula = FORMULAS["fm"](FIELDS, config.EmbeddingConfig(3), l2=0.5)
    formula(rows())
    tables = [weight for weight in formula.weights if weight.shape.rank]
    for place, weight in enumerate(tables):
        weight.assign(tf.fill(weight.shape, 1.0 + place))
    expected = sum(0.25 * float(tf.reduce_sum(tf.square(weight))) for weight in tables)
    assert float(tf.add_n(formula.losses)) == pytest.approx(expected)
    assert len(tables) == 4
    assert not FORMULAS["fm"](FIELDS, config.EmbeddingConfig(3)).losses


def test_embeddings_start_near_zero_and_dense_layers_at_xaviers_spread():
    table = FieldTable(Fields({"item": 10_000}), 8).table.numpy()
    assert table.std() == pytest.approx(1e-4, rel=0.05)
    stack = DenseStack((300,))
    stack(tf.zeros([1, 100]))
    assert stack.layers[0].kernel.numpy().std() == pytest.approx(np.sqrt(2 / 400), rel=0.05)


def test_dropout_drops_in_training_only():
    for layer, inputs in (
        (DenseStack((50,), dropout=0.5), tf.random.normal([4, 6])),
        (FieldAttention(8, 2, dropout=0.5), tf.random.normal([4, 5, 3])),
    ):
        np.testing.assert_array_equal(layer(inputs), layer(inputs))
        assert not np.allclose(layer(inputs, training=True), layer(inputs))
    formula = randomised("afm", config.AfmConfig(3, 4, attention_dropout=0.5))
    pooled = randomised("afm", config.AfmConfig(3, 4, pooling_dropout=0.5))
    for each in (formula, pooled):
        assert not np.allclose(each(rows(), training=True), each(rows()))


def test_layers_serialise():
    for layer, shape in (
        (DenseStack((4, 2), 0.1, True), [3, 5]),
        (FieldAttention(8, 2, False, False, True), [3, 4, 5]),
    ):
        inputs = tf.random.normal(shape)
        layer(inputs)
        copy = type(layer).from_config(layer.get_config())
        copy(inputs)
        copy.set_weights(layer.get_weights())
        np.testing.assert_array_equal(copy(inputs), layer(inputs))
    table = FieldTable(FIELDS, 3, l2=0.1)
    assert FieldTable.from_config(table.get_config()).get_config() == table.get_config()


def test_offsets():
    columns = {"user": np.array([1, 4]), "item": np.array([0, 2])}
    np.testing.assert_array_equal(offset_ids(Fields({"user": 5, "item": 3}), columns), [[1, 5], [4, 7]])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Fields({}), "needs at least one field, got none; name some in inputs.fields"),
        (lambda: Fields({"tags": 3, "item": 2}, tags=2), "tags must be the last .* got tags, item and 2"),
        (lambda: Fields({"item": 2}, tags=2), "tags must be the last and come with a number of tags"),
        (lambda: DenseStack((4, 0)), "every size in units must be a whole number from 1, got 0"),
        (lambda: DenseStack((4,), dropout=1.5), "rate must lie in"),
    ],
)
def test_bad_input(make, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make()
