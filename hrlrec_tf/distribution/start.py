"""Joins a cluster, in the role that TF_CONFIG gives to this process."""

from hrlrec_tf.distribution import cluster
from hrlrec_tf.distribution.cluster import Task
from hrlrec_tf.distribution.machines import Machines, MultiWorker
from hrlrec_tf.distribution.parameter_servers import ParameterServers, serve


def join(task: Task) -> Machines:
    """The machines that train; does not return in a process that only serves. Call before TensorFlow runs anything."""
    if task.serves:
        serve(task)
    kinds = {cluster.SINGLE: Machines, cluster.MULTI_WORKER: MultiWorker, cluster.PARAMETER_SERVER: ParameterServers}
    return kinds[task.strategy](task)
