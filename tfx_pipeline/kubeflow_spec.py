"""Completes what TFX compiles for Kubeflow Pipelines v2: resources, retries, caching, secrets and run-time parameters.

TFX's builder emits neither retries nor secrets, and resources for some nodes only. Here they are added to the two
documents of a compiled pipeline: the pipeline specification (schema 2.1,
https://github.com/kubeflow/pipelines/blob/master/api/v2alpha1/pipeline_spec.proto) and the platform specification of
Kubernetes (kubernetes_platform/proto/kubernetes_executor_config.proto of the same repository).
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import kfp.components
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from hrlrec_tf.errors import ConfigError, HrlrecError
from tfx_pipeline.kubeflow_settings import Backoff, KubeflowSettings, Secret, TaskSettings

Spec = dict[str, Any]


class CompileError(HrlrecError):
    """The compiled pipeline holds what open-source Kubeflow Pipelines cannot run."""


def complete(compiled: Mapping[str, Any], settings: KubeflowSettings) -> tuple[Spec, Spec]:
    """Adds `settings` to a pipeline that TFX compiled.

    Args:
      compiled: the pipeline specification, schema 2.1, as TFX's runner returns it.
      settings: what to add.

    Returns:
      The pipeline specification and the platform specification, whose `platforms` is empty without secrets.

    Raises:
      ConfigError: a setting names a task or an execution property that the pipeline has not.
      CompileError: a node cannot run on open-source Kubeflow Pipelines.
    """
    spec = copy.deepcopy(dict(compiled))
    tasks, executors = spec["root"]["dag"]["tasks"], spec["deploymentSpec"]["executors"]
    _check_nodes(executors)
    _check_names(settings, tasks)
    platform: Spec = {}
    for name, task in tasks.items():
        own = settings.of(name)
        task["cachingOptions"] = {"enableCache": True} if own.cache else {}
        if own.retries:
            task["retryPolicy"] = _retry_policy(own, settings.backoff)
        _name_producers(task, tasks)
        label = spec["components"][task["componentRef"]["name"]]["executorLabel"]
        container = executors[label].get("container")
        if container is not None:
            container["resources"] = _resources(own)
            if settings.environment:
                container["env"] = [{"name": key, "value": value} for key, value in settings.environment.items()]
            secrets = _kubernetes(settings.secrets_of(name))
            if secrets:
                platform[label] = secrets
    for parameter, place in settings.parameters.items():
        _expose(spec, parameter, place)
    return spec, {"platforms": {"kubernetes": {"deploymentSpec": {"executors": platform}}} if platform else {}}


def to_yaml(spec: Mapping[str, Any], platform: Mapping[str, Any]) -> str:
    """The documents as one text that `kfp` loads; the second only where there is anything in it.

    Raises:
      CompileError: kfp does not take them; the message says why.
    """
    documents = [spec, platform] if platform["platforms"] else [spec]
    text = f"# PIPELINE DEFINITION\n# Name: {spec['pipelineInfo']['name']}\n"
    text += yaml.safe_dump_all(documents, sort_keys=True)
    try:
        json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
        json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
        kfp.components.load_component_from_text(text)
    except (json_format.ParseError, ValueError, TypeError, KeyError) as error:
        raise CompileError(f"kfp does not take the compiled pipeline: {' '.join(str(error).split())}") from error
    return text


def _check_nodes(executors: Mapping[str, Any]) -> None:
    for label, executor in executors.items():
        name = label.removesuffix("_executor")
        if "resolver" in executor:
            raise CompileError(
                f"{name} is a Resolver, which open-source Kubeflow Pipelines refuses at run time; look the artifact up "
                "in a component of your own"
            )
        if "lifecycle" in executor.get("container", {}):
            raise CompileError(
                f"{name} has a driver of its own (a file-based ExampleGen), which open-source Kubeflow Pipelines does "
                "not run; use SessionExampleGen or another component without one"
            )


def _check_names(settings: KubeflowSettings, tasks: Iterable[str]) -> None:
    known = set(tasks)
    named = {f"tasks.{name}": name for name in settings.tasks}
    named |= {f"secrets: {secret.secret}.tasks: {name}": name for secret in settings.secrets for name in secret.tasks}
    for place, name in named.items():
        if name not in known:
            raise ConfigError(f"{place} is no task of this pipeline; its tasks are {', '.join(sorted(known))}")


def _resources(own: TaskSettings) -> dict[str, float]:
    """Cores and 10^9 bytes: the numeric fields, which every release of the specification knows."""
    return {
        "cpuRequest": own.cpu_request,
        "cpuLimit": own.cpu_limit,
        "memoryRequest": own.memory_request_gb,
        "memoryLimit": own.memory_limit_gb,
    }


def _retry_policy(own: TaskSettings, backoff: Backoff) -> dict[str, Any]:
    return {
        "maxRetryCount": own.retries,
        "backoffDuration": f"{backoff.wait_seconds}s",
        "backoffFactor": backoff.factor,
        "backoffMaxDuration": f"{backoff.within_seconds}s",
    }


def _kubernetes(secrets: Iterable[Secret]) -> dict[str, list[Any]]:
    """Configuration of one executor; Secrets are named in the old way and the new one, as kfp-kubernetes does."""
    result: dict[str, list[Any]] = {}
    for secret in secrets:
        name = {"secretName": secret.secret, "secretNameParameter": {"runtimeValue": {"constant": secret.secret}}}
        if secret.env:
            keys = [{"envVar": variable, "secretKey": key} for variable, key in secret.env.items()]
            result.setdefault("secretAsEnv", []).append({**name, "keyToEnv": keys, "optional": False})
        if secret.mount:
            result.setdefault("secretAsVolume", []).append({**name, "mountPath": secret.mount, "optional": False})
    return result


def _name_producers(task: Mapping[str, Any], tasks: Mapping[str, Any]) -> None:
    """Undoes the suffix that TFX gives to the producer of a value, a name under which no task is found."""
    for given in task.get("inputs", {}).get("parameters", {}).values():
        source = given.get("taskOutputParameter", {})
        producer = source.get("producerTask", "")
        if producer and producer not in tasks:
            source["producerTask"] = producer.removesuffix("_task")


def _expose(spec: Spec, parameter: str, place: str) -> None:
    """Makes an execution property, wherever it occurs, a parameter of the pipeline with its value as the default."""
    only, _, wanted = place.rpartition(".")
    tasks = spec["root"]["dag"]["tasks"]
    found = {}
    for name, task in tasks.items():
        given = task.get("inputs", {}).get("parameters", {}).get(wanted)
        if given is not None and only in ("", name):
            found[name] = given
    if not found:
        raise ConfigError(f"parameters.{parameter}: no task has the execution property {place}")
    values = {name: given.get("runtimeValue", {}).get("constant") for name, given in found.items()}
    first = next(iter(found))
    if any(value is None or value != values[first] for value in values.values()):
        raise ConfigError(
            f"parameters.{parameter}: {wanted} is not one constant in {', '.join(found)}; name one task, "
            f"for instance {first}.{wanted}"
        )
    kind = spec["components"][tasks[first]["componentRef"]["name"]]["inputDefinitions"]["parameters"][wanted]
    inputs = spec["root"].setdefault("inputDefinitions", {}).setdefault("parameters", {})
    inputs[parameter] = {"parameterType": kind["parameterType"], "defaultValue": values[first], "isOptional": True}
    for given in found.values():
        given.clear()
        given["componentInputParameter"] = parameter
