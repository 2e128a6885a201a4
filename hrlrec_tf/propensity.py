"""Capped inverse-propensity weights of displayed rows.

A log shows what its policy liked, so a loss on displayed rows is an expectation over that policy's choices. With

    w_t = min(cap, 1 / p(d_t | prefix))

every candidate of every position counts alike, however rarely the policy showed it: an expectation over the uniform
policy (Horvitz and Thompson 1952), given the prefix as logged, in which a position counts as often as it has
candidates. The cap trades bias for variance (Ionides 2008). Losses divide by the sum of a batch's weights
(self-normalised, Swaminathan and Joachims 2015), so that the mean weight is 1 in every batch, the learning rate keeps
its meaning and a constant propensity changes nothing. `explored` is not read: what was drawn at random may be the
policy's own choice too, and the propensity says how likely it was by all paths.

What weights cost in certainty is Kish's effective sample size (1965): (sum of w)^2 / sum of w^2.
"""

import tensorflow as tf


def capped_weights(propensity: tf.Tensor, cap: float) -> tf.Tensor:
    """min(cap, 1 / propensity), of any shape and not normalised; the cap where the propensity is 0."""
    return 1.0 / tf.maximum(propensity, 1.0 / cap)


def effective_sample_size(weights: tf.Tensor) -> tf.Tensor:
    """How many rows of equal weight tell as much: a scalar of weights of any shape; 0 where all are 0."""
    return tf.math.divide_no_nan(tf.square(tf.reduce_sum(weights)), tf.reduce_sum(tf.square(weights)))
