"""SessionExampleGen: an impression log in, sessions out, by the Beam job of `hrlrec prepare`."""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from tfx import types
from tfx import v1 as tfx
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, component_spec
from tfx.utils import io_utils

from hrlrec_tf.data import parsing
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.data.examples import SPLITS
from hrlrec_tf.data.prepare import prepare
from hrlrec_tf.errors import LogError
from tfx_pipeline.window import Window


class Executor(base_beam_executor.BaseBeamExecutor):
    """Runs the Beam job and lays its folder out as an Examples artifact."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes splits `train`, `validation` and `eval`, and beside them `rejected/`, `schema.pbtxt`, `summary.json`.

        Args:
          input_dict: nothing; the log is a path.
          output_dict: `examples`, one artifact.
          exec_properties: `dataset`, a `DatasetConfig` as JSON, and `log`, its place; `date` and `days`, the window of
            a daily run, "" for one that stands alone.

        Raises:
          LogError: the log cannot be read, or leaves a split empty.
        """
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        settings = {**json.loads(exec_properties["dataset"]), "log": exec_properties["log"]}
        dataset = parsing.build(DatasetConfig, settings, "")
        if exec_properties["date"]:
            dataset = Window.of(exec_properties["date"], exec_properties["days"]).dataset(dataset)
        with _folder_beside(examples.uri) as folder:
            summary = prepare(dataset, folder, self._beam_pipeline_args, show_progress=sys.stderr.isatty())
            _check_splits(summary["requests"], str(dataset.log), exec_properties["date"])
            for name in os.listdir(folder):
                target = f"Split-{name}" if name in SPLITS else name
                _move(os.path.join(folder, name), os.path.join(examples.uri, target))
        examples.split_names = artifact_utils.encode_split_names(SPLITS)
        examples.span = 0
        examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)


class SessionExampleGenSpec(component_spec.ComponentSpec):
    """Inputs, outputs and properties of `SessionExampleGen`."""

    INPUTS: dict[str, Any] = {}
    OUTPUTS = {"examples": component_spec.ChannelParameter(type=tfx.types.standard_artifacts.Examples)}
    PARAMETERS = {
        "dataset": component_spec.ExecutionParameter(type=str),
        "log": component_spec.ExecutionParameter(type=str),
        "date": component_spec.ExecutionParameter(type=str),
        "days": component_spec.ExecutionParameter(type=str),
    }


class SessionExampleGen(tfx.types.BaseBeamComponent):
    """Beam sessions of an impression log, split by time.

    Outputs `examples`: splits `train`, `validation` and `eval` of session tf.Examples, gzipped TFRecords. The folder of
    the artifact also holds what the Beam job says about the log: `rejected/`, `schema.pbtxt` and `summary.json`.
    """

    SPEC_CLASS = SessionExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, dataset: str, window: Window | None = None) -> None:
        """Makes the component.

        Args:
          dataset: `DatasetConfig` as JSON; its log becomes a property of its own, which a run may set.
          window: of a daily run; its date becomes a property of its own, too.
        """
        settings = json.loads(dataset)
        properties = {"log": settings.pop("log"), "dataset": json.dumps(settings, sort_keys=True)}
        properties |= {"date": window.date, "days": window.days} if window else {"date": "", "days": ""}
        examples = types.Channel(type=tfx.types.standard_artifacts.Examples)
        super().__init__(SessionExampleGenSpec(examples=examples, **properties))


def _check_splits(requests: Mapping[str, int], log: str, date: str) -> None:
    """Raises `LogError` for a split without sessions, on which StatisticsGen would only say that it finds no files."""
    for split in SPLITS:
        if not requests[split]:
            if date and split == "eval":
                raise LogError(
                    f"{log}: no rows of {date}, the newest day; look at what writes the log, or run another day"
                )
            raise LogError(f"{log}: split {split!r} holds no sessions; give a log of more rows or days")


@contextlib.contextmanager
def _folder_beside(uri: str) -> Iterator[str]:
    """A local folder for the Beam job, on the artifact's own disk where the artifact is local."""
    with tempfile.TemporaryDirectory(dir=uri if _is_local(uri) else None, prefix=".") as scratch:
        yield os.path.join(scratch, "sessions")


def _move(source: str, target: str) -> None:
    if fileio.exists(target):  # left by an attempt that failed; a retry is given the same place
        fileio.rmtree(target) if fileio.isdir(target) else fileio.remove(target)
    if _is_local(target):
        os.rename(source, target)
    elif os.path.isdir(source):
        io_utils.copy_dir(source, target)
    else:
        io_utils.copy_file(source, target)


def _is_local(uri: str) -> bool:
    return "://" not in uri
