"""Stand-ins for what the pipeline's components read: sessions, exports, artifacts."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from tfx import v1 as tfx
from tfx.components.evaluator import executor as evaluator_executor
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.utils import json_utils, proto_utils

from hrlrec_tf.features import FeatureSpec, Kind
from tfx_pipeline import evaluator
from tfx_pipeline.configs import Digests, PipelineConfig, Thresholds
from tfx_pipeline.impression_scorer import position_group

SPEC = FeatureSpec(list_length=2, history_length=1, max_tags=2, optional={"item_price": Kind.FLOAT})

_KINDS = {str: "bytes_list", int: "int64_list", float: "float_list"}


def example(values: Mapping[str, Sequence[str] | Sequence[int] | Sequence[float]]) -> tf.train.Example:
    """A tf.Example of plain lists; an empty list is a feature without values."""
    result = tf.train.Example()
    for name, items in values.items():
        feature = result.features.feature[name]
        for item in items:
            value = item.encode() if isinstance(item, str) else item
            getattr(feature, _KINDS[type(item)]).value.append(value)
    return result


def write_records(path: pathlib.Path, examples: Sequence[tf.train.Example]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for each in examples:
            writer.write(each.SerializeToString())


def examples_artifact(folder: pathlib.Path, splits: Mapping[str, Sequence[tf.train.Example]]):
    """An Examples artifact with these splits, written to `folder`."""
    artifact = tfx.types.standard_artifacts.Examples()
    artifact.uri = str(folder)
    artifact.split_names = artifact_utils.encode_split_names(list(splits))
    examples_utils.set_payload_format(artifact, example_gen_pb2.FORMAT_TF_EXAMPLE)
    for split, examples in splits.items():
        write_records(folder / f"Split-{split}" / "sessions-00000-of-00001.tfrecord.gz", examples)
    return artifact


def artifact(kind: type, folder: pathlib.Path, number: int = 1):
    """An empty artifact of a kind at `folder`."""
    result = kind()
    result.uri = str(folder)
    result.id = number
    folder.mkdir(parents=True, exist_ok=True)
    return result


def evaluate(folder: pathlib.Path, impressions: Mapping[str, np.ndarray], thresholds: Thresholds):
    """Runs the stock Evaluator's executor; returns the evaluation folder and the blessing.

    `impressions` has the columns `channel`, `position`, `label` and `prediction`, in this order.
    """
    examples = [
        example(
            {
                "label": [float(label)],
                "weight": [1.0],
                "prediction": [float(prediction)],
                "channel": [str(channel)],
                "position": [int(position)],
                "position_group": [position_group(position)],
                "user_id": ["u"],
            }
        )
        for channel, position, label, prediction in zip(*impressions.values(), strict=True)
    ]
    blessing = artifact(tfx.types.standard_artifacts.ModelBlessing, folder / "blessing")
    evaluation = artifact(tfx.types.standard_artifacts.ModelEvaluation, folder / "evaluation")
    evaluator_executor.Executor().Do(
        {
            "examples": [examples_artifact(folder / "impressions", {"eval": examples})],
            "model": [artifact(tfx.types.standard_artifacts.Model, folder / "model")],
        },
        {"evaluation": [evaluation], "blessing": [blessing]},
        {
            "eval_config": proto_utils.proto_to_json(evaluator.eval_config(thresholds)),
            "example_splits": json_utils.dumps(None),
            "module_path": evaluator.MODULE,
        },
    )
    return evaluation.uri, blessing


def pipeline_config(**changes) -> PipelineConfig:
    """A pipeline whose paths need not exist."""
    settings = {
        "root": "/root-of-artifacts",
        "dataset": '{"log": "/log"}',
        "schema": "/schema.pbtxt",
        "model": "{}",
        "serving": "/serving",
        "digests": Digests(source="a", schema="b", log="c"),
    }
    return PipelineConfig(**{**settings, **changes})


def session(user: str, items: tuple[str, str], channels: tuple[str, str] = ("news", "video")) -> tf.train.Example:
    """A session of two rows; unnamed features are absent values of the right number."""
    named = {
        "user_id": [user],
        "item_id": list(items),
        "channel": list(channels),
        "tags": ["x", "", "y", "z"],
        "item_price": [1.5, 2.5],
        "history_item_id": ["h"],
        "history_tags": ["p", "q"],
        "profile_channel": ["news", "video", "music"],
    }
    width = {name: SPEC.width(name) or 3 for name in SPEC.session}
    return example({**{name: [kind.absent] * width[name] for name, kind in SPEC.session.items()}, **named})


class Model(tf.Module):
    """Places the first candidates (or the last) as they come; scores logged rows by their position."""

    def __init__(self, spec: FeatureSpec, first: bool = True) -> None:
        super().__init__()
        self._spec = spec
        self._placed = slice(spec.list_length) if first else slice(-spec.list_length, None)

    @tf.function
    def rank(self, **inputs):
        item_id, channel = (inputs[f"candidate_{name}"][:, self._placed] for name in ("item_id", "channel"))
        outputs = ("click_probability", "q_channel", "q_item", "propensity_channel", "propensity_item")
        return {"item_id": item_id, "channel": channel, **dict.fromkeys(outputs, tf.ones_like(item_id, tf.float32))}

    @tf.function
    def score_examples(self, examples):
        rows = tf.io.FixedLenFeature([self._spec.list_length], tf.int64)
        position = tf.io.parse_example(examples, {"position": rows})["position"]
        return {"click_probability": 0.5 / tf.cast(position + 1, tf.float32)}


def save_model(folder: pathlib.Path, spec: FeatureSpec = SPEC, first: bool = True) -> None:
    """Exports a `Model` with the signatures `rank` and `score_examples`."""
    dtypes = {Kind.STRING: tf.string, Kind.INT: tf.int64, Kind.FLOAT: tf.float32}
    inputs = {
        name: tf.TensorSpec([None, None][:rank], dtypes[kind], name)
        for name, (kind, rank) in spec.serving_inputs().items()
    }
    module = Model(spec, first)
    signatures = {
        "rank": module.rank.get_concrete_function(**inputs),
        "score_examples": module.score_examples.get_concrete_function(tf.TensorSpec([None], tf.string, "examples")),
    }
    tf.saved_model.save(module, str(folder), signatures)


def offline(spec: FeatureSpec = SPEC):
    """What `serving_check.offline` gives of a model folder, of a `Model`."""
    module = Model(spec)

    def answer(signature, inputs):
        tensors = {name: tf.constant(values) for name, values in inputs.items()}
        return {name: values.numpy() for name, values in getattr(module, signature)(**tensors).items()}

    return answer
