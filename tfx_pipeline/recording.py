"""RecordBlessed: what was pushed becomes the model that the next run goes on from, with its card."""

import json

from tfx import v1 as tfx
from tfx.dsl.io import fileio
from tfx.utils import path_utils

from tfx_pipeline import blessed, card, evaluator, reports
from tfx_pipeline.window import Window


@tfx.dsl.components.component
def RecordBlessed(
    pushed: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.PushedModel],
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    model_run: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelRun],
    base: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    evaluation: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelEvaluation],
    data_report: tfx.dsl.components.InputArtifact[reports.GateReport],
    quality_report: tfx.dsl.components.InputArtifact[reports.GateReport],
    stability_report: tfx.dsl.components.InputArtifact[reports.GateReport],
    registry: tfx.dsl.components.Parameter[str],
    serving: tfx.dsl.components.Parameter[str],
    date: tfx.dsl.components.Parameter[str],
    days: tfx.dsl.components.Parameter[str],
    log: tfx.dsl.components.Parameter[str],
    lineage: tfx.dsl.components.Parameter[str],
    keep: tfx.dsl.components.Parameter[int],
) -> None:
    """Records the pushed version and removes versions that are too old; does nothing where nothing was pushed.

    Run twice, it records once: the version is its name.

    Args:
      pushed: of the Pusher.
      model: the export. model_run: the model folder. base: of `LastBlessed`. evaluation: of the Evaluator.
      data_report, quality_report, stability_report: of the gates.
      registry: folder or URI of the records. serving: of the pushed versions, if old ones are to go; "" keeps all.
      date, days: the window; see `Window.of`.
      log: place of the impression log.
      lineage: JSON object: `dataset` and `digests`, as they were when the pipeline was made.
      keep: how many versions stay.
    """
    if not pushed.get_int_custom_property("pushed"):
        return
    version = int(pushed.get_string_custom_property("pushed_version"))
    window = Window.of(date, days)
    settings, training = (_json(f"{model_run.uri}/{name}") for name in ("config.json", "result.json"))
    written = card.build(
        version=version,
        window={"date": date, **json.loads(days), "dates": window.dates},
        gates={
            "data": reports.read(data_report.uri),
            "quality": reports.read(quality_report.uri),
            "stability": reports.read(stability_report.uri),
        },
        metrics=evaluator.read_metrics(evaluation.uri),
        training=training,
        config=settings["config"],
        lineage={
            **_made_of(lineage, log),
            "base_version": base.get_int_custom_property("version") or None,
            "model": model.uri,
        },
    )
    blessed.record(
        registry,
        version,
        {
            blessed.MODEL: model_run.uri,
            blessed.EXPORT: path_utils.serving_model_path(model.uri),
            blessed.PANEL: f"{stability_report.uri}/{blessed.PANEL}",
        },
        {blessed.CARD: json.dumps(written, indent=2, sort_keys=True), blessed.CARD_TEXT: card.markdown(written)},
    )
    blessed.retain(registry, keep, serving or None)


def _made_of(lineage: str, log: str) -> dict:
    """`lineage` with the log that the run was told, whose digest nobody took when it is another one."""
    made = json.loads(lineage)
    if log != made["dataset"]["log"]:
        made["dataset"]["log"] = log
        del made["digests"]["log"]
    return made


def _json(path: str) -> dict:
    with fileio.open(path) as file:
        return json.loads(file.read())
