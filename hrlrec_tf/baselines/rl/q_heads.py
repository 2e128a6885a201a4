"""Q of every candidate in every state: what a DQN maximises, plain and dueling.

Both are HRL-Rec's critic on a candidate's embedding, never on its place among the candidates.
"""

from typing import Any

import tensorflow as tf

from hrlrec_tf.networks.critic import Critic


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class QHead(Critic):
    """Q(s, d) = head(V(s) + A(s, d)), with the critic's V = w1.s + b and A = w2.d + d.(W s)."""

    def table(self, states: tf.Tensor, candidates: tf.Tensor, available: tf.Tensor) -> tf.Tensor:
        """Q of all candidates in all states, as one product: [R, P].

        Args:
          states: [R, S]. candidates: [P, D] in the actions' space.
          available: [R, P] bool, which may be chosen in a state; other candidates' values are of no use.
        """
        return self.end(self.value(states)[:, tf.newaxis] + self._advantages(states, candidates))

    def _advantages(self, states: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        """A(s, d) of each pair: [R, P]."""
        states, candidates = (tf.cast(each, self.variable_dtype) for each in (states, candidates))
        alike = tf.transpose(self.action_weights(candidates))  # [1, P]
        if self.form == "linear":
            return tf.repeat(alike, tf.shape(states)[0], axis=0)
        return alike + tf.matmul(self.interaction(states), candidates, transpose_b=True)


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class DuelingHead(QHead):
    """Q(s, d) = head(V(s) + A(s, d) - mean over the candidates of A(s, .)) (Wang et al. 2016, eq. 9).

    `table` takes the mean over the candidates that may be chosen in that state, by the mask. A single item, as it is
    scored without candidates, is compared with the candidates of training instead: A is linear in d, so its mean is A
    of the mean candidate, which `remember` keeps. In one state both differ by a number that is the same for every
    candidate, so neither changes an order.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mean_candidate = self.add_weight(
            "mean_candidate",
            [self.action_dim],
            dtype=self.variable_dtype,
            initializer="zeros",
            trainable=False,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def call(self, states: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
        # Through the parent, which checks; V + A(s, d) - A(s, mean) = V + A(s, d - mean).
        return super().call(states, tf.cast(actions, self.variable_dtype) - self.mean_candidate)

    def table(self, states: tf.Tensor, candidates: tf.Tensor, available: tf.Tensor) -> tf.Tensor:
        advantages, mask = self._advantages(states, candidates), tf.cast(available, self.variable_dtype)
        total = tf.reduce_sum(advantages * mask, axis=1, keepdims=True)
        mean = tf.math.divide_no_nan(total, tf.reduce_sum(mask, axis=1, keepdims=True))
        return self.end(self.value(states)[:, tf.newaxis] + advantages - mean)

    def remember(self, mean_candidate: tf.Tensor, rate: tf.Tensor) -> None:
        """Moves the mean candidate [D] of training towards that of a batch."""
        self.mean_candidate.assign_add(rate * (mean_candidate - self.mean_candidate))
