"""The steps of an epoch: on one machine, or on several that take each together."""

import math
from collections.abc import Callable, Iterator

import tensorflow as tf

from hrlrec_tf.agents.experience import ListExperience
from hrlrec_tf.agents.stream import ExperienceStream
from hrlrec_tf.config import TrainingConfig
from hrlrec_tf.distribution.machines import Machines
from hrlrec_tf.errors import DataError

TrainStep = Callable[[ListExperience], tf.Tensor]


class Steps:
    """Training steps of the agent that is validated and kept.

    Args:
      machines: that take them. stream: of the training sessions. config: sizes.
      step: trains the agent on a batch; returns its packed metrics.
    """

    def __init__(self, machines: Machines, stream: ExperienceStream, config: TrainingConfig, step: TrainStep) -> None:
        self._machines, self._stream, self._config = machines, stream, config
        # No Python control flow depends on tensors, and AutoGraph would triple the tracing time.
        self.function = tf.function(
            lambda experience: machines.take(step, experience),
            input_signature=[stream.epoch(0).element_spec],
            autograph=False,
        )

    def epoch(self, number: int, done: int) -> Iterator[tf.Tensor | None]:
        """Takes the steps of an epoch that are not yet done.

        Yields:
          Metrics of each step; None where they were lost with the machine that took it.
        """
        machines, lists = self._machines, self._config.batch_size
        if machines.share is None:
            yield from map(self.function, self._stream.epoch(number, done))
            return
        own = self._stream.epoch(number, done, machines.share, machines.batch_size(lists))
        yield from map(self.function, own.take(self.count() - done))

    def count(self) -> int:
        """Steps of an epoch whose lists several workers share.

        Raises:
          DataError: a worker would have none.
        """
        lists, workers = self._stream.count(), self._machines.task.workers
        if lists < workers:
            raise DataError(f"{workers} workers cannot share {lists} training sessions; train with fewer workers")
        return math.ceil(lists / self._config.batch_size)

    def fetch(self) -> None:
        """Brings what was trained into the agent."""

    def send(self) -> None:
        """Goes on from the agent."""
