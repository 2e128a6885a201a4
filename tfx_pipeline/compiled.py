"""A compiled pipeline as Kubeflow's driver and launcher read it: who runs after whom, and what a container is given.

Follows the driver and launcher of open-source Kubeflow Pipelines (https://github.com/kubeflow/pipelines, folders
backend/src/v2/driver and backend/src/v2/component). Containers and importers are known, as TFX compiles them; a
condition, a loop or a pipeline inside the pipeline is refused.
"""

import dataclasses
import graphlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from hrlrec_tf.errors import HrlrecError

Json = dict[str, Any]

_KINDS: dict[str, tuple[type, ...]] = {
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}


class CompiledError(HrlrecError):
    """A compiled pipeline cannot be read, or not be run with what was given."""


@dataclasses.dataclass(frozen=True)
class Task:
    """One task of the pipeline.

    Attributes:
      name: of the task.
      spec: `PipelineTaskSpec` as JSON.
      component: its `ComponentSpec`.
      executor: its `ExecutorSpec`: a container or an importer.
      kubernetes: its part of the platform specification.
    """

    name: str
    spec: Json
    component: Json
    executor: Json
    kubernetes: Json


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What a finished task handed over.

    Attributes:
      artifacts: output name -> `RuntimeArtifact` as JSON: name, uri, type, metadata.
      parameters: output name -> value.
    """

    artifacts: Mapping[str, Json]
    parameters: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class CompiledPipeline:
    """A pipeline specification and its platform specification."""

    spec: Json
    platform: Json

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return str(self.spec["pipelineInfo"]["name"])

    def tasks(self) -> list[Task]:
        """The tasks, each behind all that it depends on; otherwise by name."""
        specs = self.spec["root"]["dag"]["tasks"]
        order = graphlib.TopologicalSorter({name: sorted(_upstream(task)) for name, task in sorted(specs.items())})
        return [self._task(name, specs[name]) for name in order.static_order()]

    def parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The pipeline's parameters: those given, and the defaults of the others.

        Args:
          given: parameter -> value, or its text.

        Raises:
          CompiledError: one is unknown, has the wrong type or has no value.
        """
        declared = self.spec["root"].get("inputDefinitions", {}).get("parameters", {})
        unknown = sorted(set(given) - set(declared))
        if unknown:
            raise CompiledError(f"the pipeline has no parameter {unknown[0]}; it has {', '.join(sorted(declared))}")
        values = {}
        for name, kind in declared.items():
            if name in given:
                values[name] = _typed(name, kind["parameterType"], given[name])
            elif "defaultValue" in kind:
                values[name] = kind["defaultValue"]
            elif not kind.get("isOptional"):
                raise CompiledError(f"the pipeline needs a value of parameter {name}: give {name}=VALUE")
        return values

    def _task(self, name: str, spec: Json) -> Task:
        component = self.spec["components"][spec["componentRef"]["name"]]
        label = component.get("executorLabel", "")
        executor = self.spec["deploymentSpec"]["executors"].get(label, {})
        if "container" in executor and not executor["container"].get("command"):
            raise CompiledError(f"task {name} starts its image's own entry point, which is not here; compile a command")
        special = {"triggerPolicy", "parameterIterator", "artifactIterator"}.intersection(spec)
        if special or not {"container", "importer"}.intersection(executor):
            what = ", ".join(sorted(special or executor or component))
            raise CompiledError(f"task {name} is no plain container or importer but has {what}; run it on a cluster")
        platforms = self.platform.get("platforms", {}).get("kubernetes", {})
        kubernetes = platforms.get("deploymentSpec", {}).get("executors", {}).get(label, {})
        return Task(name, spec, component, executor, kubernetes)


def read(path: pathlib.Path) -> CompiledPipeline:
    """Reads the YAML file of a compiled pipeline: one document or two.

    Raises:
      CompiledError: it is no pipeline specification of schema 2.1.
    """
    try:
        documents = list(yaml.safe_load_all(path.read_text("utf-8")))
        spec, platform = (*documents, {})[:2]
        json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
        json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
    except (OSError, ValueError, AttributeError, TypeError, yaml.YAMLError, json_format.ParseError) as error:
        raise CompiledError(f"{path} is no compiled pipeline: {' '.join(str(error).split())}") from error
    if not isinstance(spec, dict) or spec.get("schemaVersion") != "2.1.0":
        raise CompiledError(f"{path} is no pipeline specification of schema version 2.1.0; see kubeflow_runner")
    return CompiledPipeline(spec, platform)


