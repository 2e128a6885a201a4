"""A tiny untrained SavedModel with the signatures of an exported one.

Its answers are simple functions of its inputs, so that a test can tell whether every input arrived where it belongs:

* click probability of a candidate = `scale` * hash(item_id) in [0, 1); the list is the candidates in that order;
* q_channel = clicks of the newest history row, q_item = impressions of the profile's first channel;
* propensity_channel = 1 - epsilon / 2, explored where epsilon is 1.
"""

import pathlib

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from hrlrec_tf import features
from hrlrec_tf.features import FeatureSpec, Kind

_DTYPES = {Kind.STRING: tf.string, Kind.INT: tf.int64, Kind.FLOAT: tf.float32}
_BUCKETS = 1000


def write_saved_model(folder: pathlib.Path, spec: FeatureSpec | None = None, scale: float = 1.0) -> pathlib.Path:
    """Writes the fake to `folder` (temporary name, then rename) and returns it."""
    module = FakeModel(spec or FeatureSpec(), scale)
    temporary = folder.parent / f".{folder.name}.partial"
    tf.saved_model.save(module, str(temporary), signatures=module.signatures())
    temporary.rename(folder)
    return folder


def write_warmup(folder: pathlib.Path, *requests: predict_pb2.PredictRequest) -> None:
    """Writes warm-up requests into the SavedModel in `folder`."""
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())


def click_probability(item_ids: list[str], scale: float = 1.0) -> list[float]:
    """What the fake model answers for these items."""
    return (scale * _unit_hash(tf.constant(item_ids))).numpy().tolist()


class FakeModel(tf.Module):
    """See the module docstring."""

    def __init__(self, spec: FeatureSpec, scale: float) -> None:
        super().__init__()
        self._spec = spec
        self._scale = tf.Variable(scale)

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        inputs = {
            name: tf.TensorSpec([None] * rank, _DTYPES[kind], name)
            for name, (kind, rank) in self._spec.serving_inputs().items()
        }
        scored = {name: tensor for name, tensor in inputs.items() if name != "epsilon"}
        rank = tf.function(self._rank).get_concrete_function(**inputs)
        return {
            "rank": rank,
            "serving_default": rank,
            "score": tf.function(self._score).get_concrete_function(**scored),
            "score_examples": tf.function(self._score_examples).get_concrete_function(
                examples=tf.TensorSpec([None], tf.string, "examples")
            ),
        }

    def _rank(self, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        epsilon = inputs["epsilon"]
        in_range = tf.reduce_all((epsilon >= 0) & (epsilon <= 1))
        tf.debugging.Assert(in_range, ["hrlrec: epsilon must lie in [0, 1]; correct it"])
        scores = self._candidate_scores(inputs)
        length = self._spec.list_length
        scores = tf.pad(scores, [[0, 0], [0, length]], constant_values=-1.0)
        best = tf.argsort(scores, direction="DESCENDING", stable=True)[:, :length]

        def placed(values: tf.Tensor) -> tf.Tensor:
            return tf.gather(tf.pad(values, [[0, 0], [0, length]]), best, batch_dims=1)

        filled = tf.cast(placed(inputs["candidate_item_id"]) != "", tf.float32)
        newest_clicks = tf.pad(inputs["history_clicks"], [[0, 0], [1, 0]])[:, -1:]
        first_impressions = tf.pad(inputs["profile_channel_impressions"], [[0, 0], [0, 1]])[:, :1]
        return {
            "item_id": placed(inputs["candidate_item_id"]),
            "channel": placed(inputs["candidate_channel"]),
            "click_probability": tf.gather(scores, best, batch_dims=1) * filled,
            "q_channel": filled * tf.cast(newest_clicks, tf.float32),
            "q_item": filled * tf.cast(first_impressions, tf.float32),
            "propensity_channel": filled * (1 - epsilon[:, None] / 2),
            "propensity_item": filled,
            "explored": tf.cast(filled * tf.floor(epsilon[:, None]), tf.int64),
        }

    def _score(self, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"click_probability": tf.maximum(self._candidate_scores(inputs), 0)}

    def _score_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        width = self._spec.list_length
        parsed = tf.io.parse_example(examples, {"item_id": tf.io.FixedLenFeature([width], tf.string)})
        scores = self._scale * _unit_hash(parsed["item_id"])
        return {"click_probability": scores, "q_channel": scores, "q_item": scores}

    def _candidate_scores(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Scores [B, N], -1 for padding; reads every input, so that none is pruned from the signature."""
        items = inputs["candidate_item_id"]
        for name, tensor in inputs.items():
            if name.startswith(features.CANDIDATE):
                same = tf.reduce_all(tf.shape(tensor) == tf.shape(items))
                tf.debugging.Assert(
                    same, [f"hrlrec: {name} and candidate_item_id differ in shape; send one value each"]
                )
        chosen = tf.reduce_any(items != "", axis=1)
        tf.debugging.Assert(tf.reduce_all(chosen), ["hrlrec: a request has no candidates; send at least one"])
        return tf.where(items == "", -1.0, self._scale * _unit_hash(items))


def _unit_hash(items: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.strings.to_hash_bucket_fast(items, _BUCKETS), tf.float32) / _BUCKETS
