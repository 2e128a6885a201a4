"""Runs compiled Kubeflow pipelines on this machine: each container's command as a local process.

For tests, and for trying a compiled pipeline before it is submitted. Resources are not enforced, and images are not
looked at: the commands run in this environment, in the current folder.
"""

import dataclasses
import datetime
import hashlib
import json
import pathlib
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils
from tfx.orchestration.portable import outputs_utils

from hrlrec_tf.errors import HrlrecError
from tfx_pipeline import compiled, task_environment
from tfx_pipeline.compiled import CompiledPipeline, Json, Outputs, Task

RAN, CACHED = "ran", "cached"


class TaskError(HrlrecError):
    """A task failed and has no retries left."""


@dataclasses.dataclass(frozen=True)
class TaskRun:
    """What a task did.

    Attributes:
      state: `ran` or `cached`.
      attempts: how often its container was started.
      seconds: time it took, pauses included.
      outputs: what it handed over.
    """

    state: str
    attempts: int
    seconds: float
    outputs: Outputs


class LocalCluster:
    """Runs compiled pipelines in a folder: `PIPELINE/RUN/TASK/` holds a task's outputs, logs and executor input.

    Artifacts keep the place and the name under which they were made, and stand in for a later task of equal inputs
    where its caching is on.
    """

    def __init__(self, root: pathlib.Path, typed: bool = False, sleep: Callable[[float], None] = time.sleep) -> None:
        """Args:
        root: folder of everything that runs write.
        typed: hand input artifacts over with their types, as Vertex AI does; the driver of open-source Kubeflow
          Pipelines leaves them empty.
        sleep: waits between retries.
        """
        self._root = root.resolve()
        self._typed = typed
        self._sleep = sleep

    def run(
        self,
        pipeline: CompiledPipeline,
        parameters: Mapping[str, Any] | None = None,
        on_task: Callable[[str, TaskRun], None] = lambda name, run: None,
    ) -> dict[str, TaskRun]:
        """Runs a pipeline, task by task.

        Args:
          pipeline: the pipeline.
          parameters: values, or their texts, of pipeline parameters; the others have their defaults.
          on_task: called with a task's name and what it did, as soon as it did.

        Returns:
          Task -> what it did, in the order in which they ran.

        Raises:
          CompiledError: the pipeline cannot be run with these parameters, or a secret is not in the environment.
          TaskError: a task failed and has no retries left; the message names its log.
        """
        values, tasks = pipeline.parameters(parameters or {}), pipeline.tasks()
        environments = task_environment.environments(tasks)
        now = datetime.datetime.now(datetime.timezone.utc)
        run_id = now.strftime("%Y%m%dT%H%M%S.%f")
        job = {
            "{{$.pipeline_job_name}}": pipeline.name,
            "{{$.pipeline_job_uuid}}": run_id,
            "{{$.pipeline_job_create_time_utc}}": now.isoformat(timespec="seconds"),
            "{{$.pipeline_job_schedule_time_utc}}": now.isoformat(timespec="seconds"),
        }
        done: dict[str, TaskRun] = {}
        for task in tasks:
            handed = {name: run.outputs for name, run in done.items()}
            folder = self._root / pipeline.name / run_id / task.name
            done[task.name] = self._run_task(
                task, compiled.inputs(task, values, handed, job), folder, environments[task.name]
            )
            on_task(task.name, done[task.name])
        return done

    def _run_task(self, task: Task, inputs: Json, folder: pathlib.Path, environment: Mapping[str, str]) -> TaskRun:
        start = time.monotonic()
        if "importer" in task.executor:
            return TaskRun(RAN, 0, 0.0, _imported(task, inputs))
        cache = self._root / ".cache" / f"{_fingerprint(task, inputs)}.json"
        caching = task.spec.get("cachingOptions", {}).get("enableCache", False)
        if caching and (earlier := _read_cache(cache)):
            return TaskRun(CACHED, 0, time.monotonic() - start, earlier)
        folder.mkdir(parents=True)
        executor_input = {"inputs": self._as_handed_over(inputs), "outputs": compiled.outputs(task, folder)}
        _make_folders(executor_input["outputs"])
        (folder / "executor_input.json").write_text(json.dumps(executor_input, indent=2), "utf-8")
        attempts = self._attempt(task, compiled.command(task, executor_input), folder, environment)
        outputs = _read_outputs(executor_input["outputs"])
        if caching:
            _write_cache(cache, outputs)
        return TaskRun(RAN, attempts, time.monotonic() - start, outputs)

    def _attempt(self, task: Task, command: list[str], folder: pathlib.Path, environment: Mapping[str, str]) -> int:
        """Runs a container's command until it succeeds or the retry policy ends; returns the number of attempts.

        Nothing is cleared between two attempts, as on a cluster: the second finds what the first left.
        """
        policy = task.spec.get("retryPolicy", {})
        retries = policy.get("maxRetryCount", 0)
        wait, factor = _seconds(policy.get("backoffDuration", "0s")), policy.get("backoffFactor") or 2.0
        deadline = time.monotonic() + _seconds(policy.get("backoffMaxDuration", "3600s"))
        for attempt in range(1, retries + 2):
            log = folder / f"attempt-{attempt}.log"
            code = _start(command, log, environment)
            if code == 0:
                return attempt
            if attempt > retries or time.monotonic() + wait > deadline:
                break
            self._sleep(wait)
            wait *= factor
        lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
        reason = lines[-1] if lines else "no output"
        raise TaskError(f"task {task.name} failed {attempt} times, last with exit code {code}: {reason}; see {log}")

    def _as_handed_over(self, inputs: Json) -> Json:
        """The inputs as this kind of driver writes them."""
        if self._typed:
            return inputs
        artifacts = {
            name: {"artifacts": [{**each, "type": {"instanceSchema": ""}} for each in given["artifacts"]]}
            for name, given in inputs["artifacts"].items()
        }
        return {**inputs, "artifacts": artifacts}