def inputs(task: Task, parameters: Mapping[str, Any], done: Mapping[str, Outputs], job: Mapping[str, str]) -> Json:
    """The `inputs` of a task's `ExecutorInput`.

    Args:
      task: the task.
      parameters: of the pipeline.
      done: task -> its outputs, of all tasks upstream.
      job: placeholder in a constant -> its value, e.g. `{{$.pipeline_job_uuid}}`.
    """
    given = task.spec.get("inputs", {})
    declared = task.component.get("inputDefinitions", {}).get("parameters", {})
    values = {name: kind["defaultValue"] for name, kind in declared.items() if "defaultValue" in kind}
    for name, source in given.get("parameters", {}).items():
        if "componentInputParameter" in source:
            if source["componentInputParameter"] in parameters:
                values[name] = parameters[source["componentInputParameter"]]
        elif "taskOutputParameter" in source:
            producer = source["taskOutputParameter"]
            values[name] = _output(task, done, producer["producerTask"], "parameters", producer["outputParameterKey"])
        else:
            constant = source["runtimeValue"]["constant"]
            values[name] = job.get(constant, constant) if isinstance(constant, str) else constant
        if declared[name]["parameterType"] == "STRING" and name in values:
            values[name] = _text(values[name])
    artifacts = {}
    for name, source in given.get("artifacts", {}).items():
        producer = source["taskOutputArtifact"]
        artifact = _output(task, done, producer["producerTask"], "artifacts", producer["outputArtifactKey"])
        artifacts[name] = {"artifacts": [artifact]}
    return {"parameterValues": values, "artifacts": artifacts}


def outputs(task: Task, folder: pathlib.Path) -> Json:
    """The `outputs` of a task's `ExecutorInput`: places in `folder` for all that the component declares."""
    declared = task.component.get("outputDefinitions", {})
    artifacts = {
        name: {
            "name": name,
            "uri": str(folder / name),
            "type": kind["artifactType"],
            "metadata": kind.get("metadata", {}),
        }
        for name, kind in declared.get("artifacts", {}).items()
    }
    return {
        "artifacts": {name: {"artifacts": [artifact]} for name, artifact in artifacts.items()},
        "parameters": {
            name: {"outputFile": str(folder / ".parameters" / name)} for name in declared.get("parameters", {})
        },
        "outputFile": str(folder / "output_metadata.json"),
    }


def command(task: Task, executor_input: Json) -> list[str]:
    """The container's command line, its placeholders filled in."""
    container = task.executor["container"]
    values = {"{{$}}": json.dumps(executor_input)}
    for name, value in executor_input["inputs"]["parameterValues"].items():
        values[f"{{{{$.inputs.parameters['{name}']}}}}"] = _text(value)
    for side in ("inputs", "outputs"):
        for name, each in executor_input[side]["artifacts"].items():
            for field in ("uri", "path"):
                values[f"{{{{$.{side}.artifacts['{name}'].{field}}}}}"] = each["artifacts"][0]["uri"]
    for name, each in executor_input["outputs"]["parameters"].items():
        values[f"{{{{$.outputs.parameters['{name}'].output_file}}}}"] = each["outputFile"]
    words = []
    for word in [*container.get("command", []), *container.get("args", [])]:
        for placeholder, value in values.items():
            word = word.replace(placeholder, value)
        words.append(word)
    return words


def _upstream(task: Json) -> set[str]:
    given = task.get("inputs", {})
    sources = [*given.get("artifacts", {}).values(), *given.get("parameters", {}).values()]
    producers = [source.get("taskOutputArtifact", source.get("taskOutputParameter")) for source in sources]
    return {*task.get("dependentTasks", []), *(producer["producerTask"] for producer in producers if producer)}


def _output(task: Task, done: Mapping[str, Outputs], producer: str, kind: str, key: str) -> Any:
    found = getattr(done[producer], kind) if producer in done else {}
    if key not in found:
        raise CompiledError(f"task {task.name} needs {kind[:-1]} {key} of task {producer}, which did not hand it over")
    return found[key]


def _typed(name: str, kind: str, value: Any) -> Any:
    """A parameter's value in its declared type, of text where it is given as such."""
    if kind == "STRING":
        return str(value)
    try:
        parsed = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        parsed = None
    if not isinstance(parsed, _KINDS[kind]) or (isinstance(parsed, bool) and kind != "BOOLEAN"):
        raise CompiledError(f"parameter {name} must be {kind}: got {value!r}")
    return parsed


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
