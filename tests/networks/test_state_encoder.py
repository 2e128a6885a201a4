import numpy as np
import oracles
import pytest
import tensorflow as tf

from hrlrec_tf.errors import ConfigError
from hrlrec_tf.networks.state_encoder import FieldInteraction, StateEncoder

RNG = np.random.default_rng(3)
B, H, T, N, D, UNITS = 3, 5, 4, 4, 8, 6
FIELDS = RNG.normal(size=(B, H + T - 1, N, D)).astype(np.float32)
PROFILE = RNG.normal(size=(B, D)).astype(np.float32)
# A full history, two rows of history, none at all.
MASK = np.array([[1] * 5, [0, 0, 0, 1, 1], [0] * 5], bool)
MASK = np.concatenate([MASK, np.ones((B, T - 1), bool)], axis=1)


def shaken(layer: tf.keras.layers.Layer) -> None:
    """Gives every weight a value of its own, biases and gains too."""
    rng = np.random.default_rng(9)
    for variable in layer.trainable_variables:
        variable.assign_add(rng.normal(0, 0.3, variable.shape))


def interaction_weights(layer: FieldInteraction) -> dict[str, np.ndarray]:
    named = {}
    for name in ("queries_keys_values", "output_projection"):
        dense = getattr(layer, name)
        named |= {f"{name}/kernel": dense.kernel.numpy(), f"{name}/bias": dense.bias.numpy()}
    for name in ("attention_norm", "output_norm"):
        norm = getattr(layer, name)
        named |= {f"{name}/gamma": norm.gamma.numpy(), f"{name}/beta": norm.beta.numpy()}
    for number, dense in enumerate(layer.feed_forward.layers):
        named |= {
            f"feed_forward/{number}/kernel": dense.kernel.numpy(),
            f"feed_forward/{number}/bias": dense.bias.numpy(),
        }
    return named


@pytest.fixture(scope="module")
def encoder():
    encoder = StateEncoder(UNITS, heads=2, dropout=0.5)
    encoder(tf.constant(FIELDS), tf.constant(PROFILE), tf.constant(MASK), T)
    shaken(encoder)
    return encoder


def encode(encoder, fields=FIELDS, mask=MASK, states=T, **options):
    return encoder(tf.constant(fields), tf.constant(PROFILE), tf.constant(mask), states, **options).numpy()


def projected_profile(encoder) -> np.ndarray:
    return np.tanh(PROFILE @ encoder.initial.kernel.numpy() + encoder.initial.bias.numpy())


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_field_interaction(heads):
    layer = FieldInteraction(heads)
    layer(tf.constant(FIELDS))
    shaken(layer)
    interacted = layer(tf.constant(FIELDS)).numpy()
    assert interacted.shape == (B, H + T - 1, N * D)
    weights = interaction_weights(layer)
    for b, s in ((0, 0), (1, 3), (2, 7)):
        np.testing.assert_allclose(interacted[b, s], oracles.field_interaction(FIELDS[b, s], weights, heads), atol=1e-4)


def test_field_interaction_mixes_the_fields_of_one_behaviour_only():
    layer = FieldInteraction(2)
    before = layer(tf.constant(FIELDS)).numpy()
    changed = FIELDS.copy()
    changed[0, 2, 3] += 1.0
    moved = np.abs(layer(tf.constant(changed)).numpy() - before)
    assert moved[0, 2].reshape(N, D).max(-1).min() > 1e-4  # every field of it
    moved[0, 2] = 0
    assert moved.max() < 1e-5


def test_states_by_hand(encoder):
    """Eq. 2: a GRU over behaviours from the projected profile; masked rows do not exist."""
    weights = interaction_weights(encoder.interaction)
    gru = encoder.sequence
    cell = [v.numpy() for v in (gru.gate_kernel, gru.gate_bias, gru.candidate_kernel, gru.candidate_bias)]
    states = encode(encoder)
    assert states.shape == (B, T, UNITS)
    for b in range(B):
        state, found = projected_profile(encoder)[b], []
        for s in range(H + T - 1):
            if s >= H:
                found.append(state)
            if MASK[b, s]:
                row = oracles.field_interaction(FIELDS[b, s], weights, 2)
                state = oracles.gru_step(row, state, *cell)
        np.testing.assert_allclose(states[b], [*found, state], atol=1e-4)


def test_an_empty_history_starts_at_the_projected_profile(encoder):
    np.testing.assert_allclose(encode(encoder)[2, 0], projected_profile(encoder)[2], rtol=1e-5)
    nothing = encode(encoder, mask=np.zeros_like(MASK))
    np.testing.assert_allclose(nothing, np.repeat(projected_profile(encoder)[:, None], T, 1), rtol=1e-5)


def test_a_masked_prefix_changes_nothing(encoder):
    changed = np.where(MASK[..., None, None], FIELDS, 50.0).astype(np.float32)
    np.testing.assert_allclose(encode(encoder, fields=changed), encode(encoder), atol=1e-6)


