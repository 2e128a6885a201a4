"""Environment variables of a compiled pipeline's tasks, as local processes: secrets reach only whom they are for."""

import os
import pathlib
import sys
from collections.abc import Sequence

from tfx_pipeline.compiled import CompiledError, Task


def environments(tasks: Sequence[Task]) -> dict[str, dict[str, str]]:
    """Task -> environment of its process: this one's, without the secrets that are for other tasks alone.

    Args:
      tasks: all tasks of a pipeline.

    Raises:
      CompiledError: the value of a secret is not in this environment, or a secret is to be mounted.
    """
    wanted = {task.name: _secrets(task) for task in tasks}
    secrets = {variable for variables in wanted.values() for variable in variables}
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ.get("PATH", "")])
    result = {}
    for task in tasks:
        plain = {name: value for name, value in os.environ.items() if name not in secrets - set(wanted[task.name])}
        own = {each["name"]: each["value"] for each in task.executor.get("container", {}).get("env", [])}
        result[task.name] = {**plain, "PATH": path, **own}
    return result


def _secrets(task: Task) -> dict[str, str]:
    """Variable -> the secret that a task takes it from; each variable must be set in this environment."""
    for mounted in task.kubernetes.get("secretAsVolume", []):
        raise CompiledError(
            f"task {task.name} mounts secret {mounted['secretName']} at {mounted['mountPath']}, which only a cluster "
            "can do; compile without it to run here"
        )
    given = {
        key["envVar"]: secret["secretName"]
        for secret in task.kubernetes.get("secretAsEnv", [])
        for key in secret["keyToEnv"]
    }
    for variable, secret in given.items():
        if not os.environ.get(variable):
            raise CompiledError(
                f"task {task.name} takes {variable} from secret {secret}: set that environment variable to run here"
            )
    return given
