"""Vocabularies and scaling: the one transform graph of training and serving.

`preprocessing_fn` maps values and keeps structure. Strings become ids: 0 for "", 1..V for known values in order of
frequency, V + 1 for any other, unless a `features.IdRule` says otherwise. Numeric optional columns become z-scores.
Everything else passes through. List, history, candidates and profile share one vocabulary per kind of thing, and
padding rows are left out of every statistic.
"""

import dataclasses
import functools
import pathlib
import tempfile
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.public import tfxio

from hrlrec_tf import features
from hrlrec_tf.data.schema import from_schema
from hrlrec_tf.data.sessions import pipeline_options
from hrlrec_tf.features import FeatureSpec, IdRule, Kind

Tensor: TypeAlias = tf.Tensor | tf.SparseTensor

ITEM_IMPRESSIONS = "item_impressions"  # file of the known items with their numbers of impressions

_LARGEST_SCORE = 10.0  # an absurd number in a request must not drown everything else

_KINDS = {tf.string: Kind.STRING, tf.int64: Kind.INT, tf.float32: Kind.FLOAT}


def preprocessing_fn(inputs: dict[str, Tensor], custom_config: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
    """TensorFlow Transform's entry point: session features in, ids and scaled numbers out, same names and structure.

    Args:
      inputs: the features of sessions.
      custom_config: `ids`: `FeatureSpec.ids` as plain values.
    """
    rules = features.id_rules((custom_config or {}).get("ids", {}))
    spec = FeatureSpec.of_names({name: _KINDS[value.dtype] for name, value in inputs.items()}, ids=rules)
    outputs = {name: value for name, value in inputs.items() if value.dtype != tf.string}
    for vocabulary, names in vocabularies(spec).items():
        rule = spec.id_rule(vocabulary)
        file = _vocabulary(vocabulary, inputs[vocabulary], rule) if rule.kind == "vocabulary" else None
        for name in names:
            outputs[name] = _map_values(inputs[name], functools.partial(_look_up, file, rule))
    for name, kind in spec.optional.items():
        if kind is Kind.FLOAT:
            outputs |= _standardise(inputs, name)
    return outputs


def item_impressions(transform: tft.TFTransformOutput) -> npt.NDArray[np.int64]:
    """How often the training lists showed each known item, in the order of the ids from 1: from often to rarely."""
    lines = transform.vocabulary_by_name(ITEM_IMPRESSIONS)
    return np.array([int(line.split(b" ", 1)[0]) for line in lines], np.int64)


def vocabularies(spec: FeatureSpec) -> dict[str, list[str]]:
    """Vocabulary name -> features that are looked up in it; the first analysed, in the list, under that very name."""
    names = {
        "user_id": ["user_id"],
        "item_id": ["item_id", "history_item_id"],
        "channel": ["channel", "history_channel", "profile_channel"],
        "tags": ["tags", "history_tags", "profile_tag"],
    }
    for name, kind in spec.optional.items():
        if kind is Kind.STRING:
            names[name] = [name, features.HISTORY + name] if name in spec.item else [name]
    return names


def vocabulary_sizes(transform: tft.TFTransformOutput, spec: FeatureSpec) -> dict[str, int]:
    """Vocabulary name -> number of ids, padding and out-of-vocabulary included."""
    rules = {name: spec.id_rule(name) for name in vocabularies(spec)}
    return {
        name: rule.size(transform.vocabulary_size_by_name(name) if rule.kind == "vocabulary" else 0)
        for name, rule in rules.items()
    }


def custom_config(ids: Mapping[str, IdRule]) -> dict[str, Any]:
    """What `preprocessing_fn` takes beside the sessions, ready for JSON."""
    return {"ids": {name: dataclasses.asdict(rule) for name, rule in ids.items()}}


def fit(session_files: str, schema: schema_pb2.Schema, out: str, beam_args: list[str] | None = None) -> None:
    """Analyses sessions and writes the transform output (graph and vocabularies) to `out`.

    Args:
      session_files: file pattern of the training sessions.
      schema: the sessions' schema.
      out: folder to make; appears only when it is complete.
      beam_args: Beam pipeline arguments.
    """
    target = pathlib.Path(out)
    target.parent.mkdir(parents=True, exist_ok=True)
    analysed = functools.partial(preprocessing_fn, custom_config=custom_config(from_schema(schema).ids))
    source = tfxio.TFExampleRecord(
        file_pattern=session_files, telemetry_descriptors=["hrlrec", "transform"], schema=schema
    )
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
        written = pathlib.Path(scratch) / "transform"
        with beam.Pipeline(options=pipeline_options(beam_args or [])) as pipeline, tft_beam.Context(temp_dir=scratch):
            sessions = pipeline | "ReadSessions" >> source.BeamSource()
            transform = (sessions, source.TensorAdapterConfig()) | tft_beam.AnalyzeDataset(analysed)
            _ = transform | tft_beam.WriteTransformFn(str(written))
        written.rename(target)


def _values(feature: Tensor) -> tf.Tensor:
    return feature.values if isinstance(feature, tf.SparseTensor) else tf.reshape(feature, [-1])


def _map_values(feature: Tensor, function: Callable[[tf.Tensor], tf.Tensor]) -> Tensor:
    if isinstance(feature, tf.SparseTensor):
        return feature.with_values(function(feature.values))
    return function(feature)


def _vocabulary(name: str, feature: Tensor, rule: IdRule) -> tf.Tensor:
    """The file of a feature's values that have an id of their own."""
    values = _values(feature)
    known = tf.boolean_mask(values, (values != "") & (values != features.RARE))
    threshold = rule.min_count if rule.min_count > 1 else None
    if name == "item_id":  # with how often each was shown, for `min_item_impressions`
        tft.vocabulary(known, frequency_threshold=threshold, vocab_filename=ITEM_IMPRESSIONS, store_frequency=True)
    return tft.vocabulary(known, frequency_threshold=threshold, vocab_filename=name)


def _look_up(file: tf.Tensor | None, rule: IdRule, values: tf.Tensor) -> tf.Tensor:
    if file is None:
        ids = tf.strings.to_hash_bucket_fast(values, rule.buckets)
    else:
        ids = tft.apply_vocabulary(values, file, num_oov_buckets=rule.oov_buckets)
    return tf.where(values == "", tf.zeros_like(ids), ids + 1)


def _standardise(inputs: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Z-scores of a numeric column wherever it stands, clipped; NaN, as a request may hold, reads as the mean."""
    observed = _values(inputs[name])
    counts = tf.math.is_finite(observed)
    if name.startswith(features.ITEM_PREFIX):
        counts &= _values(inputs["item_id"]) != ""
    observed = tf.boolean_mask(observed, counts)
    mean, deviation = tft.mean(observed), tf.sqrt(tft.var(observed))

    def scale(values: tf.Tensor) -> tf.Tensor:
        scaled = tf.math.divide_no_nan(values - mean, deviation)
        scaled = tf.clip_by_value(scaled, -_LARGEST_SCORE, _LARGEST_SCORE)
        return tf.where(tf.math.is_nan(scaled), tf.zeros_like(scaled), scaled)

    names = [name] + [features.HISTORY + name] * name.startswith(features.ITEM_PREFIX)
    return {each: _map_values(inputs[each], scale) for each in names}
