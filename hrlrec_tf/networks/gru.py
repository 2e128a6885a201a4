"""GRU over behaviours, time-major, on TensorFlow's fused cell (eq. 2).

The cell is that of the authors' code (TF1's `GRUCell`, the form of Cho et al. 2014: the reset gate acts before the
recurrent product). Its forward and backward step are one fused kernel each; what does not depend on the step before,
the weights' gradients, is left to a few large products at the end. That, and no per-step graph of small operations,
is why this is faster on CPUs than the Keras layer (`hrlrec benchmark train`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

_FORGET_NOTHING = 1e4  # added to a masked step's update gate: its sigmoid is 1 to float precision, so the state stands


class GRU(tf.keras.layers.Layer):
    """All hidden states of a GRU.

    Masked steps leave the state as it is, wherever they stand, and so an empty sequence gives the initial state.

    Args:
      units: U, size of the state.

    Call:
      rows: [S, B, D], oldest first; S may be unknown. initial: [B, U]. mask: [S, B] bool, False for padding.
      Returns [S + 1, B, U] float32: the initial state, then the state after each row.
    """

    def __init__(self, units: int = 128, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})  # the fused cell has no other type
        self.units = units

    def build(self, shape: tf.TensorShape) -> None:
        size = shape[-1]
        self.gate_kernel = self._kernel("gate_kernel", size, 2)
        self.gate_bias = self.add_weight("gate_bias", (2 * self.units,), initializer="ones")  # as in TF1
        self.candidate_kernel = self._kernel("candidate_kernel", size, 1)
        self.candidate_bias = self.add_weight("candidate_bias", (self.units,), initializer="zeros")
        super().build(shape)

    def _kernel(self, name: str, size: int, gates: int) -> tf.Variable:
        """[D + U, gates * U]: Glorot for the rows' part, orthogonal for the state's."""

        def initial(shape: Sequence[int], dtype: tf.DType | None = None) -> tf.Tensor:
            glorot = tf.keras.initializers.GlorotUniform()((size, gates * self.units), dtype)
            orthogonal = [tf.keras.initializers.Orthogonal()((self.units, self.units), dtype) for _ in range(gates)]
            return tf.concat([glorot, tf.concat(orthogonal, axis=1)], axis=0)

        return self.add_weight(name, (size + self.units, gates * self.units), initializer=initial)

    def call(self, rows: tf.Tensor, initial: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        if rows.shape[0] is None:  # a loop over no rows could not tell the shape of its outputs: one masked row more
            rows, mask = tf.pad(rows, [[1, 0], [0, 0], [0, 0]]), tf.pad(mask, [[1, 0], [0, 0]])
            return self._run(rows, initial, mask)[1:]
        return self._run(rows, initial, mask)

    def _run(self, rows: tf.Tensor, initial: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        padding = tf.cast(~mask, rows.dtype)[..., tf.newaxis]
        return _gru(tf.concat([rows, padding], axis=-1), initial, *self._weights_with_mask())

    def memory(self, rows: tf.Tensor, initial: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """What `step` goes on from, the last state: [B, U]."""
        return self(rows, initial, mask)[-1]

    def step(self, row: tf.Tensor, memory: tf.Tensor) -> tf.Tensor:
        """Memory after one more row [B, D]."""
        row, memory = tf.cast(row, tf.float32), tf.cast(memory, tf.float32)
        weights = (self.gate_kernel, self.gate_bias, self.candidate_kernel, self.candidate_bias)
        return _cell(row, memory, weights)[-1]

    def read(self, memory: tf.Tensor) -> tf.Tensor:
        """State of a memory: it is the state."""
        return memory

    def _weights_with_mask(self) -> tuple[tf.Tensor, ...]:
        """The weights for rows that end with a padding flag, which drives the update gate and nothing else."""
        units, size = self.units, self.gate_kernel.shape[0] - self.units
        flag = tf.concat([tf.zeros([1, units]), tf.fill([1, units], _FORGET_NOTHING)], axis=1)
        gates = tf.concat([self.gate_kernel[:size], flag, self.gate_kernel[size:]], axis=0)
        nothing = tf.zeros([1, units])
        candidate = tf.concat([self.candidate_kernel[:size], nothing, self.candidate_kernel[size:]], axis=0)
        return gates, tf.identity(self.gate_bias), candidate, tf.identity(self.candidate_bias)

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units}


def _cell(row: tf.Tensor, state: tf.Tensor, weights: Sequence[tf.Tensor]) -> tuple[tf.Tensor, ...]:
    """Reset gate, update gate, candidate and next state of one step; each [B, U]."""
    gates, gate_bias, candidate, candidate_bias = weights
    return tf.raw_ops.GRUBlockCell(x=row, h_prev=state, w_ru=gates, w_c=candidate, b_ru=gate_bias, b_c=candidate_bias)


@tf.custom_gradient
def _gru(rows: tf.Tensor, initial: tf.Tensor, *weights: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """[S, B, D] and [B, U] to [S + 1, B, U]; `weights` as `_cell` takes them."""
    gates, gate_bias, candidate, candidate_bias = weights
    units = initial.shape[-1]

    def forward(state: tf.Tensor, at: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        reset, update, candidates, state = _cell(at[0], state, weights)
        return state, (reset, update, candidates, state)

    _, (reset, update, candidates, after) = _scan(forward, initial, (rows,), (units,) * 4)
    states = tf.concat([initial[tf.newaxis], after], axis=0)

    def gradient(slopes: tf.Tensor) -> tuple[tf.Tensor, ...]:
        def backward(slope: tf.Tensor, at: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
            row, before, reset_t, update_t, candidate_t, outer = at
            d_row, d_before, d_candidate, d_gates = tf.raw_ops.GRUBlockCellGrad(
                x=row, h_prev=before, w_ru=gates, w_c=candidate, b_ru=gate_bias, b_c=candidate_bias,
                r=reset_t, u=update_t, c=candidate_t, d_h=slope + outer,
            )  # fmt: skip
            return d_before, (d_row, d_candidate, d_gates)

        at = (rows, states[:-1], reset, update, candidates, slopes[1:])
        d_initial, found = _scan(backward, tf.zeros_like(initial), at, (rows.shape[-1], units, 2 * units), True)
        d_rows, d_candidate, d_gates = found
        x, h, d_gates, d_candidate = map(_flat, (rows, states[:-1], d_gates, d_candidate))
        reset_h = _flat(reset) * h
        return (
            d_rows,
            d_initial + slopes[0],
            tf.concat([tf.matmul(x, d_gates, transpose_a=True), tf.matmul(h, d_gates, transpose_a=True)], axis=0),
            tf.reduce_sum(d_gates, axis=0),
            tf.concat(
                [tf.matmul(x, d_candidate, transpose_a=True), tf.matmul(reset_h, d_candidate, transpose_a=True)], axis=0
            ),
            tf.reduce_sum(d_candidate, axis=0),
        )

    return states, gradient


def _scan(
    step: Callable[[tf.Tensor, tuple[tf.Tensor, ...]], tuple[tf.Tensor, tuple[tf.Tensor, ...]]],
    carry: tf.Tensor,
    inputs: tuple[tf.Tensor, ...],
    widths: tuple[int, ...],
    reverse: bool = False,
) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
    """Runs `step` over the first axis of `inputs`: unrolled where its length is known, for a loop costs a tenth.

    Args:
      step: (carry, inputs of one step) -> (carry, outputs of the step). carry: [B, U].
      inputs: [S, B, ...] each. widths: last sizes of the outputs. reverse: from the last step to the first.

    Returns:
      The last carry, and each output as [S, B, width].
    """
    length = inputs[0].shape[0]
    if length:
        unstacked = [tf.unstack(values) for values in inputs]
        outputs: list[tuple[tf.Tensor, ...]] = [()] * length
        for t in reversed(range(length)) if reverse else range(length):
            carry, outputs[t] = step(carry, tuple(values[t] for values in unstacked))
        return carry, tuple(tf.stack(values) for values in zip(*outputs, strict=True))

    count = tf.shape(inputs[0])[0]
    arrays = tuple(tf.TensorArray(carry.dtype, count, element_shape=[carry.shape[0], width]) for width in widths)

    def body(i: tf.Tensor, carry: tf.Tensor, arrays: tuple[tf.TensorArray, ...]) -> tuple:
        t = count - 1 - i if reverse else i
        carry, outputs = step(carry, tuple(values[t] for values in inputs))
        return i + 1, carry, tuple(array.write(t, value) for array, value in zip(arrays, outputs, strict=True))

    _, carry, arrays = tf.while_loop(lambda i, *_: i < count, body, (0, carry, arrays), maximum_iterations=count)
    return carry, tuple(
        tf.reshape(array.stack(), [count, tf.shape(carry)[0], width])
        for array, width in zip(arrays, widths, strict=True)
    )


def _flat(values: tf.Tensor) -> tf.Tensor:
    return tf.reshape(values, [-1, values.shape[-1]])
