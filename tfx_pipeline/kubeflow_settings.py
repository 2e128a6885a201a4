"""What a cluster is told about each task beyond what TFX compiles: resources, retries, caching, secrets, parameters.

`kubeflow.yaml` beside this file holds the defaults; `kubeflow_runner --settings FILE` takes another file of that form.
"""

import dataclasses
import pathlib
import re
from collections.abc import Mapping

import yaml

from hrlrec_tf.data import parsing
from hrlrec_tf.errors import ConfigError

DEFAULTS = pathlib.Path(__file__).with_name("kubeflow.yaml")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclasses.dataclass(frozen=True)
class TaskSettings:
    """Resources, retries and caching of one task.

    Attributes:
      cpu_request: cores that the scheduler reserves.
      cpu_limit: cores that the container may use.
      memory_request_gb: memory that the scheduler reserves, in 10^9 bytes.
      memory_limit_gb: memory above which the container is killed, in 10^9 bytes.
      retries: how often a failed task is tried again.
      cache: whether an earlier run with equal inputs may stand in for this one.
    """

    cpu_request: float = 1.0
    cpu_limit: float = 2.0
    memory_request_gb: float = 4.0
    memory_limit_gb: float = 4.0
    retries: int = 2
    cache: bool = True

    def __post_init__(self) -> None:
        pairs = (("cpu_request", "cpu_limit"), ("memory_request_gb", "memory_limit_gb"))
        for low, high in pairs:
            request, limit = getattr(self, low), getattr(self, high)
            if not 0 < request <= limit:
                raise ConfigError(f"{low} must be above 0 and at most {high}: got {request:g} and {limit:g}")
        if self.retries < 0:
            raise ConfigError(f"retries must be 0 or more: got {self.retries}")


@dataclasses.dataclass(frozen=True)
class Backoff:
    """When a failed task is tried again.

    Attributes:
      wait_seconds: pause before the first retry.
      factor: each further pause is that many times as long.
      within_seconds: no retry later than this after the first attempt *began*; Kubeflow's own default is one hour,
        within which a training that fails late is never tried again.
    """

    wait_seconds: int = 60
    factor: float = 2.0
    within_seconds: int = 86_400

    def __post_init__(self) -> None:
        if self.wait_seconds < 0 or self.factor < 1 or self.within_seconds <= 0:
            raise ConfigError(
                "backoff needs wait_seconds of 0 or more, a factor of 1 or more and within_seconds above 0: got "
                f"{self.wait_seconds}, {self.factor:g} and {self.within_seconds}"
            )


@dataclasses.dataclass(frozen=True)
class Secret:
    """A Kubernetes Secret, by reference: names only, never a value.

    Attributes:
      secret: name of the Secret object in the pipeline's namespace.
      env: environment variable -> key inside the Secret.
      mount: folder where the Secret's keys appear as files; None mounts nothing.
      tasks: who gets it; empty means every task.
    """

    secret: str
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    mount: str | None = None
    tasks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.env and not self.mount:
            raise ConfigError(f"secret {self.secret} needs env or mount: it reaches no container otherwise")
        _check_variables(self.env)


@dataclasses.dataclass(frozen=True)
class KubeflowSettings:
    """Everything that is added to a compiled pipeline.

    Attributes:
      default: of tasks that `tasks` does not name.
      tasks: task -> its settings.
      backoff: pauses between retries, of every task.
      secrets: Kubernetes Secrets that tasks are given.
      environment: plain environment variables of every container.
      parameters: pipeline parameter -> `PROPERTY` or `TASK.PROPERTY`, the execution property that it sets; its default
        is the value at compilation.
    """

    default: TaskSettings = TaskSettings()
    tasks: Mapping[str, TaskSettings] = dataclasses.field(default_factory=dict)
    backoff: Backoff = Backoff()
    secrets: tuple[Secret, ...] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    parameters: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_variables(self.environment)
        secret = {variable for each in self.secrets for variable in each.env}
        for name in sorted(secret.intersection(self.environment)):
            raise ConfigError(f"environment: {name} comes from a secret already; name it in one place")

    def of(self, task: str) -> TaskSettings:
        """The settings of a task."""
        return self.tasks.get(task, self.default)

    def secrets_of(self, task: str) -> list[Secret]:
        """The secrets that a task is given."""
        return [secret for secret in self.secrets if not secret.tasks or task in secret.tasks]


def load(path: str | pathlib.Path = DEFAULTS) -> KubeflowSettings:
    """Reads a settings file; a task's keys stand over those of `default`.

    Raises:
      ConfigError: the file cannot be read, or a key or value is wrong; the message names file and key.
    """
    try:
        given = yaml.safe_load(pathlib.Path(path).read_text("utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if isinstance(given, Mapping) and isinstance(given.get("tasks"), Mapping):
        default = given.get("default") or {}
        tasks = {name: {**default, **(own or {})} for name, own in given["tasks"].items()}
        given = {**given, "tasks": tasks}
    try:
        return parsing.build(KubeflowSettings, given, "")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _check_variables(names: Mapping[str, str]) -> None:
    for name in names:
        if not _VARIABLE.fullmatch(name):
            raise ConfigError(f"{name!r} is no name of an environment variable: use letters, digits and underscores")
