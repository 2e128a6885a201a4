"""Which process of a cluster this is, as the environment variable TF_CONFIG says it."""

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from hrlrec_tf.errors import ConfigError

SINGLE, MULTI_WORKER, PARAMETER_SERVER = "single", "multi-worker", "parameter-server"
STRATEGIES = (SINGLE, MULTI_WORKER, PARAMETER_SERVER)

_VARIABLE = "TF_CONFIG"
_CHIEF, _WORKER, _SERVER = "chief", "worker", "ps"
_ROLES = {SINGLE: (_CHIEF, _WORKER), MULTI_WORKER: (_CHIEF, _WORKER), PARAMETER_SERVER: (_CHIEF, _WORKER, _SERVER)}
_REMEDY = "set it as docs/distributed.md shows"


@dataclasses.dataclass(frozen=True)
class Task:
    """One process of a cluster.

    Attributes:
      strategy: one of STRATEGIES.
      cluster: role -> addresses HOST:PORT of its processes.
      role: `chief`, `worker` or `ps`. index: of the process among those of its role.
    """

    strategy: str = SINGLE
    cluster: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)
    role: str = _CHIEF
    index: int = 0

    @property
    def serves(self) -> bool:
        """Whether the process only does what a coordinator tells it, until it is ended."""
        return self.strategy == PARAMETER_SERVER and self.role != _CHIEF

    @property
    def chief(self) -> bool:
        """Whether the process writes the model folder: the chief, or the first worker of a cluster without one."""
        return self.role == _CHIEF or (_CHIEF not in self.cluster and self.role == _WORKER and self.index == 0)

    @property
    def workers(self) -> int:
        """Processes that take training steps."""
        return len(self.trainers) or 1

    @property
    def place(self) -> int:
        """Of this process among those that take training steps."""
        return self.trainers.index(self.address) if self.trainers else 0

    @property
    def trainers(self) -> list[str]:
        """Addresses of the processes that take training steps; a coordinator takes none."""
        chiefs = [] if self.strategy == PARAMETER_SERVER else self.cluster.get(_CHIEF, [])
        return [*chiefs, *self.cluster.get(_WORKER, [])]

    @property
    def address(self) -> str:
        """Of this process."""
        return self.cluster[self.role][self.index]


def read_task(strategy: str, environment: Mapping[str, str] | None = None) -> Task:
    """The process that TF_CONFIG describes.

    Args:
      strategy: one of STRATEGIES. environment: variables; the process's own by default.

    Raises:
      ConfigError: TF_CONFIG is missing, malformed, or contradicts the strategy or itself.
    """
    text = (os.environ if environment is None else environment).get(_VARIABLE, "")
    if not text:
        if strategy == SINGLE:
            return Task()
        raise ConfigError(
            f"--strategy {strategy} needs a cluster, but the environment variable {_VARIABLE} is not set; {_REMEDY}, "
            f"or train with --strategy {SINGLE}"
        )
    cluster, own = _parse(text)
    task = Task(strategy, cluster, own.get("type", ""), own.get("index", 0))
    _check_cluster(task)
    if task.role not in cluster or not 0 <= task.index < len(cluster[task.role]):
        sizes = ", ".join(f"{len(addresses)} {role}" for role, addresses in sorted(cluster.items()))
        raise ConfigError(
            f"{_VARIABLE} says that this process is {task.role or 'nothing'} {task.index}, but its cluster has "
            f"{sizes or 'no processes'}; {_REMEDY}"
        )
    return task


def _parse(text: str) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Cluster and task of TF_CONFIG."""
    try:
        config = json.loads(text)
        cluster = {str(role): [str(address) for address in addresses] for role, addresses in config["cluster"].items()}
        own = config["task"]
        return cluster, {"type": str(own["type"]), "index": int(own["index"])}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f'{_VARIABLE} is no JSON of the form {{"cluster": {{"worker": ["HOST:PORT"]}}, "task": {{"type": "worker", '
            f'"index": 0}}}}; {_REMEDY}'
        ) from error


def _check_cluster(task: Task) -> None:
    """Raises ConfigError unless the cluster has the roles that the strategy needs, and no others."""
    sizes = {role: len(addresses) for role, addresses in task.cluster.items() if addresses}
    unknown = sorted(sizes.keys() - set(_ROLES[task.strategy]))
    if task.strategy == SINGLE and sum(sizes.values()) > 1:
        right = PARAMETER_SERVER if _SERVER in sizes else MULTI_WORKER
        raise ConfigError(
            f"{_VARIABLE} describes a cluster of {sum(sizes.values())} processes, but --strategy is {SINGLE}, so each "
            f"would train alone; choose --strategy {right}, or unset {_VARIABLE}"
        )
    if unknown:
        raise ConfigError(
            f"{_VARIABLE} has processes of role {unknown[0]}, which --strategy {task.strategy} does not know; it "
            f"takes {', '.join(_ROLES[task.strategy])}"
        )
    needed = (_CHIEF, _WORKER, _SERVER) if task.strategy == PARAMETER_SERVER else ()
    missing = [role for role in needed if role not in sizes]
    if missing or not sizes:
        raise ConfigError(
            f"{_VARIABLE} has no process of role {missing[0] if missing else _WORKER}, which --strategy "
            f"{task.strategy} needs; {_REMEDY}"
        )
    if sizes.get(_CHIEF, 1) != 1:
        raise ConfigError(f"{_VARIABLE} has {sizes[_CHIEF]} processes of role {_CHIEF}; there must be one")
    addresses = [address for each in task.cluster.values() for address in each]
    twice = sorted({address for address in addresses if addresses.count(address) > 1})
    if twice:
        raise ConfigError(f"{_VARIABLE} gives the address {twice[0]} to two processes; give each its own")