def _start(command: list[str], log: pathlib.Path, environment: Mapping[str, str]) -> int:
    """Runs a command to its end; all it says goes to `log`. Returns its exit code."""
    with log.open("wb") as file:
        try:
            return subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment).returncode
        except OSError as error:  # there is no such program
            file.write(str(error).encode())
            return 127


def _make_folders(declared: Json) -> None:
    """Makes the folders of output artifacts: on a cluster these lie in an object store, where a file needs none."""
    given = json_format.ParseDict({"artifacts": declared["artifacts"]}, pipeline_spec_pb2.ExecutorInput.Outputs())
    outputs_utils.make_output_dirs(kubeflow_v2_entrypoint_utils.parse_raw_artifact_dict(given.artifacts))


def _imported(task: Task, inputs: Json) -> Outputs:
    importer = task.executor["importer"]
    uri = importer["artifactUri"]
    (name,) = task.component["outputDefinitions"]["artifacts"]
    value = inputs["parameterValues"][uri["runtimeParameter"]] if "runtimeParameter" in uri else uri["constant"]
    artifact = {"name": value, "uri": value, "type": importer["typeSchema"], "metadata": importer.get("metadata", {})}
    return Outputs({name: artifact}, {})


def _read_outputs(declared: Json) -> Outputs:
    """What the container recorded in its output file and in the files of its parameters."""
    file = pathlib.Path(declared["outputFile"])
    recorded = json.loads(file.read_text("utf-8")) if file.exists() else {}
    artifacts = {}
    for name, given in declared["artifacts"].items():
        artifact = dict(given["artifacts"][0])
        for changed in recorded.get("artifacts", {}).get(name, {}).get("artifacts", []):
            artifact["uri"] = changed.get("uri", artifact["uri"])
            artifact["metadata"] = {**artifact["metadata"], **changed.get("metadata", {})}
        artifacts[name] = {**artifact, "name": str(pathlib.Path(given["artifacts"][0]["uri"]))}
    parameters = dict(recorded.get("parameterValues", {}))
    for name, each in declared["parameters"].items():
        written = pathlib.Path(each["outputFile"])
        if written.exists():
            parameters[name] = written.read_text("utf-8")
    return Outputs(artifacts, parameters)


def _fingerprint(task: Task, inputs: Json) -> str:
    """Equal for what Kubeflow's cache takes for equal: names of artifacts, parameters, outputs, image, command."""
    container = task.executor["container"]
    text = json.dumps(
        {
            "artifacts": {
                name: [each["name"] for each in given["artifacts"]] for name, given in inputs["artifacts"].items()
            },
            "parameters": inputs["parameterValues"],
            "outputs": task.component.get("outputDefinitions", {}),
            "container": {key: container.get(key) for key in ("image", "command", "args", "env")},
        },
        sort_keys=True,
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _read_cache(file: pathlib.Path) -> Outputs | None:
    """The outputs of an earlier run; None without one, or when its artifacts are gone."""
    if not file.exists():
        return None
    outputs = Outputs(**json.loads(file.read_text("utf-8")))
    gone = [each for each in outputs.artifacts.values() if not pathlib.Path(each["uri"]).exists()]
    return None if gone else outputs


def _write_cache(file: pathlib.Path, outputs: Outputs) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(dataclasses.asdict(outputs)), "utf-8")
    partial.replace(file)


def _seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))
