"""Eq. 1 for few rows at a time, as serving needs it: the layers of both levels in one go.

The same function of the same weights as `FieldInteraction`, which is made for the thousands of rows of a training
batch. Of one row the time goes into the number of operations: here there are half as many for both levels together,
none of which moves data about.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from hrlrec_tf.networks.state_encoder import FieldInteraction


class JointInteraction:
    """The interactions of L levels, of form `attention`, in float32; weights are read once, when it is made.

    Args:
      layers: L of them, of equal sizes.

    Call:
      fields: [R, n, D] for each level. Returns [R, n * D] for each level.
    """

    def __init__(self, layers: Sequence[FieldInteraction]) -> None:
        self._count, self._heads = len(layers), layers[0].heads

        def weights(*path: str | int) -> tuple[tf.Tensor, tf.Tensor]:
            found = layers
            for step in path:
                found = [each.layers[step] if isinstance(step, int) else getattr(each, step) for each in found]
            if hasattr(found[0], "kernel"):
                return tf.stack([each.kernel for each in found]), _stack_rows([each.bias for each in found])
            return _stack_rows([each.gamma for each in found]), _stack_rows([each.beta for each in found])

        self._queries_keys_values = weights("queries_keys_values")
        self._output_projection = weights("output_projection")
        self._feed_forward = [weights("feed_forward", each) for each in (0, 1)]
        self._norms = {name: (*weights(name), getattr(layers[0], name).epsilon) for name in _NORMS}

    @staticmethod
    def fits(layer: tf.keras.layers.Layer) -> bool:
        """Whether it can stand in for a layer."""
        return isinstance(layer, FieldInteraction) and layer.form == "attention" and layer.compute_dtype == "float32"

    def __call__(self, fields: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        count, dim = fields[0].shape[-2:]
        rows = tf.reshape(tf.stack(fields), [self._count, -1, dim])  # [L, R * n, D]
        attended = self._attention(_dense(rows, self._queries_keys_values), count)
        mixed = _dense(tf.reshape(attended, [self._count, -1, dim]), self._output_projection)
        rows = _normalised(rows + mixed, *self._norms["attention_norm"])
        inner, outer = self._feed_forward
        rows = _normalised(rows + _dense(tf.nn.relu(_dense(rows, inner)), outer), *self._norms["output_norm"])
        return tf.unstack(tf.reshape(rows, [self._count, -1, count * dim]))

    def _attention(self, queries_keys_values: tf.Tensor, count: int) -> tf.Tensor:
        """[L, R * n, 3 D] to [L * R, n, D]: dot products of heads as sums over their part of D."""
        dim = queries_keys_values.shape[-1] // 3
        shaped = tf.reshape(queries_keys_values, [-1, count, 1, 3 * dim])
        queries, keys, values = tf.split(shaped, 3, axis=-1)
        keys, values = (tf.reshape(each, [-1, 1, count, dim]) for each in (keys, values))
        of_head = np.kron(np.eye(self._heads, dtype=np.float32), np.ones([dim // self._heads, 1], np.float32))
        scale = (dim // self._heads) ** -0.5
        scores = tf.matmul(tf.reshape(queries * keys, [-1, dim]), of_head * scale)  # [L * R * n * n, heads]
        scores = tf.reshape(scores, [-1, count, count, self._heads])
        powers = tf.exp(scores - tf.reduce_max(scores, axis=2, keepdims=True))
        weights = powers / tf.reduce_sum(powers, axis=2, keepdims=True)
        spread = tf.matmul(tf.reshape(weights, [-1, self._heads]), of_head.T)
        return tf.reduce_sum(tf.reshape(spread, [-1, count, count, dim]) * values, axis=2)


_NORMS = ("attention_norm", "output_norm")


def _stack_rows(vectors: Sequence[tf.Tensor]) -> tf.Tensor:
    """Vectors [D] as [L, 1, D]."""
    return tf.expand_dims(tf.stack(vectors), 1)


def _dense(rows: tf.Tensor, weights: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    kernel, bias = weights
    return tf.matmul(rows, kernel) + bias


def _normalised(rows: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Layer normalisation over the last axis."""
    centred = rows - tf.reduce_mean(rows, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
    return centred * tf.math.rsqrt(variance + epsilon) * gamma + beta
