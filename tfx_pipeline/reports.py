"""What a gate that let a run through has to say: an artifact with one JSON file, for the model card."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tfx import v1 as tfx
from tfx.dsl.io import fileio

from hrlrec_tf.errors import HrlrecError

FILE = "report.json"


class GateError(HrlrecError):
    """A gate stopped the pipeline; the message says why."""


class GateReport(tfx.dsl.Artifact):
    """A gate's figures and findings."""

    TYPE_NAME = "tfx_pipeline.GateReport"  # Kubeflow imports the class by it


def write(uri: str, findings: Sequence[str], figures: Mapping[str, Any]) -> None:
    """Writes a report.

    Args:
      uri: of a `GateReport`.
      findings: sentences for a reader.
      figures: plain values, for programs.
    """
    with fileio.open(f"{uri}/{FILE}", "w") as file:
        file.write(json.dumps({"findings": list(findings), "figures": dict(figures)}, indent=2, sort_keys=True))


def read(uri: str) -> dict[str, Any]:
    """`findings` and `figures` of a report."""
    with fileio.open(f"{uri}/{FILE}") as file:
        return json.loads(file.read())


def stop(faults: Sequence[str], what: str) -> None:
    """Raises `GateError` with all faults, if there are any; `what` says what did not happen because of them."""
    if faults:
        raise GateError(f"{what}: {'; '.join(faults)}")
