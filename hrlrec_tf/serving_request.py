"""A ranking request as raw tensors: its inputs, the rules that they must keep, and how a session is made of them.

An invalid request raises InvalidArgumentError with one sentence that starts with "hrlrec: ".
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from hrlrec_tf import features
from hrlrec_tf.candidates import Candidates, Request, first_of_each, kinds
from hrlrec_tf.data.input import SessionReader, as_sparse
from hrlrec_tf.features import FeatureSpec, Kind

Inputs = Mapping[str, tf.Tensor]


def input_specs(spec: FeatureSpec) -> dict[str, tf.TensorSpec]:
    """Tensor specs of the `rank` signature."""
    return {
        name: tf.TensorSpec([None] * rank, tf.as_dtype(kind.dtype), name)
        for name, (kind, rank) in spec.serving_inputs().items()
    }


def catalogue_columns(spec: FeatureSpec) -> list[str]:
    """Those inputs of `rank` that an item catalogue knows: all of an item but its id."""
    return [
        prefix + name for prefix in (features.HISTORY, features.CANDIDATE) for name in spec.item if name != "item_id"
    ]


def read_request(inputs: Inputs, reader: SessionReader) -> tuple[Request, Candidates]:
    """Shapes the raw tensors of a request as sessions have them and looks them up."""
    spec = reader.spec
    raw = {name: inputs[features.CANDIDATE + name] for name in spec.item}
    tags, present_tags = _candidate_tags(raw["tags"], spec.max_tags)
    session = {name: present_tags if name == "tags" else as_sparse(values) for name, values in raw.items()}
    request, rows = _transformed(inputs, session, reader)
    return request, Candidates(rows, tf.identity(raw["item_id"]), tf.identity(raw["channel"]), tags)


def read_user(inputs: Inputs, reader: SessionReader) -> Request:
    """`read_request` without candidates."""
    size = tf.shape(inputs["user_id"])[0]
    kinds_of = {name: tf.as_dtype(kind.dtype) for name, kind in reader.spec.item.items()}
    nothing = {name: as_sparse(tf.zeros([size, 0], dtype)) for name, dtype in kinds_of.items()}
    return _transformed(inputs, nothing, reader)[0]


def _transformed(
    inputs: Inputs, items: Mapping[str, tf.SparseTensor], reader: SessionReader
) -> tuple[Request, dict[str, tf.Tensor]]:
    """The request, and the item features of its candidates."""
    spec = reader.spec
    session: dict[str, tf.Tensor | tf.SparseTensor] = {
        name: inputs[name] for name in spec.request if name != "request_id"
    }
    for name, kind in spec.history_rows.items():
        values = inputs[name]
        if name == "history_tags":
            values = split_tags(values, spec.max_tags)
        values = _newest(values, spec.history_length, kind)
        session[name] = tf.reshape(values, [-1, spec.width(name)])
    for what in ("profile_channel", "profile_tag"):
        names = inputs[what]
        # A server that pads on the right repeats the first entry.
        once = first_of_each(kinds(names), among=names != "")
        session[what] = as_sparse(names)
        for count in ("impressions", "clicks"):
            values = inputs[f"{what}_{count}"]
            session[f"{what}_{count}"] = as_sparse(tf.where(once, values, tf.zeros_like(values)))
    batch = reader.transform({**session, **items})
    rows = {name: batch.pop(name) for name in spec.item}
    return Request(batch, inputs["profile_channel"], inputs["profile_tag"]), rows


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


def checked(inputs: Inputs, spec: FeatureSpec) -> dict[str, tf.Tensor]:
    """The inputs, behind assertions whose messages name the input and what is wrong. All are one assertion per group of
    rules: every call runs them.
    """
    checks = [_check_shapes(inputs, names) for names in _groups(inputs, spec)]
    with tf.control_dependencies(checks):  # values can be compared where shapes are right
        checks.append(_check_counts(inputs, spec))
        if features.CANDIDATE + "item_id" in inputs:
            checks.append(_check_items(inputs))
        if "epsilon" in inputs:
            epsilon = inputs["epsilon"]
            fits = tf.reduce_all((epsilon >= 0) & (epsilon <= 1), keepdims=True)
            checks.append(assert_each(fits, ["epsilon must lie between 0 and 1"], [epsilon]))
    with tf.control_dependencies(checks):
        return {name: tf.identity(values) for name, values in inputs.items()}


def _check_counts(inputs: Inputs, spec: FeatureSpec) -> tf.Operation:
    kinds_of = {name: kind for name, (kind, _) in spec.serving_inputs().items() if name in inputs}
    names = [name for name, kind in kinds_of.items() if kind is Kind.INT and name != "timestamp"]
    smallest = tf.stack([tf.reduce_min(inputs[name]) for name in names])
    return assert_each(smallest >= 0, [f"{name} must not be negative" for name in names], smallest)


def _check_items(inputs: Inputs) -> tf.Operation:
    """Every request has candidates, and what has an id has a channel, where a catalogue does not know it."""
    ids = inputs[features.CANDIDATE + "item_id"]
    present = ids != ""
    conditions = [tf.reduce_all(tf.reduce_any(present, axis=-1))]
    rules, received = ["every request needs at least one candidate"], [tf.shape(ids)]
    if features.CANDIDATE + "channel" in inputs:
        placed = tf.logical_not(present) | (inputs[features.CANDIDATE + "channel"] != "")
        conditions.append(tf.reduce_all(placed))
        rules.append("every candidate with an item_id needs a channel")
        received.append(received[0])
    if features.HISTORY + "channel" in inputs:
        placed = (inputs[features.HISTORY + "item_id"] == "") | (inputs[features.HISTORY + "channel"] != "")
        conditions.append(tf.reduce_all(placed))
        rules.append("history_channel must not be empty where history_item_id names an item")
        received.append(tf.shape(placed))
    return assert_each(tf.stack(conditions), rules, tf.stack(received))


def _check_shapes(inputs: Inputs, names: Sequence[str]) -> tf.Operation:
    """Inputs of one group must have one shape, and a row for each request."""
    batch = tf.shape(inputs["user_id"])[:1]
    shapes = tf.stack([tf.shape(inputs[name]) for name in names])
    one_row_each = tf.reduce_all(shapes[:, :1] == batch, axis=-1)
    same = tf.reduce_all(shapes == shapes[:1], axis=-1)
    rules = [f"{name} must have one row per request, as user_id has" for name in names]
    rules += [f"{name} must have the shape of {names[0]}" for name in names]
    return assert_each(tf.concat([one_row_each, same], axis=0), rules, tf.tile(shapes, [2, 1]))


def _groups(inputs: Inputs, spec: FeatureSpec) -> list[list[str]]:
    """Groups of inputs that must have equal shapes: request, history, profile channels, profile tags, candidates."""
    groups = [
        [name for name, (_, rank) in spec.serving_inputs().items() if rank == 1],
        list(spec.history_rows),
        [name for name in features.PROFILE if name.startswith("profile_channel")],
        [name for name in features.PROFILE if name.startswith("profile_tag")],
        [features.CANDIDATE + name for name in spec.item],
    ]
    present = ([name for name in group if name in inputs] for group in groups)
    return [group for group in present if group]


def assert_each(conditions: tf.Tensor, rules: Sequence[str], received: tf.Tensor | Sequence[tf.Tensor]) -> tf.Operation:
    """One assertion for conditions [R] with a rule and something received each: the first broken one is reported."""
    broken = tf.argmin(tf.cast(conditions, tf.int32))
    sentence = tf.gather([f"hrlrec: {rule}; received" for rule in rules], broken)
    return tf.raw_ops.Assert(condition=tf.reduce_all(conditions), data=[sentence, tf.gather(received, broken)])
