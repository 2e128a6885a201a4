"""DataGate: stops a daily run whose newest day differs from the days before it as only a fault makes it differ."""

import json
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx import v1 as tfx
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.types import artifact_utils
from tfx.utils import io_utils

from hrlrec_tf import features
from hrlrec_tf.data import parsing
from hrlrec_tf.data.days import between
from hrlrec_tf.data.input import SessionReader
from hrlrec_tf.data.prepare import read_summary
from tfx_pipeline import data_faults, reports
from tfx_pipeline.data_faults import DataLimits
from tfx_pipeline.window import Window

KNOWN = ("item_id", "channel", "tags")
_BATCH = 1024
_SPLITS = ("validation", "eval")


@tfx.dsl.components.component
def DataGate(
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    statistics: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ExampleStatistics],
    schema: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Schema],
    transform_graph: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.TransformGraph],
    report: tfx.dsl.components.OutputArtifact[reports.GateReport],
    date: tfx.dsl.components.Parameter[str],
    days: tfx.dsl.components.Parameter[str],
    limits: tfx.dsl.components.Parameter[str],
) -> None:
    """Stops the run when the newest day cannot be believed.

    Args:
      examples: sessions of a window, with the Beam job's summary.
      statistics: of the sessions.
      schema: of the sessions.
      transform_graph: with the vocabularies of the training days.
      report: receives what was handled, and the figures.
      date, days: the window; see `Window.of`.
      limits: `DataLimits` as JSON.

    Raises:
      GateError: there is a fault; the message names all.
    """
    looked_at = Window.of(date, days)
    window, accepted = looked_at.dates, parsing.build(DataLimits, json.loads(limits), "")
    summary = read_summary(examples.uri)
    faults = data_faults.faults(summary, window, accepted)
    not_trained = f"the log of {window[-1]} is not to be believed; nothing was trained"
    reports.stop(faults, not_trained)
    declared = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(schema.uri))
    reader = SessionReader(declared, transform_graph.uri)
    shares = known_shares(reader, {split: _files(examples, split) for split in _SPLITS})
    faults = data_faults.unknown(shares, accepted)
    train, newest = (stats_artifact_utils.load_statistics(statistics, split).proto() for split in ("train", "eval"))
    faults += drifts(declared, train, newest, accepted)
    reports.stop(faults, not_trained)
    counted = between(summary["days"], looked_at.oldest, looked_at.newest)
    reports.write(report.uri, data_faults.notes(summary, window), {"days": counted, "known_shares": shares})


def known_shares(reader: SessionReader, files: Mapping[str, Sequence[str]]) -> dict[str, tuple[float, float]]:
    """Share of values that the training days had, in each of the splits `validation` and `eval`, by column of KNOWN.

    Args:
      reader: of the sessions, with the vocabularies of the training days.
      files: gzipped session files of the two splits.
    """
    words = {column: set(reader.vocabulary(column)) for column in KNOWN}
    shares = {}
    for split in _SPLITS:
        known, rows = dict.fromkeys(KNOWN, 0), dict.fromkeys(KNOWN, 0)
        for values in _values(reader, files[split]):
            for column, series in values.items():
                known[column] += int(series.isin(words[column]).sum())
                rows[column] += len(series)
        shares[split] = {column: known[column] / max(rows[column], 1) for column in KNOWN if rows[column]}
    return {column: (shares["validation"].get(column, 0.0), share) for column, share in shares["eval"].items()}


def _values(reader: SessionReader, files: Sequence[str]) -> Iterator[dict[str, pd.Series]]:
    """The displayed values of KNOWN, batch by batch."""
    for examples in tf.data.TFRecordDataset(list(files), compression_type="GZIP").batch(_BATCH):
        raw = reader.parse(examples)
        texts = {column: _strings(raw[column]) for column in KNOWN}
        yield {column: pd.Series(flat[flat != b""]).str.decode("utf-8") for column, flat in texts.items()}


def _strings(values: tf.Tensor | tf.SparseTensor) -> pd.Series:
    dense = values.values if isinstance(values, tf.SparseTensor) else tf.reshape(values, [-1])
    return pd.Series(dense.numpy())


def drifts(
    schema: schema_pb2.Schema,
    train: statistics_pb2.DatasetFeatureStatisticsList,
    newest: statistics_pb2.DatasetFeatureStatisticsList,
    limits: DataLimits,
) -> list[str]:
    """Optional columns of users and contexts whose distribution has moved, by TFDV's own comparators.

    Ids and items change from day to day and are judged by their share of known values instead.
    """
    compared = schema_pb2.Schema()
    compared.CopyFrom(schema)
    optional = features.optional_columns([feature.name for feature in schema.feature])
    optional = [name for name in optional if not name.startswith(features.ITEM_PREFIX)]
    for feature in compared.feature:
        if feature.name in optional and feature.type == schema_pb2.BYTES:
            feature.drift_comparator.infinity_norm.threshold = limits.drift
        elif feature.name in optional:
            feature.drift_comparator.jensen_shannon_divergence.threshold = limits.drift
    found: anomalies_pb2.Anomalies = tfdv.validate_statistics(newest, compared, previous_statistics=train)
    return [
        f"{name}: {reason.description.rstrip('. ')}"
        for name, anomaly in sorted(found.anomaly_info.items())
        for reason in anomaly.reason
        if "COMPARATOR" in anomalies_pb2.AnomalyInfo.Type.Name(reason.type)
    ]


def _files(examples: tfx.types.standard_artifacts.Examples, split: str) -> list[str]:
    return sorted(tf.io.gfile.glob(io_utils.all_files_pattern(artifact_utils.get_split_uri([examples], split))))
