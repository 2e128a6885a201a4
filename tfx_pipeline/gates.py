"""Components that stop the run, each with its reason: TFX's own validators only record what they find."""

import tempfile
from collections.abc import Iterable

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import v1 as tfx
from tfx.components.example_validator.executor import DEFAULT_FILE_NAME as ANOMALIES_FILE
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from hrlrec_tf.data.schema import from_schema
from tfx_pipeline import impression_scorer, serving_check
from tfx_pipeline.reports import GateError

_SHOWN = 5  # anomalies named in a message


@tfx.dsl.components.component
def AnomalyGate(
    statistics: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ExampleStatistics],
    anomalies: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ExampleAnomalies],
    schema_file: tfx.dsl.components.Parameter[str],
) -> None:
    """Stops the run when any split is empty or does not fit the schema.

    Args:
      statistics: of the sessions; an empty split counts as sound to the ExampleValidator.
      anomalies: the ExampleValidator's findings.
      schema_file: the curated schema, for the message.

    Raises:
      GateError: there is an anomaly; the message names split, feature and anomaly.
    """
    for split in artifact_utils.decode_split_names(statistics.split_names):
        datasets = stats_artifact_utils.load_statistics(statistics, split).proto().datasets
        if not sum(dataset.num_examples for dataset in datasets):
            raise GateError(f"split {split!r} holds no sessions. Nothing was trained. Give a log of more rows or days")
    found: list[str] = []
    for split in artifact_utils.decode_split_names(anomalies.split_names):
        path = f"{artifact_utils.get_split_uri([anomalies], split)}/{ANOMALIES_FILE}"
        with fileio.open(path, "rb") as file:
            found += describe(split, anomalies_pb2.Anomalies.FromString(file.read()))
    if found:
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise GateError(
            f"the sessions do not fit the schema: {'; '.join(found[:_SHOWN])}{more}. Nothing was trained. Mend the "
            f"log, or edit {schema_file} if it is the schema that is wrong"
        )


def describe(split: str, anomalies: anomalies_pb2.Anomalies) -> Iterable[str]:
    """One sentence per anomaly of a split, sorted by feature."""
    for name, anomaly in sorted(anomalies.anomaly_info.items()):
        for reason in anomaly.reason:
            yield f"split {split!r}, feature {name!r}: {reason.short_description}: {reason.description.rstrip('. ')}"
    for reason in anomalies.dataset_anomaly_info.reason:
        yield f"split {split!r}: {reason.short_description}: {reason.description.rstrip('. ')}"


@tfx.dsl.components.component
def ServingCheck(
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    model_run: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelRun],
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    schema: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Schema],
    infra_blessing: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.InfraBlessing],
    latency_seconds: tfx.dsl.components.Parameter[float],
    quotas: tfx.dsl.components.Parameter[str],
) -> None:
    """Loads and warms up the export, ranks one request made of evaluation sessions, and stops the run if the answer is
    no feed or not what the trained network answers.

    Args:
      model: the export. model_run: the model folder that it was made of.
      examples: sessions; the request is made of their split `eval`.
      schema: the sessions' schema.
      infra_blessing: receives the blessing that the Pusher asks for.
      latency_seconds: longest accepted time of a ranking call after the first.
      quotas: that the export carries; see `Daily.quotas`.

    Raises:
      GateError: the export does not load, refuses the request or answers it wrongly.
    """
    with tempfile.TemporaryDirectory() as scratch:  # a model is loaded from a local folder; the artifacts may be remote
        for name, uri in (("export", path_utils.serving_model_path(model.uri)), ("model", model_run.uri)):
            io_utils.copy_dir(uri, f"{scratch}/{name}")
        try:
            report = serving_check.check(
                f"{scratch}/export",
                serving_check.offline(f"{scratch}/model", quotas),
                io_utils.all_files_pattern(artifact_utils.get_split_uri([examples], impression_scorer.SPLIT)),
                from_schema(io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(schema.uri))),
                latency_seconds,
            )
        except serving_check.ServingError as error:
            raise GateError(f"the exported model was not pushed: {error}") from error
    with fileio.open(f"{infra_blessing.uri}/INFRA_BLESSED", "w") as file:
        file.write(report)
    infra_blessing.set_int_custom_property("blessed", 1)
