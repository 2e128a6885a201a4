"""FieldInteraction and StateEncoder in models of other people; `test_state_encoder.py` has their values."""

import numpy as np
import pytest
import tensorflow as tf
import tiny

from hrlrec_tf.agents.builder import build_network
from hrlrec_tf.config import preset
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.layers import FieldInteraction, StateEncoder
from hrlrec_tf.networks.hrl_rec import HrlRecNetwork

from . import reuse
from .reuse import Case

B, N, D, UNITS = 3, 2, 4, 6


def inputs(rows: int) -> reuse.Arrays:
    rng = np.random.default_rng(rows)
    return {
        "fields": rng.normal(size=(B, rows, N, D)).astype(np.float32),
        "profile": rng.normal(size=(B, D)).astype(np.float32),
        "mask": np.arange(rows) >= np.array([[0], [1], [rows]]),
    }


def fields_only(rows: int) -> reuse.Arrays:
    return {"fields": inputs(rows)["fields"]}


def encoder_case(**form: str) -> Case:
    return Case(
        lambda **options: StateEncoder(UNITS, heads=2, **form, **options),
        inputs,
        lambda layer, given: layer(given["fields"], profile=given["profile"], mask=given["mask"], states=2),
    )


ENCODERS = {
    "gru": encoder_case(),
    "mean": encoder_case(sequence="mean"),
    "dense": encoder_case(fields="dense"),
    "bare": Case(
        lambda **options: StateEncoder(UNITS, heads=2, **options),
        fields_only,
        lambda layer, given: layer(given["fields"]),
    ),
}
CASES = {
    **ENCODERS,
    "field-interaction": Case(
        lambda **options: FieldInteraction(2, **options), fields_only, lambda layer, given: layer(given["fields"])
    ),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def test_its_config_makes_it_again(case):
    reuse.survives_its_config(case)


@pytest.mark.parametrize("name", ["gru", "bare", "field-interaction"])  # the other forms' configs are tested above
def test_a_model_of_it_is_saved_and_loaded(name, tmp_path):
    reuse.survives_saving(CASES[name], tmp_path)


def test_every_weight_learns(case):
    reuse.trains_every_weight(case)


@pytest.mark.parametrize(("policy", "tolerance"), [("mixed_bfloat16", 0.1), ("mixed_float16", 0.01)])
def test_mixed_precision(case, policy, tolerance):
    reuse.keeps_float32_weights(case, policy, tolerance)


def test_registered_under_the_package():
    for layer in (FieldInteraction, StateEncoder):
        assert tf.keras.utils.get_registered_name(layer) == f"hrlrec_tf>{layer.__name__}"


class TestDefaults:
    given = reuse.tensors(inputs(5))
    encoder = ENCODERS["gru"].built()

    def test_without_a_mask_every_row_counts(self):
        everything = tf.ones([B, 5], tf.bool)
        states = self.encoder(self.given["fields"], profile=self.given["profile"], states=3)
        explicit = self.encoder(self.given["fields"], profile=self.given["profile"], mask=everything, states=3)
        np.testing.assert_allclose(states, explicit, atol=1e-6)

    def test_without_a_profile_it_starts_at_zero(self):
        bare = ENCODERS["bare"].built()
        nothing = bare(self.given["fields"], mask=tf.zeros([B, 5], tf.bool), states=2)
        assert nothing.shape == (B, 2, UNITS) and np.abs(nothing).max() == 0

    def test_one_state_unless_told_otherwise(self):
        some = self.encoder(self.given["fields"], profile=self.given["profile"], states=4)
        np.testing.assert_allclose(self.encoder(self.given["fields"], profile=self.given["profile"]), some[:, -1:])


class TestKerasMask:
    ids = tf.constant([[0, 0, 2, 1], [0, 3, 1, 2], [0, 0, 0, 0]])

    def rows(self) -> tf.Tensor:
        """Behaviours of one field whose mask Keras carries along: [3, 4, 1, D]."""
        embedded = tf.keras.layers.Embedding(4, D, mask_zero=True)(self.ids)
        as_fields = tf.keras.layers.Lambda(lambda rows: rows[:, :, tf.newaxis], mask=lambda rows, mask: mask)
        return as_fields(embedded)

    def test_implicit_equals_explicit(self):
        rows, encoder = self.rows(), StateEncoder(UNITS, heads=2)
        np.testing.assert_array_equal(rows._keras_mask, self.ids != 0)
        implicit = encoder(rows, states=2)
        np.testing.assert_array_equal(implicit, encoder(tf.identity(rows), mask=self.ids != 0, states=2))
        assert np.abs(implicit - encoder(tf.identity(rows), states=2)).max() > 1e-4

    def test_field_interaction_passes_it_on_and_states_have_none(self):
        rows = self.rows()
        np.testing.assert_array_equal(FieldInteraction(2)(rows)._keras_mask, self.ids != 0)
        assert getattr(StateEncoder(UNITS, heads=2)(rows, states=2), "_keras_mask", None) is None


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: FieldInteraction(heads=3)(tf.zeros([1, N, D])), "heads must divide .* 3 and 4"),
        (lambda: StateEncoder(sequence="lstm"), "sequence .*gru.*mean.*'lstm'"),
        (lambda: StateEncoder(fields="none"), "fields .*attention.*dense.*'none'"),
        (lambda: StateEncoder(window="moving"), "window .*fixed.*sliding.*'moving'"),
        (lambda: StateEncoder(units=0), "units .*0"),
        (lambda: StateEncoder(4)(tf.zeros([1, 2, 8])), "must be \\[batch, rows, fields, size\\], got rank 3"),
    ],
)
def test_what_is_refused(wrong, sentence):
    with pytest.raises(ConfigError, match=sentence):
        wrong()


def test_whole_network_under_a_mixed_policy(reader):
    """Click probabilities and values stay float32 and near; a copy made from the config keeps the policy."""
    config, batch = tiny.config(base=preset("best")), tiny.random_batch(reader, 3)
    plain = build_network(config, reader)
    mixed = HrlRecNetwork(reader.spec, reader.sizes, config.network, dtype="mixed_bfloat16")
    for network in (mixed, HrlRecNetwork.from_config(mixed.get_config())):
        network(batch)
        network.set_weights(plain.get_weights())
        assert {variable.dtype for variable in network.variables} == {tf.float32}
        assert network.item_level.encoder.compute_dtype == "bfloat16"
        for name, values in network(batch).items():
            assert values.dtype == tf.float32
            np.testing.assert_allclose(values, plain(batch)[name], atol=0.05)
