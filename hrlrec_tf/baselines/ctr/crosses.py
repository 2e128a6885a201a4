"""Products of fields: pure functions of embeddings e [R, F, D]."""

import numpy as np
import tensorflow as tf


def bi_interaction(embedded: tf.Tensor) -> tf.Tensor:
    """Sum over i < j of e_i * e_j, element by element: [R, D].

    Half of (sum of e)^2 minus (sum of e^2), which is linear in F (Rendle 2010, lemma 3.1; He and Chua 2017, eq. 4).
    """
    total = tf.reduce_sum(embedded, axis=1)
    return 0.5 * (tf.square(total) - tf.reduce_sum(tf.square(embedded), axis=1))


def second_order(embedded: tf.Tensor) -> tf.Tensor:
    """Sum over i < j of <e_i, e_j>, FM's second term: [R]."""
    return tf.reduce_sum(bi_interaction(embedded), axis=-1)


def pairs(embedded: tf.Tensor) -> tf.Tensor:
    """All e_i * e_j with i < j, element by element: [R, F (F - 1) / 2, D]."""
    first, second = np.triu_indices(embedded.shape[1], k=1)
    return tf.gather(embedded, first, axis=1) * tf.gather(embedded, second, axis=1)
