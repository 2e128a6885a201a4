"""Artifacts of runs long past: their files go, ML Metadata keeps saying that they were there."""

from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx import v1 as tfx
from tfx.dsl.compiler.constants import NODE_CONTEXT_TYPE_NAME, PIPELINE_CONTEXT_TYPE_NAME
from tfx.dsl.io import fileio
from tfx.orchestration import metadata


def prune(metadata_file: str, pipeline: str, keep: int) -> list[str]:
    """Removes the files of all artifacts but those of the newest executions of each component.

    Args:
      metadata_file: SQLite file of ML Metadata.
      pipeline: its name.
      keep: executions of each component whose outputs stay; a cached one keeps what it took from the cache.

    Returns:
      URIs of what was removed.
    """
    connection = tfx.orchestration.metadata.sqlite_metadata_connection_config(metadata_file)
    with metadata.Metadata(connection) as handle:
        store: MetadataStore = handle.store
        context = store.get_context_by_type_and_name(PIPELINE_CONTEXT_TYPE_NAME, pipeline)
        executions = store.get_executions_by_context(context.id) if context else []
        newest: dict[str, list[int]] = {}
        for execution in sorted(executions, key=lambda each: -each.id):
            newest.setdefault(_component(store, execution.id), []).append(execution.id)
        kept = _outputs(store, [each for ids in newest.values() for each in ids[:keep]])
        old = _outputs(store, [each for ids in newest.values() for each in ids[keep:]]) - kept
        removed = []
        for artifact in store.get_artifacts_by_id(sorted(old)):
            if artifact.state == metadata_store_pb2.Artifact.DELETED:
                continue
            if fileio.exists(artifact.uri):
                fileio.rmtree(artifact.uri)
            artifact.state = metadata_store_pb2.Artifact.DELETED
            store.put_artifacts([artifact])
            removed.append(artifact.uri)
        return removed


def _component(store: MetadataStore, execution: int) -> str:
    """The component that an execution is of; two may be of one type."""
    node = store.get_context_type(NODE_CONTEXT_TYPE_NAME).id
    return next(each.name for each in store.get_contexts_by_execution(execution) if each.type_id == node)


def _outputs(store: MetadataStore, executions: list[int]) -> set[int]:
    """Artifacts that executions put out."""
    events = store.get_events_by_execution_ids(executions) if executions else []
    kinds = (metadata_store_pb2.Event.OUTPUT, metadata_store_pb2.Event.DECLARED_OUTPUT)
    return {event.artifact_id for event in events if event.type in kinds}
