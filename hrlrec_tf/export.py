"""SavedModel signatures for TensorFlow Serving: `rank`, `score`, `score_examples`.

Click prediction baselines have no `rank`.

The transform graph is inside, so a request carries raw strings and numbers. Inputs are `FeatureSpec.serving_inputs()`.
An invalid request raises InvalidArgumentError with one sentence that starts with "hrlrec: "; a server answers it with
INVALID_ARGUMENT.
"""

import pathlib
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import tensorflow as tf

from hrlrec_tf import features, models
from hrlrec_tf.candidates import Candidates, Request
from hrlrec_tf.data.input import SessionReader, as_sparse
from hrlrec_tf.errors import ModelError
from hrlrec_tf.evaluation.scoring import Scorer
from hrlrec_tf.features import FeatureSpec, Kind
from hrlrec_tf.networks.list_network import ListNetwork
from hrlrec_tf.warmup import write_warmup

Inputs = Mapping[str, tf.Tensor]


class ServingModule(tf.Module):
    """A trained network behind its signatures.

    Args:
      network: of HRL-Rec or an RL competitor. reader: of the sessions it was trained on.
    """

    def __init__(self, network: ListNetwork, reader: SessionReader) -> None:
        super().__init__(name="hrlrec")
        # What a SavedModel must hold is tracked: weights, and the transform graph's tables. The Keras layers themselves
        # stay out (behind plain objects), for saving would trace each of them again.
        self.weights = network.variables
        self.transform = reader.layer
        self._reader, self._ranker = reader, models.ranker(network)

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Name -> traced function."""
        inputs = input_specs(self._reader.spec)
        rank = _trace(self.rank, inputs)
        score = _trace(self.score, {name: spec for name, spec in inputs.items() if name != "epsilon"})
        score_examples = _trace(self.score_examples, {"examples": tf.TensorSpec([None], tf.string, "examples")})
        return {"serving_default": rank, "rank": rank, "score": score, "score_examples": score_examples}

    def rank(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        """The list of each request: [batch, T] each; see `Ranker.rank`."""
        ranked = self.ranked(inputs)
        ranked.pop("index")
        return ranked

    def ranked(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        """As `rank`, with `index`, the places of what is shown among the candidates."""
        checks = _check_requests(inputs, self._reader.spec) + _check_epsilon(inputs)
        with tf.control_dependencies(checks):
            return self._ranker.rank(*read_request(inputs, self._reader), tf.identity(inputs["epsilon"]))

    def score(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        """Click probability of each candidate as if shown first: [batch, candidates]."""
        with tf.control_dependencies(_check_requests(inputs, self._reader.spec)):
            return {"click_probability": self._ranker.score(*read_request(inputs, self._reader))}

    def score_examples(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        """Click probability and Q values of the displayed rows of serialized sessions: [batch, T] each."""
        return self._ranker.network(self._reader.read(inputs["examples"]))


class ScoringModule(tf.Module):
    """A click prediction model behind the signatures `score` (the default) and `score_examples`.

    Args:
      scorer: gives `click_probability` [B, T] of transformed sessions.
      variables: its weights.
      reader: of the sessions it was trained on.
    """

    def __init__(self, scorer: Scorer, variables: Sequence[tf.Variable], reader: SessionReader) -> None:
        super().__init__(name="hrlrec")
        self.weights, self.transform = list(variables), reader.layer
        self._reader, self._scorer = reader, scorer

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Name -> traced function."""
        inputs = input_specs(self._reader.spec)
        score = _trace(self.score, {name: spec for name, spec in inputs.items() if name != "epsilon"})
        score_examples = _trace(self.score_examples, {"examples": tf.TensorSpec([None], tf.string, "examples")})
        return {"serving_default": score, "score": score, "score_examples": score_examples}

    def score(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        """Click probability of each candidate as if shown first, 0 for padding: [batch, candidates]."""
        with tf.control_dependencies(_check_requests(inputs, self._reader.spec)):
            request, candidates = read_request(inputs, self._reader)
        first = {"position": tf.ones_like(candidates.rows["item_id"])}
        probability = self._scorer({**request.batch, **candidates.rows, **first})["click_probability"]
        return {"click_probability": tf.where(candidates.item_id != "", probability, 0.0)}

    def score_examples(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        """Click probability of the displayed rows of serialized sessions: [batch, T]."""
        return dict(self._scorer(self._reader.read(inputs["examples"])))


def read_request(inputs: Inputs, reader: SessionReader) -> tuple[Request, Candidates]:
    """Shapes the raw tensors of a request as sessions have them and looks them up."""
    spec = reader.spec
    raw = {name: tf.identity(values) for name, values in inputs.items()}
    candidate_tags, present_tags = _candidate_tags(raw[features.CANDIDATE + "tags"], spec.max_tags)
    session = {name: raw[name] for name in spec.request if name != "request_id"}
    for name, kind in spec.history_rows.items():
        values = raw[name]
        if name == "history_tags":
            values = split_tags(values, spec.max_tags)
        values = _newest(values, spec.history_length, kind)
        session[name] = tf.reshape(values, [-1, spec.width(name)])
    for name in features.PROFILE:
        session[name] = as_sparse(raw[name])
    for name in spec.item:
        session[name] = present_tags if name == "tags" else as_sparse(raw[features.CANDIDATE + name])
    batch = reader.transform(session)
    rows = {name: batch.pop(name) for name in spec.item}
    request = Request(batch, raw["profile_channel"], raw["profile_tag"])
    return request, Candidates(
        rows, raw[features.CANDIDATE + "item_id"], raw[features.CANDIDATE + "channel"], candidate_tags
    )


def _trace(
    method: Callable[[Inputs], Mapping[str, tf.Tensor]], inputs: Mapping[str, tf.TensorSpec]
) -> tf.types.experimental.ConcreteFunction:
    """A signature takes its inputs by name."""
    return tf.function(lambda **values: method(values), autograph=False).get_concrete_function(**inputs)


def export_saved_model(model_dir: str, out: str) -> None:
    """Writes the best networks of a model folder, whichever model it holds, as a SavedModel.

    Args:
      model_dir: folder of `hrlrec train`.
      out: folder to make; appears only when it is complete.

    Raises:
      ModelError: `model_dir` holds no finished model, or `out` exists.
    """
    make, reader = serving_module(model_dir)
    save(make, reader, out)


def serving_module(model_dir: str) -> tuple[Callable[[], ServingModule | ScoringModule], SessionReader]:
    """What makes the module that would be exported of a model folder, and the reader of its sessions.

    Raises:
      ModelError: `model_dir` holds no finished model.
    """
    network, reader, _ = models.load(model_dir)
    if isinstance(network, ListNetwork):
        return lambda: ServingModule(network, reader), reader
    return lambda: ScoringModule(network, cast(tf.Module, network).variables, reader), reader


def save(make: Callable[[], ServingModule | ScoringModule], reader: SessionReader, out: str) -> None:
    """Writes a SavedModel to `out`: under a temporary name, then renamed. Raises ModelError if `out` exists."""
    target = pathlib.Path(out)
    if target.exists():
        raise ModelError(f"{target} exists; a model version is never overwritten, choose another --out")
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        module = make()
        signatures = module.signatures()
        tf.saved_model.save(module, str(scratch), signatures=signatures)
        write_warmup(str(scratch), reader, [name for name in ("rank", "score") if name in signatures])
        scratch.chmod(0o755)  # a temporary folder is private, a model server may run as another user
        scratch.rename(target)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def input_specs(spec: FeatureSpec) -> dict[str, tf.TensorSpec]:
    """Tensor specs of the `rank` signature."""
    return {
        name: tf.TensorSpec([None] * rank, tf.as_dtype(kind.dtype), name)
        for name, (kind, rank) in spec.serving_inputs().items()
    }


def split_tags(joined: tf.Tensor, max_tags: int) -> tf.Tensor:
    """Joined tags [B, N] -> the first K of each row, padded with "": [B, N, K]."""
    flat = tf.strings.split(tf.reshape(joined, [-1]), features.TAG_SEPARATOR)
    padded = flat.to_tensor(default_value="", shape=[None, max_tags])
    return tf.reshape(padded, tf.concat([tf.shape(joined), [max_tags]], axis=0))


def _candidate_tags(joined: tf.Tensor, max_tags: int) -> tuple[tf.Tensor, tf.SparseTensor]:
    """`split_tags` of candidates [B, N], and the same as [B, N * K] without the many places that hold no tag."""
    flat = tf.strings.split(tf.reshape(joined, [-1]), features.TAG_SEPARATOR)[:, :max_tags]
    shape = tf.shape(joined, tf.int64)
    sparse = flat.to_sparse()
    place = sparse.indices[:, 0] * max_tags + sparse.indices[:, 1]
    width = shape[1] * max_tags
    indices = tf.stack([place // width, place % width], axis=-1)
    dense = flat.to_tensor(default_value="", shape=[None, max_tags])
    return tf.reshape(dense, tf.concat([tf.shape(joined), [max_tags]], axis=0)), tf.SparseTensor(
        indices, sparse.values, tf.stack([shape[0], width])
    )


def _newest(values: tf.Tensor, rows: int, kind: Kind) -> tf.Tensor:
    """The last `rows` rows of [B, h, ...], padded on the left."""
    padding = [[0, 0], [rows, 0]] + [[0, 0]] * (values.shape.rank - 2)
    padded = tf.pad(values, padding, constant_values=tf.constant(kind.absent, values.dtype))
    return padded[:, -rows:]


def _check_requests(inputs: Inputs, spec: FeatureSpec) -> list[tf.Operation]:
    """Assertions; each message names the input and what is wrong. Few operations, for every call runs them."""
    checks = [_check_shapes(inputs, names) for names in _groups(spec)]
    with tf.control_dependencies(checks):  # values can be compared where shapes are right
        counts = {
            f"{name} must not be negative": tf.reduce_min(inputs[name])
            for name, (kind, _) in spec.serving_inputs().items()
            if kind is Kind.INT and name != "timestamp"
        }
        smallest = tf.stack(list(counts.values()))
        checks.append(_assert_each(smallest >= 0, list(counts), smallest))
        ids, channels = inputs[features.CANDIDATE + "item_id"], inputs[features.CANDIDATE + "channel"]
        present = ids != ""
        some = tf.reduce_all(tf.reduce_any(present, axis=-1))
        placed = tf.reduce_all(tf.logical_not(present) | (channels != ""))
        rules = ["every request needs at least one candidate", "every candidate with an item_id needs a channel"]
        return [*checks, _assert_each(tf.stack([some, placed]), rules, tf.stack([tf.shape(ids)] * 2))]


def _check_shapes(inputs: Inputs, names: Sequence[str]) -> tf.Operation:
    """Inputs of one group must have one shape, and a row for each request."""
    batch = tf.shape(inputs["user_id"])[:1]
    shapes = tf.stack([tf.shape(inputs[name]) for name in names])
    one_row_each = tf.reduce_all(shapes[:, :1] == batch, axis=-1)
    same = tf.reduce_all(shapes == shapes[:1], axis=-1)
    rules = [f"{name} must have one row per request, as user_id has" for name in names]
    rules += [f"{name} must have the shape of {names[0]}" for name in names]
    return _assert_each(tf.concat([one_row_each, same], axis=0), rules, tf.tile(shapes, [2, 1]))


def _groups(spec: FeatureSpec) -> list[list[str]]:
    """Groups of inputs that must have equal shapes: request, history, profile channels, profile tags, candidates."""
    return [
        [name for name, (_, rank) in spec.serving_inputs().items() if rank == 1 and name != "epsilon"],
        list(spec.history_rows),
        [name for name in features.PROFILE if name.startswith("profile_channel")],
        [name for name in features.PROFILE if name.startswith("profile_tag")],
        [features.CANDIDATE + name for name in spec.item],
    ]


def _check_epsilon(inputs: Inputs) -> list[tf.Operation]:
    epsilon, shape = inputs["epsilon"], tf.shape(inputs["epsilon"])
    length = _assert_each(
        shape == tf.shape(inputs["user_id"]), ["epsilon must have one row per request, as user_id has"], [shape]
    )
    fits = tf.reduce_all((epsilon >= 0) & (epsilon <= 1), keepdims=True)
    return [length, _assert_each(fits, ["epsilon must lie between 0 and 1"], [epsilon])]


def _assert_each(conditions: tf.Tensor, rules: Sequence[str], received: tf.Tensor | Sequence[tf.Tensor]) -> tf.Operation:
    """One assertion for conditions [R] with a rule and something received each: the first that is broken is reported."""
    broken = tf.argmin(tf.cast(conditions, tf.int32))
    sentence = tf.gather([f"hrlrec: {rule}; received" for rule in rules], broken)
    return tf.raw_ops.Assert(condition=tf.reduce_all(conditions), data=[sentence, tf.gather(received, broken)])
