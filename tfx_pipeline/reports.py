"""What gates have to say: an artifact with one JSON file, for the model card; and the card itself."""

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


class ModelCard(tfx.dsl.Artifact):
    """The card of a model that may be pushed; see `card`."""

    TYPE_NAME = "tfx_pipeline.ModelCard"


def write(uri: str, findings: Sequence[str], figures: Mapping[str, Any], faults: Sequence[str] = ()) -> None:
    """Writes a report.

    Args:
      uri: of a `GateReport`.
      findings: sentences for a reader.
      figures: plain values, for programs.
      faults: sentences that forbid the push; the `ReleaseGate` stops the run for them.
    """
    report = {"faults": list(faults), "findings": list(findings), "figures": dict(figures)}
    with fileio.open(f"{uri}/{FILE}", "w") as file:
        file.write(json.dumps(report, indent=2, sort_keys=True))


def read(uri: str) -> dict[str, Any]:
    """`faults`, `findings` and `figures` of a report."""
    with fileio.open(f"{uri}/{FILE}") as file:
        return json.loads(file.read())


def stop(faults: Sequence[str], what: str) -> None:
    """Raises `GateError` with all faults, if there are any; `what` says what did not happen because of them."""
    if faults:
        raise GateError(f"{what}: {'; '.join(faults)}")
