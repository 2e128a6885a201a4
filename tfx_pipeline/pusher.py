"""Pusher: TFX's, made safe to begin again. A model gets one version, however often its push is killed or repeated.

TFX's own executor copies straight to `<seconds since 1970>/`. Killed there, it leaves a version that is half a model;
killed before its run is recorded, or run again because a limit changed, it pushes the same model twice.
"""

import os
import time
from typing import Any

from tfx import types
from tfx import v1 as tfx
from tfx.components.pusher import executor
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils
from tfx.utils import io_utils, proto_utils

from tfx_pipeline import blessed, digest
from tfx_pipeline.reports import GateError

FINGERPRINT = "fingerprint.pb"  # of a SavedModel: hashes of its graph and weights


class Executor(executor.Executor):
    """Pushes a blessed model with `push`; blessing checks and output properties are TFX's."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes the model if it is blessed, and says so in the output's properties.

        Args:
          input_dict: `model`, `model_blessing` and `infra_blessing`, as TFX's.
          output_dict: `pushed_model` receives a copy of the model, and the properties `pushed` (1 or 0),
            `pushed_destination` (the version's folder) and `pushed_version`.
          exec_properties: `push_destination`, of kind `filesystem`.

        Raises:
          GateError: see `push`.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties["push_destination"], destination)
        model, folder = self.GetModelPath(input_dict), destination.filesystem.base_directory
        io_utils.copy_dir(model, pushed.uri)
        version = str(push(model, folder))
        self._MarkPushed(pushed, pushed_destination=os.path.join(folder, version), pushed_version=version)


class Pusher(tfx.components.Pusher):
    """TFX's component with this module's executor."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)


def push(model: str, folder: str) -> int:
    """Brings a model among the versions that servers watch, unless it is there; one push at a time into a folder.

    The copy grows in `.N.partial` and is renamed when it is whole, so that `N/` appears complete or not at all. Object
    stores have no such rename, they move file by file: there a server may look too early, and try again. What a killed
    push left is removed by the next.

    Args:
      model: a SavedModel, folder or URI.
      folder: folder or URI of the versions.

    Returns:
      The model's version: the one it has, else the time in seconds, or one more than any version if that is later.

    Raises:
      GateError: the model was withdrawn.
    """
    blessed.remove_partial(folder)
    withdrawn = os.path.join(folder, blessed.WITHDRAWN)
    there, gone = blessed.versions(folder), blessed.versions(withdrawn)
    for version in reversed(there):
        if _equal(model, os.path.join(folder, str(version))):
            return version
    for version in gone:
        if _equal(model, os.path.join(withdrawn, str(version))):
            raise GateError(blessed.withdrawn_message(version))
    version = max([int(time.time()), *(known + 1 for known in (*there, *gone))])
    scratch = os.path.join(folder, f".{version}.partial")
    io_utils.copy_dir(model, scratch)
    fileio.rename(scratch, os.path.join(folder, str(version)))
    return version


def _equal(model: str, version: str) -> bool:
    """Whether two folders hold the same files.

    Fingerprints differ between almost any two models and are read first. Alone they do not do: TensorFlow 2.16 leaves
    assets out of them, and an export may have none.
    """
    names = _files(model)
    return names == _files(version) and all(
        digest.of_file(os.path.join(model, name)) == digest.of_file(os.path.join(version, name))
        for name in sorted(names, key=lambda name: (name != FINGERPRINT, name))
    )


def _files(folder: str) -> set[str]:
    return {
        os.path.relpath(os.path.join(place, name), folder) for place, _, names in fileio.walk(folder) for name in names
    }
