"""ImpressionScorer: sessions in, one scored Example per impression out.

TFMA reads a session's `[list_length]` outputs as one multi-valued prediction and then slices them silently wrong, so
the Evaluator is given scalars: one tf.Example per displayed row with its label, prediction and slice keys.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import tensorflow as tf
from apache_beam.utils.shared import Shared
from tfx import v1 as tfx
from tfx.components.util import examples_utils
from tfx.dsl.component.experimental.annotations import BeamComponentParameter
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from hrlrec_tf.evaluation.metrics import position_group
from tfx_pipeline import blessed

SPLIT = "eval"
SIGNATURE = "score_examples"
PREDICTION, BASE, BASELINE = "prediction", "prediction_base", "prediction_lr"  # of the model, the last blessed, LR
_BATCH = 256  # sessions per model call
_READ_AT_ONCE = 65_536  # impressions


@tfx.dsl.components.component(use_beam=True)
def ImpressionScorer(
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    impressions: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.Examples],
    base: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model] = None,
    baseline: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model] = None,
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Scores the evaluation sessions with the exported model.

    Args:
      examples: sessions; their split `eval` is read.
      model: the export; its signature `score_examples` is called.
      impressions: receives split `eval`: Examples with `label`, `weight`, `prediction`, `channel`, `position`,
        `position_group` and `user_id`, one per impression of that split; with the models below also `prediction_base`
        and `prediction_lr`.
      base: of `LastBlessed`. baseline: logistic regression.
      beam_pipeline: given by TFX.
    """
    impressions.split_names = artifact_utils.encode_split_names([SPLIT])
    impressions.span = 0
    examples_utils.set_payload_format(impressions, example_gen_pb2.FORMAT_TF_EXAMPLE)
    sessions = io_utils.all_files_pattern(artifact_utils.get_split_uri([examples], SPLIT))
    prefix = artifact_utils.get_split_uri([impressions], SPLIT) + "/impressions"
    models = {PREDICTION: model}
    if base is not None and blessed.has_model(base.uri):
        models[BASE] = base
    if baseline is not None:
        models[BASELINE] = baseline
    exports = {name: path_utils.serving_model_path(each.uri) for name, each in models.items()}
    with beam_pipeline as pipeline:
        (
            pipeline
            | "ReadSessions" >> beam.io.ReadFromTFRecord(sessions)
            | "Batch" >> beam.BatchElements(min_batch_size=1, max_batch_size=_BATCH)
            | "Score" >> beam.ParDo(ScoreSessions(exports))
            | "WriteImpressions" >> beam.io.WriteToTFRecord(prefix, file_name_suffix=".gz")
        )
    # Beam keeps the object shared last alive, and a model that lives until the interpreter ends fills stderr then.
    Shared().acquire(_Nothing)


class _Nothing:
    """Takes the model's place among Beam's shared objects."""


class ScoreSessions(beam.DoFn):
    """Batches of serialized sessions to serialized impressions, by the models' `score_examples` signatures.

    Args:
      exports: name of a prediction -> SavedModel folder.
    """

    def __init__(self, exports: Mapping[str, str]) -> None:
        self._exports = dict(exports)
        self._shared = Shared()
        self._models: Any = None

    def setup(self) -> None:
        """Loads the models, once per process."""
        self._models = self._shared.acquire(lambda: _Models(self._exports))

    def process(self, sessions: list[bytes]) -> Iterator[bytes]:
        """Yields the impressions of a batch of sessions."""
        scored = self._models.score(tf.constant(sessions))
        for row, session in enumerate(sessions):
            predictions = {name: values[row] for name, values in scored.items()}
            yield from scored_impressions(tf.train.Example.FromString(session), predictions)


class _Models:
    """Exports by the name of what they predict; a plain dict could not be shared, since it takes no weak reference."""

    def __init__(self, exports: Mapping[str, str]) -> None:
        self._models = {name: tf.saved_model.load(folder) for name, folder in exports.items()}

    def score(self, sessions: tf.Tensor) -> dict[str, np.ndarray]:
        """Click probabilities [B, T] by each model."""
        return {
            name: model.signatures[SIGNATURE](examples=sessions)["click_probability"].numpy()
            for name, model in self._models.items()
        }


def scored_impressions(
    session: tf.train.Example, predictions: Mapping[str, Sequence[float] | np.ndarray]
) -> Iterator[bytes]:
    """Serialized Examples of a session's impressions, those that count in its split.

    Args:
      session: one session, list rows of length T.
      predictions: name -> click probabilities, [T].
    """
    feature = session.features.feature
    weights = feature["weight"].float_list.value
    clicks = feature["clicks"].int64_list.value
    channels = feature["channel"].bytes_list.value
    positions = feature["position"].int64_list.value
    for row, weight in enumerate(weights):
        if weight != 1:
            continue
        impression = {
            "label": tf.train.Feature(float_list=tf.train.FloatList(value=[float(clicks[row] > 0)])),
            "weight": tf.train.Feature(float_list=tf.train.FloatList(value=[weight])),
            **{
                name: tf.train.Feature(float_list=tf.train.FloatList(value=[values[row]]))
                for name, values in predictions.items()
            },
            "channel": tf.train.Feature(bytes_list=tf.train.BytesList(value=[channels[row]])),
            "position": tf.train.Feature(int64_list=tf.train.Int64List(value=[positions[row]])),
            "position_group": tf.train.Feature(
                bytes_list=tf.train.BytesList(value=[position_group(positions[row]).encode()])
            ),
            "user_id": feature["user_id"],
        }
        yield tf.train.Example(features=tf.train.Features(feature=impression)).SerializeToString()


def read_impressions(folder: str) -> pd.DataFrame:
    """Scored impressions of one split: `label`, `channel`, `position`, `user_id` and the predictions that it has."""
    files = sorted(tf.io.gfile.glob(f"{folder}/*.gz"))
    parser: dict[str, Any] = {
        **{name: tf.io.FixedLenFeature([], tf.float32, math.nan) for name in ("label", PREDICTION, BASE, BASELINE)},
        **{name: tf.io.FixedLenFeature([], tf.string) for name in ("channel", "user_id")},
        "position": tf.io.FixedLenFeature([], tf.int64),
    }
    batches = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_READ_AT_ONCE)
    parts = (tf.io.parse_example(batch, parser) for batch in batches)
    rows = pd.concat(
        [pd.DataFrame({name: values.numpy() for name, values in part.items()}) for part in parts], ignore_index=True
    ).dropna(axis=1, how="all")
    texts = {name: rows[name].str.decode("utf-8") for name in ("channel", "user_id")}
    return rows.assign(label=rows["label"].astype(int), **texts)
