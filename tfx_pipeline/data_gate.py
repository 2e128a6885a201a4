"""DataGate: stops a daily run a day of which differs from the others as only a fault makes it differ."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx import v1 as tfx
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.types import artifact_utils
from tfx.utils import io_utils

from hrlrec_tf import features
from hrlrec_tf.data import days as log_days
from hrlrec_tf.data import parsing
from hrlrec_tf.data.examples import SPLITS
from hrlrec_tf.data.input import SessionReader
from hrlrec_tf.data.prepare import read_summary
from hrlrec_tf.data.rules import Day
from tfx_pipeline import blessed, data_faults, reports
from tfx_pipeline.data_faults import DataLimits
from tfx_pipeline.window import Window

KNOWN = ("item_id", "channel", "tags")
_BATCH = 1024
_COMPARED = ("validation", "eval")
_STOPPED = "the log is not to be believed; nothing was trained"


@tfx.dsl.components.component
def DataGate(
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    statistics: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ExampleStatistics],
    schema: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Schema],
    transform_graph: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.TransformGraph],
    report: tfx.dsl.components.OutputArtifact[reports.GateReport],
    date: tfx.dsl.components.Parameter[str],
    days: tfx.dsl.components.Parameter[str],
    day: tfx.dsl.components.Parameter[str],
    registry: tfx.dsl.components.Parameter[str],
    limits: tfx.dsl.components.Parameter[str],
) -> None:
    """Stops the run when a day of its window cannot be believed.

    Days that a blessed run looked at already are believed as training days: what was accepted then, if need be by
    limits of that run's own, stops no later run.

    Args:
      examples: sessions of a window, with the Beam job's summary.
      statistics: of the sessions.
      schema: of the sessions.
      transform_graph: with the vocabularies of the training days.
      report: receives what was handled, and the figures.
      date, days: the window; see `Window.of`.
      day: where a day begins, `hrlrec_tf.data.rules.Day` as JSON.
      registry: folder or URI of the blessed models.
      limits: `DataLimits` as JSON.

    Raises:
      GateError: there is a fault; the message names all.
    """
    window, accepted = Window.of(date, days), parsing.build(DataLimits, json.loads(limits), "")
    summary, dates, believed = read_summary(examples.uri), window.dates, blessed.believed(registry, date)
    reports.stop(data_faults.faults(summary, dates, accepted, believed), _STOPPED)
    declared = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(schema.uri))
    reader = SessionReader(declared, transform_graph.uri)
    files = {split: _files(examples, split) for split in SPLITS}
    shares = known_shares(reader, files)
    faults = data_faults.unknown(shares, accepted)
    if len(dates) > 2 and len(data_faults.to_judge(dates, believed)) > 1:  # of two days neither is the odd one
        begins = parsing.build(Day, json.loads(day), "")
        recurring = recurring_shares(reader, [name for split in SPLITS for name in files[split]], begins)
        faults += data_faults.solitary(recurring, dates, accepted, believed)
    train, newest = (stats_artifact_utils.load_statistics(statistics, split).proto() for split in ("train", "eval"))
    faults += drifts(declared, train, newest, accepted)
    reports.stop(faults, _STOPPED)
    counted = log_days.between(summary["days"], window.oldest, window.newest)
    notes = data_faults.notes(summary, dates, window.without)
    reports.write(report.uri, notes, {"days": counted, "known_shares": shares})


def known_shares(reader: SessionReader, files: Mapping[str, Sequence[str]]) -> dict[str, tuple[float, float]]:
    """Share of values that the training days had, in each of the splits `validation` and `eval`, by column of KNOWN.

    Args:
      reader: of the sessions, with the vocabularies of the training days.
      files: gzipped session files of the two splits.
    """
    words = {column: set(reader.vocabulary(column)) for column in KNOWN}
    shares = {}
    for split in _COMPARED:
        known, rows = dict.fromkeys(KNOWN, 0), dict.fromkeys(KNOWN, 0)
        for values in _values(reader, files[split]):
            for column, series in values.items():
                known[column] += int(series.isin(words[column]).sum())
                rows[column] += len(series)
        shares[split] = {column: known[column] / max(rows[column], 1) for column in KNOWN if rows[column]}
    return {column: (shares["validation"].get(column, 0.0), share) for column, share in shares["eval"].items()}


def recurring_shares(reader: SessionReader, files: Sequence[str], day: Day) -> dict[str, dict[str, float]]:
    """Share of each day's values that other days have, too: column of KNOWN -> ISO date -> share.

    Args:
      reader: of the sessions.
      files: gzipped session files of all splits.
      day: where a day begins.
    """
    counts: dict[str, dict[int, Counter[str]]] = {column: {} for column in KNOWN}
    for values in _values(reader, files):
        for column, series in values.items():
            for number, part in series.groupby(log_days.dates(series.index.to_numpy(), day)):
                counts[column].setdefault(number, Counter()).update(part.value_counts().to_dict())
    return {column: _recurring(by_day) for column, by_day in counts.items()}


def _recurring(counts: Mapping[int, Counter[str]]) -> dict[str, float]:
    on_days = Counter(value for of_day in counts.values() for value in of_day)
    return {
        str(np.datetime64(number, "D")): sum(rows for value, rows in of_day.items() if on_days[value] > 1)
        / of_day.total()
        for number, of_day in counts.items()
    }


def _values(reader: SessionReader, files: Sequence[str]) -> Iterator[dict[str, pd.Series]]:
    """The displayed values of KNOWN by the time of their session (ms UTC), batch by batch."""
    for examples in tf.data.TFRecordDataset(list(files), compression_type="GZIP").batch(_BATCH):
        raw = reader.parse(examples, (*KNOWN, "timestamp"))
        times = tf.reshape(raw["timestamp"], [-1]).numpy()
        texts = {column: _strings(raw[column], times) for column in KNOWN}
        yield {column: flat[flat != b""].str.decode("utf-8") for column, flat in texts.items()}


def _strings(values: tf.Tensor | tf.SparseTensor, times: npt.NDArray[np.int64]) -> pd.Series:
    sparse = values if isinstance(values, tf.SparseTensor) else tf.sparse.from_dense(values)
    return pd.Series(sparse.values.numpy(), times[sparse.indices.numpy()[:, 0]])


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
