"""Where mixed precision must not reach: sums, norms, softmax and searches need more than bfloat16's 8 bits."""

import tensorflow as tf


def at_least_float32(values: tf.Tensor) -> tf.Tensor:
    """Half-precision `values` as float32, all others as they are."""
    values = tf.convert_to_tensor(values)
    return tf.cast(values, tf.float32) if values.dtype in (tf.float16, tf.bfloat16) else values
