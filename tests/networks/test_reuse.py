"""The public layers in models of other people: configs, saving, mixed precision, any number of rows."""

import numpy as np
import pytest
import tensorflow as tf

from hrlrec_tf import layers
from hrlrec_tf.errors import ConfigError

from . import reuse
from .reuse import Case

B, S, D = 2, 6, 4


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def states_and_actions(rows: int) -> reuse.Arrays:
    return {"states": normal(0, B, rows, S), "actions": normal(1, B, rows, D)}


def items_for_one_action(rows: int) -> reuse.Arrays:
    return {"actions": normal(2, B, 1, D), "items": normal(3, B, rows, D)}


def item_features(rows: int) -> reuse.Arrays:
    rng = np.random.default_rng(4)
    return {
        "author": rng.integers(0, 5, [B, rows]),
        "tags": rng.integers(0, 4, [B, rows, 2]),
        "price": normal(5, B, rows),
        "stock": rng.integers(0, 9, [B, rows]),
    }


def candidates(rows: int) -> reuse.Arrays:
    rng = np.random.default_rng(6)
    return {
        "channel_actions": normal(7, B, D),
        "item_actions": normal(8, B, D),
        "candidates": normal(9, B, rows, D),
        "channels": rng.integers(1, 3, [B, rows]),
        "available": np.arange(rows) + np.zeros([B, 1]) < rows - 1,
    }


CASES = {
    **{
        f"actor-{space}": Case(
            lambda space=space, **options: layers.Actor(D, space, **options),
            states_and_actions,
            lambda layer, given: layer(given["states"]),
        )
        for space in ("tanh", "l2")
    },
    **{
        f"critic-{head}-{form}": Case(
            lambda head=head, form=form, **options: layers.Critic(head, form, D, **options),
            states_and_actions,
            lambda layer, given: layer(given["states"], given["actions"]),
        )
        for head, form in (("linear", "linear"), ("softplus", "interaction"))
    },
    **{
        f"click-head-{form}": Case(
            lambda form=form, **options: layers.ClickHead(form, **options),
            items_for_one_action,
            lambda layer, given: layer(given["actions"], given["items"]),
        )
        for form in ("linear", "interaction")
    },
    "feature-tower": Case(
        lambda **options: layers.FeatureTower({"author": 5, "tags": 4}, ("price", "stock"), D, "author", **options),
        item_features,
        lambda layer, given: layer(given),
    ),
    "retrieval": Case(
        lambda **options: layers.ChannelConstrainedRetrieval(**options),
        candidates,
        lambda layer, given: layer(*(given[name] for name in candidates(1))),
    ),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture(params=[name for name in CASES if name != "retrieval"])
def trained(request):
    return CASES[request.param]


def test_its_config_makes_it_again(case):
    reuse.survives_its_config(case)


def test_a_model_of_it_is_saved_and_loaded(case, tmp_path):
    reuse.survives_saving(case, tmp_path)


def test_every_weight_learns(trained):
    reuse.trains_every_weight(trained)


@pytest.mark.parametrize(("policy", "tolerance"), [("mixed_bfloat16", 0.05), ("mixed_float16", 0.005)])
def test_mixed_precision(case, policy, tolerance):
    reuse.keeps_float32_weights(case, policy, tolerance)


def test_what_losses_read_is_float32_under_a_mixed_policy():
    for name in CASES:
        if name.startswith(("actor", "critic", "click-head")):
            layer = CASES[name].built(dtype="mixed_bfloat16")
            assert CASES[name].run(layer).dtype == np.float32
    tower = CASES["feature-tower"].built(dtype="mixed_bfloat16")
    assert CASES["feature-tower"].run(tower).dtype == tf.bfloat16.as_numpy_dtype


def test_heads_pass_a_mask_on_to_the_loss():
    ids = tf.constant([[3, 1, 0], [2, 0, 0]])
    embedded = tf.keras.layers.Embedding(4, D, mask_zero=True)(ids)
    action = layers.Actor(D)(embedded)
    for tensor in (action, layers.Critic(action_dim=D)(embedded, action), layers.ClickHead()(action, embedded)):
        np.testing.assert_array_equal(tensor._keras_mask, ids != 0)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: layers.Actor(dim=0), "Actor: dim must be a whole number from 1, got 0"),
        (lambda: layers.Actor(space="sphere"), "Actor: space must be one of tanh, l2, got 'sphere'"),
        (lambda: layers.Critic("elu"), "Critic: head must be one of relu, linear, softplus, got 'elu'"),
        (lambda: layers.Critic(form="deep"), "Critic: form must be one of linear, interaction, got 'deep'"),
        (lambda: layers.Critic(action_dim=2.5), "Critic: action_dim must be a whole number from 1, got 2.5"),
        (
            lambda: layers.Critic(action_dim=32)(normal(0, 2, S), normal(0, 2, D)),
            "Critic: the last dimension of actions must be action_dim 32, got 4; build the critic with action_dim=4",
        ),
        (lambda: layers.ClickHead("deep"), "form must be one of linear, interaction, state, counts, got 'deep'"),
        (
            lambda: layers.ClickHead()(normal(0, 2, 3), normal(0, 2, 4)),
            "ClickHead: the last dimensions of actions and items must be equal, got actions 3, items 4; give",
        ),
        (lambda: layers.FeatureTower({}), "FeatureTower: it needs at least one feature, got none; name some"),
        (lambda: layers.FeatureTower({"a": 0}), "FeatureTower: the size of 'a' must be a whole number from 1, got 0"),
        (lambda: layers.FeatureTower({"a": 3}, mask_zero="b"), "FeatureTower: mask_zero must be one of a, got 'b'"),
        (
            lambda: layers.FeatureTower({"a": 3, "b": 3}, ("c",))({"b": np.array([1])}),
            "FeatureTower: rows must hold a, b, c, got b; add a, c",
        ),
    ],
)
def test_what_is_refused(wrong, sentence):
    with pytest.raises(ConfigError) as refused:
        wrong()
    assert sentence in str(refused.value)


def test_public_names():
    assert all(getattr(layers, name).__module__.startswith("hrlrec_tf.networks") for name in layers.__all__)
    for name in layers.__all__:
        if name not in ("FieldInteraction", "StateEncoder"):
            assert tf.keras.utils.get_registered_name(getattr(layers, name)) == f"hrlrec_tf>{name}"