def test_rows_masked_at_the_end_leave_the_state(encoder):
    mask = MASK.copy()
    mask[0, H + 1 :] = False
    states = encode(encoder, mask=mask)[0]
    np.testing.assert_allclose(states[2], states[1], rtol=1e-6)
    np.testing.assert_allclose(states[:2], encode(encoder)[0, :2], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_a_mask_of_numbers_counts_as_one_of_truths(encoder, dtype):
    np.testing.assert_array_equal(encode(encoder, mask=MASK.astype(dtype)), encode(encoder))


@pytest.mark.parametrize("states", [0, H + T + 1])
def test_more_states_than_rows_are_refused(encoder, states):
    with pytest.raises(
        ConfigError, match=f"states must lie between 1 and rows \\+ 1, got {states} for {H + T - 1} rows"
    ):
        encode(encoder, states=states)


def test_one_pass_equals_separate_passes(encoder):
    together = encode(encoder)
    for t in range(T):
        alone = encode(encoder, fields=FIELDS[:, : H + t], mask=MASK[:, : H + t], states=1)
        np.testing.assert_allclose(together[:, t], alone[:, 0], atol=1e-6)


@pytest.mark.parametrize("window", ["fixed", "sliding"])
@pytest.mark.parametrize("sequence", ["gru", "mean"])
def test_carried_states_equal_those_of_one_pass(sequence, window):
    """What serving does: the history once, then a step for each placed row."""
    encoder = StateEncoder(UNITS, heads=2, sequence=sequence, window=window)
    states = encode(encoder)
    shaken(encoder)
    states = encode(encoder)
    rows = encoder.interaction(tf.constant(FIELDS))
    carry = encoder.start(rows[:, :H], tf.constant(PROFILE), tf.constant(MASK[:, :H]))
    for t in range(T):
        np.testing.assert_allclose(encoder.read(carry), states[:, t], atol=1e-6)
        if t < T - 1:
            carry = encoder.advance(carry, rows[:, H + t])


def test_a_sliding_window_is_a_pass_of_its_own_for_each_position(encoder):
    """The letter of eq. 2: at t the last m rows before t, from the projected profile."""
    sliding = StateEncoder(UNITS, heads=2, window="sliding")
    encode(sliding)
    sliding.set_weights(encoder.get_weights())
    states = encode(sliding)
    for t in range(T):
        seen = slice(t, t + H)
        alone = encode(encoder, fields=FIELDS[:, seen], mask=MASK[:, seen], states=1)
        np.testing.assert_allclose(states[:, t], alone[:, 0], atol=1e-6)
    assert np.abs(states - encode(encoder)).max() > 1e-3  # but for t = 1


def test_a_sliding_window_shorter_than_the_list(encoder):
    sliding = StateEncoder(UNITS, heads=2, window="sliding")
    fields, mask = FIELDS[:, :5], MASK[:, H - 2 : H + 3]
    encode(sliding, fields=fields, mask=mask)
    sliding.set_weights(encoder.get_weights())
    states = encode(sliding, fields=fields, mask=mask)  # m = 2 rows for T = 4 positions
    for t in range(T):
        alone = encode(encoder, fields=fields[:, t : t + 2], mask=mask[:, t : t + 2], states=1)
        np.testing.assert_allclose(states[:, t], alone[:, 0], atol=1e-6)


def test_average_pooling_by_hand():
    encoder = StateEncoder(UNITS, heads=2, sequence="mean")
    encode(encoder)
    shaken(encoder)
    states, dense = encode(encoder), encoder.sequence.projection
    rows = np.tanh(encoder.interaction(tf.constant(FIELDS)).numpy() @ dense.kernel.numpy() + dense.bias.numpy())
    for b in range(B):
        for t in range(T):
            seen = [row for row, valid in zip(rows[b, : H + t], MASK[b, : H + t]) if valid]
            np.testing.assert_allclose(states[b, t], np.mean([projected_profile(encoder)[b], *seen], 0), atol=1e-6)


def test_dense_layers_in_the_place_of_attention_by_hand():
    layer = FieldInteraction(2, form="dense")
    layer(tf.constant(FIELDS))
    shaken(layer)
    kernel, bias = layer.all_fields.kernel.numpy(), layer.all_fields.bias.numpy()
    fields = FIELDS[1, 2]
    mixed = np.maximum(fields.reshape(-1) @ kernel + bias, 0).reshape(N, D)
    rows = oracles.layer_norm(fields + mixed, layer.attention_norm.gamma.numpy(), layer.attention_norm.beta.numpy())
    first, second = layer.feed_forward.layers
    hidden = np.maximum(rows @ first.kernel.numpy() + first.bias.numpy(), 0)
    rows = rows + hidden @ second.kernel.numpy() + second.bias.numpy()
    rows = oracles.layer_norm(rows, layer.output_norm.gamma.numpy(), layer.output_norm.beta.numpy())
    np.testing.assert_allclose(layer(tf.constant(FIELDS))[1, 2], rows.reshape(-1), atol=1e-5)


def test_dropout_in_training_only(encoder):
    np.testing.assert_array_equal(encode(encoder), encode(encoder))
    assert np.abs(encode(encoder, training=True) - encode(encoder, training=True)).max() > 1e-3


def test_later_rows_do_not_reach_earlier_states(encoder):
    fields = tf.constant(FIELDS)
    for t in range(T):
        with tf.GradientTape() as tape:
            tape.watch(fields)
            value = tf.reduce_sum(encoder(fields, tf.constant(PROFILE), tf.constant(MASK), T)[:, t])
        reached = np.abs(tape.gradient(value, fields).numpy()).sum((2, 3)) > 0
        np.testing.assert_array_equal(reached, MASK & (np.arange(H + T - 1) < H + t))


def test_serialises(encoder):
    copy = StateEncoder.from_config(encoder.get_config())
    copy(tf.constant(FIELDS), tf.constant(PROFILE), tf.constant(MASK), T)
    copy.set_weights(encoder.get_weights())
    np.testing.assert_array_equal(encode(copy), encode(encoder))
    assert FieldInteraction.from_config(FieldInteraction(2, 0.1).get_config()).get_config()["dropout"] == 0.1
