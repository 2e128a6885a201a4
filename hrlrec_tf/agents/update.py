"""What ends a training step: the optimizer moves the online networks, and the target networks follow."""

import tensorflow as tf
from tf_agents.utils import common

from hrlrec_tf.agents import health
from hrlrec_tf.config import TrainingConfig
from hrlrec_tf.networks.list_network import ListNetwork


class Followers:
    """Target networks that follow the online networks.

    Args:
      model: online networks. target: networks of the same shape.
      config: rates and periods.
      train_step_counter: counts batches, in a checkpoint, so that a resumed run follows at the same batches.
    """

    def __init__(
        self, model: ListNetwork, target: ListNetwork, config: TrainingConfig, train_step_counter: tf.Variable
    ) -> None:
        self._model, self._target, self._config, self._counter = model, target, config, train_step_counter

    def start(self) -> tf.Operation:
        """Sets the targets equal to the online networks."""
        return self._follow(tau=1.0)

    def step(self, gradients: list, optimizer: tf.keras.optimizers.Optimizer) -> dict[str, tf.Tensor]:
        """Applies gradients of the online networks, counts the batch, lets the targets follow if that is due.

        Args:
          gradients: of `model.trainable_variables`, in their order; None where a loss does not reach.
          optimizer: of the online networks.

        Returns:
          Norms of the gradient of each part and of all before clipping, by name.
        """
        variables = self._model.trainable_variables
        gradients = average_over_replicas(gradients)
        norms = health.gradient_norms(self._model, gradients)
        norms["gradient_norm"] = clip_and_apply(gradients, variables, optimizer, self._config.gradient_clip)
        self._counter.assign_add(1)
        tf.distribute.get_replica_context().merge_call(lambda _: self._follow_if_due())
        return norms

    def _follow_if_due(self) -> tf.Operation:
        due = self._counter % self._config.target_period == 0
        return tf.cond(due, lambda: self._follow(self._config.target_tau), tf.no_op)

    def _follow(self, tau: float) -> tf.Operation:
        return common.soft_variables_update(self._model.variables, self._target.variables, tau)


def average_over_replicas(gradients: list) -> list:
    """The mean of each gradient over the replicas that take this step together; None stays None."""
    replica = tf.distribute.get_replica_context()
    if replica.num_replicas_in_sync == 1:
        return gradients
    reached = [gradient for gradient in gradients if gradient is not None]
    averaged = iter(replica.all_reduce(tf.distribute.ReduceOp.MEAN, reached))
    return [None if gradient is None else next(averaged) for gradient in gradients]


def clip_and_apply(
    gradients: list, variables: list[tf.Variable], optimizer: tf.keras.optimizers.Optimizer, clip: float
) -> tf.Tensor:
    """Applies gradients clipped by their global norm; returns the norm before clipping. None trains nothing."""
    pairs = [pair for pair in zip(gradients, variables, strict=True) if pair[0] is not None]
    clipped, norm = tf.clip_by_global_norm([gradient for gradient, _ in pairs], clip)
    applied = zip(clipped, [variable for _, variable in pairs], strict=True)
    optimizer.apply_gradients(applied, skip_gradients_aggregation=True)  # see average_over_replicas
    return norm
