"""Artifacts of runs long past and of killed ones: their files go, ML Metadata keeps saying that they were there."""

import pathlib
from collections.abc import Collection, Iterator, Sequence

from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx import v1 as tfx
from tfx.dsl.compiler.constants import NODE_CONTEXT_TYPE_NAME
from tfx.dsl.io import fileio
from tfx.orchestration import metadata

_LIVE = metadata_store_pb2.Artifact.LIVE
_SUCCEEDED = (metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED)


def prune(root: str, metadata_file: str, pipeline: str, keep: int) -> list[str]:
    """Removes what no run will read again; call it while none is running.

    These are the files of all artifacts but those of the newest executions of each component, and the folders
    `COMPONENT/OUTPUT/EXECUTION` of killed executions. A component's newest execution keeps its folders, however it
    ended. Where the folder was copied or moved since, metadata names files of another place: then nothing is removed.

    Args:
      root: the pipeline's, as metadata names it.
      metadata_file: SQLite file of ML Metadata.
      pipeline: its name.
      keep: successful executions of each component whose outputs stay; a cached one keeps what it took from the cache.

    Returns:
      URIs of what was removed.
    """
    connection = tfx.orchestration.metadata.sqlite_metadata_connection_config(metadata_file)
    with metadata.Metadata(connection) as handle:
        executions = _executions(handle.store, pipeline)
        if not all(pathlib.Path(uri).is_relative_to(root) for uri in _live(handle.store)):
            return []
        removed = list(_remove_superseded(handle.store, list(executions.values()), keep))
        newest = {component: max(each.id for each in theirs) for component, theirs in executions.items()}
        for folder in _orphans(pathlib.Path(root), newest, _live(handle.store)):
            fileio.rmtree(str(folder))
            removed.append(str(folder))
        return removed


def _live(store: MetadataStore) -> set[str]:
    """URIs of the artifacts whose files are there."""
    return {each.uri for each in store.get_artifacts() if each.state == _LIVE}


def _executions(store: MetadataStore, pipeline: str) -> dict[str, list[metadata_store_pb2.Execution]]:
    """Component -> its executions; two components may be of one type."""
    prefix = f"{pipeline}."
    nodes = [each for each in store.get_contexts_by_type(NODE_CONTEXT_TYPE_NAME) if each.name.startswith(prefix)]
    found = {each.name.removeprefix(prefix): store.get_executions_by_context(each.id) for each in nodes}
    return {component: executions for component, executions in found.items() if executions}


def _remove_superseded(
    store: MetadataStore, components: Sequence[Sequence[metadata_store_pb2.Execution]], keep: int
) -> Iterator[str]:
    """Removes the artifacts that only older executions put out; yields their URIs."""
    kept, old = list[int](), list[int]()
    for executions in components:
        succeeded = sorted((each.id for each in executions if each.last_known_state in _SUCCEEDED), reverse=True)
        kept, old = kept + succeeded[:keep], old + succeeded[keep:]
    for artifact in store.get_artifacts_by_id(sorted(_outputs(store, old) - _outputs(store, kept))):
        if artifact.state != _LIVE:
            continue
        artifact.state = metadata_store_pb2.Artifact.DELETED  # first, or the cache might serve half of it
        store.put_artifacts([artifact])
        if fileio.exists(artifact.uri):
            (fileio.rmtree if fileio.isdir(artifact.uri) else fileio.remove)(artifact.uri)
        yield artifact.uri


def _outputs(store: MetadataStore, executions: list[int]) -> set[int]:
    """Artifacts that executions put out."""
    events = store.get_events_by_execution_ids(executions) if executions else []
    kinds = (metadata_store_pb2.Event.OUTPUT, metadata_store_pb2.Event.DECLARED_OUTPUT)
    return {event.artifact_id for event in events if event.type in kinds}


def _orphans(root: pathlib.Path, newest: dict[str, int], live: Collection[str]) -> Iterator[pathlib.Path]:
    """Folders that executions before a component's newest left and no live artifact is in, temporary ones included."""
    used = {path for uri in live for path in (pathlib.Path(uri), pathlib.Path(uri).parent)}  # a value lies in a file
    for component, execution in newest.items():
        temporary = (root / component / ".system" / "executor_execution").glob("*/.temp")
        for folder in (*(root / component).glob("[!.]*/*"), *temporary):
            number = folder.parent.name if folder.name == ".temp" else folder.name
            if number.isdecimal() and int(number) < execution and folder.is_dir() and folder not in used:
                yield folder
