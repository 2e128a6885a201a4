import numpy as np
import oracles
import pytest
import tensorflow as tf

from hrlrec_tf.networks.gru import GRU

RNG = np.random.default_rng(5)
S, B, D, UNITS = 7, 3, 5, 4
ROWS = RNG.normal(size=(S, B, D)).astype(np.float32)
INITIAL = RNG.normal(size=(B, UNITS)).astype(np.float32)
MASK = np.array([[0, 0, 1, 1, 0, 1, 1], [1] * 7, [0] * 7], bool).T  # holes, full, nothing


@pytest.fixture(scope="module")
def gru():
    layer = GRU(UNITS)
    layer(ROWS, INITIAL, MASK)
    for variable in layer.trainable_variables:
        variable.assign_add(RNG.normal(0, 0.3, variable.shape))
    return layer


def weights(layer) -> list[np.ndarray]:
    named = (layer.gate_kernel, layer.gate_bias, layer.candidate_kernel, layer.candidate_bias)
    return [variable.numpy().astype(np.float64) for variable in named]


def by_hand(rows, initial, *cell) -> np.ndarray:
    """[S + 1, B, U]: masked rows do not exist."""
    states = [initial]
    for row, valid in zip(rows, MASK):
        after = [
            oracles.gru_step(x, state, *cell) if inside else state for x, state, inside in zip(row, states[-1], valid)
        ]
        states.append(np.stack(after))
    return np.stack(states)


def test_states_by_hand(gru):
    np.testing.assert_allclose(gru(ROWS, INITIAL, MASK), by_hand(ROWS, INITIAL, *weights(gru)), atol=1e-5)


def test_gradients_by_central_differences(gru):
    """The hand-written backward pass, of rows, initial state and every weight, with masked steps among the others."""
    outer = RNG.normal(size=(S + 1, B, UNITS))
    inputs = [ROWS.astype(np.float64), INITIAL.astype(np.float64), *weights(gru)]
    rows, initial = tf.constant(ROWS), tf.constant(INITIAL)
    with tf.GradientTape() as tape:
        tape.watch([rows, initial])
        value = tf.reduce_sum(gru(rows, initial, MASK) * outer)
    variables = [gru.gate_kernel, gru.gate_bias, gru.candidate_kernel, gru.candidate_bias]
    for number, slope in enumerate(tape.gradient(value, [rows, initial, *variables])):
        expected = np.zeros_like(inputs[number])
        for place in np.ndindex(expected.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [each.copy() for each in inputs]
                moved[number][place] += step
                ends.append((by_hand(*moved) * outer).sum())
            expected[place] = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(slope, expected, atol=2e-4)


def test_an_unknown_number_of_rows_makes_no_difference(gru):
    """A loop in the graph instead of unrolled steps: states and gradients."""

    def states_and_slopes(rows):
        with tf.GradientTape() as tape:
            states = gru(rows, INITIAL, MASK)
            value = tf.reduce_sum(states**2)
        return states, tape.gradient(value, gru.trainable_variables)

    looped = tf.function(states_and_slopes, input_signature=[tf.TensorSpec([None, B, D])], autograph=False)
    for mine, other in zip(*(tf.nest.flatten(each(tf.constant(ROWS))) for each in (looped, states_and_slopes))):
        np.testing.assert_allclose(mine, other, atol=1e-5)


def test_no_rows_at_all(gru):
    np.testing.assert_array_equal(gru(ROWS[:0], INITIAL, MASK[:0]), INITIAL[np.newaxis])
    open_shapes = [tf.TensorSpec([None, None, D]), tf.TensorSpec([None, UNITS]), tf.TensorSpec([None, None], tf.bool)]
    looped = tf.function(lambda *inputs: gru(*inputs), input_signature=open_shapes, autograph=False)
    np.testing.assert_allclose(looped(ROWS[:0], INITIAL, MASK[:0]), INITIAL[np.newaxis], rtol=1e-6)


def test_one_step_after_another_equals_all_at_once(gru):
    memory, full = tf.constant(INITIAL), np.ones_like(MASK)
    for row, expected in zip(ROWS, gru(ROWS, INITIAL, full)[1:]):
        memory = gru.step(row, memory)
        np.testing.assert_allclose(gru.read(memory), expected, atol=1e-6)
    np.testing.assert_array_equal(gru.memory(ROWS, INITIAL, full), gru(ROWS, INITIAL, full)[-1])


def test_starts_as_tf1s_cell():
    layer = GRU(64)
    layer(np.zeros((1, 1, 32), np.float32), np.zeros((1, 64), np.float32), np.ones((1, 1), bool))
    np.testing.assert_array_equal(layer.gate_bias, np.ones(128))
    np.testing.assert_array_equal(layer.candidate_bias, np.zeros(64))
    recurrent = layer.gate_kernel.numpy()[32:, :64]
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(64), atol=1e-5)
