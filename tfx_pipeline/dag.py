"""Runs any TFX pipeline on this machine with LocalDagRunner, component by component, and reads back what each did."""

import contextlib
import dataclasses
import datetime
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping

import absl.logging
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx import v1 as tfx
from tfx.dsl.compiler import compiler
from tfx.dsl.compiler.constants import NODE_CONTEXT_TYPE_NAME, PIPELINE_RUN_ID_PARAMETER_NAME
from tfx.orchestration import metadata
from tfx.orchestration.portable import runtime_parameter_utils
from tfx.proto.orchestration import pipeline_pb2

from hrlrec_tf.errors import HrlrecError

RUNNING = "running"
RAN = "ran"
CACHED = "cached"
FAILED = "failed"
_STATES = {
    metadata_store_pb2.Execution.COMPLETE: RAN,
    metadata_store_pb2.Execution.CACHED: CACHED,
    metadata_store_pb2.Execution.FAILED: FAILED,
}

Progress = Callable[[str, str], None]


class PipelineError(HrlrecError):
    """A component failed for a reason of its own; the cause is chained."""


@dataclasses.dataclass(frozen=True)
class Run:
    """The latest run of one component.

    Attributes:
      state: `ran`, `cached` or `failed`.
      outputs: output name -> URI of its artifact.
      properties: output name -> its artifact's custom properties.
    """

    state: str
    outputs: Mapping[str, str]
    properties: Mapping[str, Mapping[str, str | int | float]]


def run_dag(pipeline: tfx.dsl.Pipeline, metadata_file: str, on_component: Progress | None = None) -> dict[str, Run]:
    """Runs a pipeline, component by component.

    Args:
      pipeline: any TFX pipeline.
      metadata_file: SQLite file of ML Metadata; made if absent.
      on_component: called with a component's name and `running`, then with `ran`, `cached` or `failed`.

    Returns:
      Component -> what it did.

    Raises:
      HrlrecError: a component raised it, for instance a gate.
      PipelineError: a component failed otherwise.
    """
    report = on_component or (lambda name, state: None)
    connection = tfx.orchestration.metadata.sqlite_metadata_connection_config(metadata_file)
    pipeline.metadata_connection_config = connection
    ir = compiler.Compiler().compile(pipeline)
    # All components must see one run id, though LocalDagRunner is given them one by one to report on each.
    run_id = datetime.datetime.now().isoformat()
    runtime_parameter_utils.substitute_runtime_parameter(ir, {PIPELINE_RUN_ID_PARAMETER_NAME: run_id})
    done = {}
    for node in ir.nodes:
        name = node.pipeline_node.node_info.id
        report(name, RUNNING)
        try:
            tfx.orchestration.LocalDagRunner().run_with_ir(_only(ir, node))
        except HrlrecError:
            report(name, FAILED)
            raise
        except Exception as error:
            report(name, FAILED)
            raise PipelineError(f"{name} failed: {_in_short(error)}") from error
        with metadata.Metadata(connection) as handle:
            done[name] = latest(handle.store, pipeline.pipeline_info.pipeline_name, name)
        report(name, done[name].state)
    return done


def _only(ir: pipeline_pb2.Pipeline, node: pipeline_pb2.Pipeline.PipelineOrNode) -> pipeline_pb2.Pipeline:
    """The pipeline reduced to one node."""
    reduced = pipeline_pb2.Pipeline()
    reduced.CopyFrom(ir)
    del reduced.nodes[:]
    reduced.nodes.append(node)
    return reduced


def _in_short(error: BaseException) -> str:
    """Type and first line of the error that began it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), 'no message')}"


@contextlib.contextmanager
def quiet(verbose: bool = False) -> Iterator[None]:
    """Silences the logs of TFX, Beam and TensorFlow inside, unless `verbose`; failures are raised anyway."""
    level, verbosity = logging.getLogger().level, absl.logging.get_verbosity()
    with warnings.catch_warnings():
        if not verbose:
            warnings.simplefilter("ignore")
            absl.logging.set_verbosity(absl.logging.FATAL)
            logging.getLogger().setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            absl.logging.set_verbosity(verbosity)
            logging.getLogger().setLevel(level)


def latest(store: MetadataStore, pipeline: str, component: str) -> Run:
    """The latest run of `component` in the pipeline of that name.

    Raises:
      LookupError: it never ran.
    """
    context = store.get_context_by_type_and_name(NODE_CONTEXT_TYPE_NAME, f"{pipeline}.{component}")
    executions = store.get_executions_by_context(context.id) if context else []
    if not executions:
        raise LookupError(f"{component} never ran in pipeline {pipeline}")
    execution = max(executions, key=lambda each: each.id)
    events = {
        event.artifact_id: event.path.steps[0].key
        for event in store.get_events_by_execution_ids([execution.id])
        if event.type == metadata_store_pb2.Event.OUTPUT
    }
    artifacts = {events[artifact.id]: artifact for artifact in store.get_artifacts_by_id(list(events))}
    return Run(
        state=_STATES.get(execution.last_known_state, FAILED),
        outputs={name: artifact.uri for name, artifact in artifacts.items()},
        properties={name: _plain(artifact.custom_properties) for name, artifact in artifacts.items()},
    )


def _plain(properties: Mapping[str, metadata_store_pb2.Value]) -> dict[str, str | int | float]:
    return {name: getattr(value, value.WhichOneof("value")) for name, value in properties.items()}
