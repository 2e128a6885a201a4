"""Small pipeline specifications, written by hand: each container is a Python script."""

from collections.abc import Mapping, Sequence
from typing import Any

ARTIFACT = {"artifactType": {"instanceSchema": "title: tfx.String\ntype: object\n"}}


def constant(value: Any) -> dict[str, Any]:
    return {"runtimeValue": {"constant": value}}


def artifact(producer: str, key: str = "out") -> dict[str, Any]:
    return {"taskOutputArtifact": {"producerTask": producer, "outputArtifactKey": key}}


def value(producer: str) -> dict[str, Any]:
    return {"taskOutputParameter": {"producerTask": producer, "outputParameterKey": "out"}}


def task(
    *after: str,
    script: str = "pass",
    args: Sequence[str] = ("{{$}}",),
    parameters: Mapping[str, Any] | None = None,
    types: Mapping[str, str] | None = None,
    inputs: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A task with an output artifact `out` and an output parameter `out`; `more` joins its `PipelineTaskSpec`."""
    return {
        "after": after,
        "script": script,
        "args": args,
        "parameters": parameters or {},
        "types": types or {},
        "inputs": inputs or {},
        "more": more,
    }


def spec(declared: Mapping[str, Any] | None = None, **tasks: Mapping[str, Any]) -> dict[str, Any]:
    """A pipeline of `task`s, by their names, with the parameters `declared`."""
    root: dict[str, Any] = {"dag": {"tasks": {name: _task(name, each) for name, each in tasks.items()}}}
    if declared:
        root["inputDefinitions"] = {"parameters": declared}
    return {
        "pipelineInfo": {"name": "small"},
        "schemaVersion": "2.1.0",
        "components": {name: _component(name, each) for name, each in tasks.items()},
        "deploymentSpec": {"executors": {f"{name}_executor": _executor(each) for name, each in tasks.items()}},
        "root": root,
    }


def secret_env(**secrets: Mapping[str, str]) -> dict[str, Any]:
    """A platform specification: executor -> variable -> secret."""
    executors = {
        f"{name}_executor": {
            "secretAsEnv": [
                {"secretName": secret, "keyToEnv": [{"envVar": variable, "secretKey": "key"}]}
                for variable, secret in variables.items()
            ]
        }
        for name, variables in secrets.items()
    }
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}


def _task(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "taskInfo": {"name": name},
        "componentRef": {"name": name},
        "dependentTasks": list(given["after"]),
        "inputs": {"parameters": dict(given["parameters"]), "artifacts": dict(given["inputs"])},
        **given["more"],
    }


def _component(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {parameter: {"parameterType": given["types"].get(parameter, "STRING")} for parameter in given["parameters"]}
    return {
        "executorLabel": f"{name}_executor",
        "inputDefinitions": {"parameters": kinds, "artifacts": dict.fromkeys(given["inputs"], ARTIFACT)},
        "outputDefinitions": {"artifacts": {"out": ARTIFACT}, "parameters": {"out": {"parameterType": "STRING"}}},
    }


def _executor(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "container": {"image": "image:1", "command": ["python", "-c", given["script"]], "args": list(given["args"])}
    }
