"""Where a training run happens: on this machine, or on several that take each step together.

Training asks its `Machines` where to make variables, what share of the sessions is this process's, how to take a step
and who writes; see `parameter_servers` for the third kind.
"""

import contextlib
import pathlib
import tempfile
from collections.abc import Callable, Iterator

import tensorflow as tf

from hrlrec_tf.data.input import Share
from hrlrec_tf.distribution.cluster import Task
from hrlrec_tf.errors import ConfigError

Step = Callable[..., tf.Tensor]


class Machines:
    """One machine.

    Attributes:
      task: which process this is.
      strategy: of tf.distribute; variables are made in its scope.
    """

    def __init__(self, task: Task | None = None) -> None:
        self.task = Task() if task is None else task
        self.strategy = tf.distribute.get_strategy()

    @property
    def share(self) -> Share | None:
        """Of each epoch's lists, what this process trains on; None: all of them."""
        return None

    def batch_size(self, lists: int) -> int:
        """What this process adds to a step on so many lists."""
        return lists

    def take(self, step: Step, *arguments: object) -> tf.Tensor:
        """A training step on every replica, in a graph; the mean over the replicas of what it returns."""
        return self.strategy.run(step, arguments)

    def wait(self) -> None:
        """Until every process has come here."""

    @contextlib.contextmanager
    def folder(self, out: pathlib.Path) -> Iterator[pathlib.Path]:
        """Where this process may write the model folder: `out`, if it is the chief."""
        yield out


class MultiWorker(Machines):
    """Machines that take each step together on their shares of its lists and average the gradients.

    All do the same, validation and checkpoints included, and so decide the same; all but the chief do it in a folder
    that is thrown away.

    Args:
      task: of TF_CONFIG. Make this before TensorFlow runs anything.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.strategy = tf.distribute.MultiWorkerMirroredStrategy()

    @property
    def share(self) -> Share:
        """Every n-th list."""
        return Share(self.task.place, self.task.workers)

    def batch_size(self, lists: int) -> int:
        """An equal part of the lists.

        Raises:
          ConfigError: they cannot be divided.
        """
        if lists % self.task.workers:
            raise ConfigError(
                f"training.batch_size is {lists}, which {self.task.workers} workers cannot divide; choose a multiple"
            )
        return lists // self.task.workers

    def take(self, step: Step, *arguments: object) -> tf.Tensor:
        return self.strategy.reduce(tf.distribute.ReduceOp.MEAN, self.strategy.run(step, arguments), axis=None)

    def wait(self) -> None:
        def meet() -> tf.Tensor:
            replica = tf.distribute.get_replica_context()
            return replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.constant(1.0))

        tf.function(lambda: self.strategy.run(meet))()

    @contextlib.contextmanager
    def folder(self, out: pathlib.Path) -> Iterator[pathlib.Path]:
        if self.task.chief:
            yield out
            return
        with tempfile.TemporaryDirectory(prefix="hrlrec-worker-") as scratch:
            yield pathlib.Path(scratch) / out.name
