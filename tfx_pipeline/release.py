"""What becomes of a trained model: its card, whether it may be pushed, and what the next run goes on from."""

import json
import os
from typing import Any

from tfx import v1 as tfx
from tfx.dsl.io import fileio
from tfx.utils import path_utils

from tfx_pipeline import blessed, card, evaluator, reports
from tfx_pipeline.window import Window


@tfx.dsl.components.component
def ReleaseGate(
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    model_run: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelRun],
    base: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    evaluation: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelEvaluation],
    data_report: tfx.dsl.components.InputArtifact[reports.GateReport],
    quality_report: tfx.dsl.components.InputArtifact[reports.GateReport],
    stability_report: tfx.dsl.components.InputArtifact[reports.GateReport],
    model_card: tfx.dsl.components.OutputArtifact[reports.ModelCard],
    registry: tfx.dsl.components.Parameter[str],
    date: tfx.dsl.components.Parameter[str],
    days: tfx.dsl.components.Parameter[str],
    log: tfx.dsl.components.Parameter[str],
    lineage: tfx.dsl.components.Parameter[str],
    keep: tfx.dsl.components.Parameter[int],
) -> None:
    """Writes the model's card; stops the run before the push where the Evaluator or a gate found fault with the model.

    The card of a refused model goes to the registry, as `refused/DATE`: what a component that fails puts out is lost.

    Args:
      model: the export. model_run: the model folder. base: of `LastBlessed`. evaluation: of the Evaluator.
      data_report, quality_report, stability_report: of the gates.
      model_card: receives the card.
      registry: folder or URI of the records.
      date, days: the window; see `Window.of`.
      log: place of the impression log.
      lineage: JSON object: `dataset` and `digests`, as they were when the pipeline was made.
      keep: how many cards of refused models stay.

    Raises:
      GateError: there is a fault; the message names all, and the card.
    """
    window = Window.of(date, days)
    settings, training = (_json(f"{model_run.uri}/{name}") for name in ("config.json", "result.json"))
    gates = {
        "data": reports.read(data_report.uri),
        "quality": reports.read(quality_report.uri),
        "stability": reports.read(stability_report.uri),
    }
    faults = evaluator.read_failures(evaluation.uri)
    faults += [fault for report in gates.values() for fault in report["faults"]]
    written = card.build(
        faults=faults,
        window={"date": date, **json.loads(days), "dates": window.dates},
        gates=gates,
        metrics=evaluator.read_metrics(evaluation.uri),
        training=training,
        config=settings["config"],
        lineage={
            **_made_of(lineage, log),
            "base_version": base.get_int_custom_property("version") or None,
            "model": model.uri,
        },
    )
    if faults:
        place = blessed.refuse(registry, date, card.files(written), keep)
        reports.stop(faults, f"the model was not pushed (its card: {place}/{blessed.CARD_TEXT})")
    for name, text in card.files(written).items():
        with fileio.open(f"{model_card.uri}/{name}", "w") as file:
            file.write(text)


@tfx.dsl.components.component
def RecordBlessed(
    pushed: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.PushedModel],
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    model_run: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelRun],
    model_card: tfx.dsl.components.InputArtifact[reports.ModelCard],
    stability_report: tfx.dsl.components.InputArtifact[reports.GateReport],
    registry: tfx.dsl.components.Parameter[str],
    serving: tfx.dsl.components.Parameter[str],
    keep: tfx.dsl.components.Parameter[int],
) -> None:
    """Records the pushed version, from which the next run goes on, and removes versions that are too old.

    Run twice, it records once: the version is its name.

    Args:
      pushed: of the Pusher.
      model: the export. model_run: the model folder. model_card: of the `ReleaseGate`.
      stability_report: with the fixed panel.
      registry: folder or URI of the records. serving: of the pushed versions, if old ones are to go; "" keeps all.
      keep: how many versions stay.

    Raises:
      GateError: the version was withdrawn since it was pushed.
    """
    place = pushed.get_string_custom_property("pushed_destination")
    blessed.check_not_withdrawn(place)
    written = _json(f"{model_card.uri}/{blessed.CARD}")
    written["version"] = int(os.path.basename(place))
    blessed.record(
        registry,
        written["version"],
        {
            blessed.MODEL: model_run.uri,
            blessed.EXPORT: path_utils.serving_model_path(model.uri),
            blessed.PANEL: f"{stability_report.uri}/{blessed.PANEL}",
        },
        card.files(written),
    )
    blessed.accept(registry, written["window"]["date"])
    blessed.retain(registry, keep, serving or None)


def _made_of(lineage: str, log: str) -> dict:
    """`lineage` with the log that the run was told, whose digest nobody took when it is another one."""
    made = json.loads(lineage)
    if log != made["dataset"]["log"]:
        made["dataset"]["log"] = log
        del made["digests"]["log"]
    return made


def _json(path: str) -> Any:
    with fileio.open(path) as file:
        return json.loads(file.read())
