"""Asynchronous training (Sec. 3.4): workers take steps on weights that parameter servers hold, none waits for another.

The coordinator hands out steps. Between them it copies the servers' weights into an agent of its own, by which it
validates, keeps and resumes as a single machine does: the model folder is the same.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import tensorflow as tf

from hrlrec_tf.agents.stream import ExperienceStream
from hrlrec_tf.config import TrainingConfig
from hrlrec_tf.data.input import Share
from hrlrec_tf.distribution.cluster import Task
from hrlrec_tf.distribution.machines import Machines
from hrlrec_tf.distribution.partitioner import EmbeddingPartitioner
from hrlrec_tf.distribution.steps import Steps, TrainStep
from hrlrec_tf.errors import TrainingError

# A worker notes its number in its own memory: a dataset function is one graph for all workers, and reads it there.
_PLACE = "ram://hrlrec_worker"
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)


def serve(task: Task) -> NoReturn:
    """Does what the coordinator says, as a worker or a parameter server, until the process is ended."""
    os.environ.setdefault("GRPC_FAIL_FAST", "use_caller")  # a dead process is noticed at once
    if task.role == "worker":
        with tf.io.gfile.GFile(_PLACE, "w") as file:
            file.write(str(task.index))
    cluster = tf.train.ClusterSpec(task.cluster)
    server = tf.distribute.Server(cluster, job_name=task.role, task_index=task.index, protocol="grpc")
    server.join()
    raise SystemExit(0)


class ParameterServers(Machines):
    """Machines whose workers take steps on their own; this process coordinates them.

    Args:
      task: of TF_CONFIG, the chief's. Make this before TensorFlow runs anything; it waits for the others to come up.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        os.environ.setdefault("GRPC_FAIL_FAST", "use_caller")
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver(rpc_layer="grpc")
        self._partitioner = EmbeddingPartitioner(len(task.cluster["ps"]))
        self.servers = tf.distribute.ParameterServerStrategy(resolver, variable_partitioner=self._partitioner)
        self.coordinator = tf.distribute.coordinator.ClusterCoordinator(self.servers)

    @contextlib.contextmanager
    def on_servers(self) -> Iterator[None]:
        """Variables made inside are held by the servers, look-up tables by every worker."""
        with self.servers.scope(), self._partitioner.watch():
            yield


class AsynchronousSteps(Steps):
    """Training steps of an agent whose weights the servers hold.

    Args:
      machines: the cluster. stream: of the training sessions, its tables held by every worker. config: sizes.
      step: trains `remote` on a batch. remote: the agent on the servers. local: the coordinator's.
    """

    def __init__(
        self,
        machines: ParameterServers,
        stream: ExperienceStream,
        config: TrainingConfig,
        step: TrainStep,
        remote: Any,
        local: Any,
    ) -> None:
        super().__init__(machines, stream, config, step)
        self._cluster, self._local = machines, [[variable] for variable in _weights(local)]
        self._remote = shards(_weights(local), _weights(remote))
        self.function = tf.function(lambda batches: machines.servers.run(step, (next(batches),)), autograph=False)

    def epoch(self, number: int, done: int) -> Iterator[tf.Tensor | None]:
        """Hands out the steps of an epoch that are not yet done; none is under way where a checkpoint is due.

        Raises:
          TrainingError: a parameter server was lost.
        """
        count, workers = self.count(), self._machines.task.workers

        def batches() -> tf.data.Dataset:
            place = tf.strings.to_number(tf.io.read_file(_PLACE), tf.int64)
            return self._stream.epoch(number, done // workers, Share(place, workers))

        with _server_lost_is_told():
            with self._cluster.servers.scope():
                own = iter(self._cluster.coordinator.create_per_worker_dataset(batches))
            while done < count:
                pause = min(count, done + self._config.checkpoint_batches - done % self._config.checkpoint_batches)
                with self._cluster.servers.scope():
                    given = [self._cluster.coordinator.schedule(self.function, args=(own,)) for _ in range(done, pause)]
                yield from map(self._result, given)
                self._cluster.coordinator.join()
                done = pause

    def _result(self, value: Any) -> tf.Tensor | None:
        """What a step returned; None if its worker was lost after the step and before it could be asked."""
        try:
            return tf.constant(value.fetch())
        except _LOST:
            self._cluster.coordinator.join()  # raises if it was a server
            return None

    def fetch(self) -> None:
        with _server_lost_is_told():
            copy(self._remote, self._local)

    def send(self) -> None:
        with _server_lost_is_told(), self._cluster.servers.scope():
            copy(self._local, self._remote)


@contextlib.contextmanager
def _server_lost_is_told() -> Iterator[None]:
    try:
        yield
    except _LOST as error:
        raise TrainingError(
            "a parameter server was lost, and with it the only copy of its weights since the last checkpoint; start it "
            "again, then the chief with --resume"
        ) from error


def _weights(agent: Any) -> list[tf.Variable]:
    """All that training changes, but for dropout's random state; the shards of one weight follow each other."""
    iterations, *moments = agent.optimizer.variables  # Adam keeps two for each weight
    return [
        *_parts(agent.model.variables),
        *_parts(agent.target.variables),
        iterations,
        *_parts(moments[::2]),
        *_parts(moments[1::2]),
        *(generator.state for generator in agent.generators.values()),
        agent.train_step_counter,
    ]


def _parts(variables: Sequence[Any]) -> list[tf.Variable]:
    """The variables, where one is shared among servers its shards."""
    return [part for variable in variables for part in getattr(variable, "variables", [variable])]


def shards(whole: Sequence[tf.Variable], held: Sequence[tf.Variable]) -> list[list[tf.Variable]]:
    """The variables that hold each of some weights, where the shards of one follow each other in `held`."""
    remaining, groups = iter(held), []
    for variable in whole:
        group = [next(remaining)]
        while variable.shape.rank and sum(shard.shape[0] for shard in group) < variable.shape[0]:
            group.append(next(remaining))
        groups.append(group)
    return groups


def copy(sources: Sequence[Sequence[tf.Variable]], followers: Sequence[Sequence[tf.Variable]]) -> None:
    """Copies weights between whole variables and shards.

    Args:
      sources, followers: of each weight the only variable, or its shards of rows in their order.
    """
    for source, follower in zip(sources, followers, strict=True):
        parts = [shard.read_value() for shard in source]
        if len(source) != len(follower):
            whole = tf.concat(parts, axis=0)
            parts = tf.split(whole, [shard.shape[0] for shard in follower]) if len(follower) > 1 else [whole]
        for shard, part in zip(follower, parts, strict=True):
            shard.assign(part)
