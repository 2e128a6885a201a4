"""Does an export serve? Loads it as the server does, ranks one canned request and looks at the answer.

The request is made of evaluation sessions: the first one's user, context, history and profile, and as candidates the
items that the first sessions displayed, so it is a request of this very log with candidates from its channels.
"""

import pathlib
import tempfile
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from hrlrec_tf import export, features, quotas
from hrlrec_tf.errors import ModelError
from hrlrec_tf.features import FeatureSpec, Kind
from serving.loaded import ServedVersion
from serving.signatures import Refusal

SIGNATURE, SCORES = "rank", "score_examples"
_SESSIONS = 200  # what so many sessions displayed are the candidates,
_CANDIDATES = 200  # up to so many
_REASON_LENGTH = 300  # characters of TensorFlow's explanation that an error repeats
_LISTS = {Kind.STRING: "bytes_list", Kind.INT: "int64_list", Kind.FLOAT: "float_list"}

_SCORED = 20  # sessions that are scored
_TOLERANCE = 1e-4  # between the export's numbers and the network's own: other fused kernels, another order of sums

Arrays = Mapping[str, np.ndarray]
Offline = Callable[[str, Arrays], Arrays]


class ServingError(ModelError):
    """An export does not serve as it should."""


def check(model_dir: str, trained: Offline, session_files: str, spec: FeatureSpec, latency_seconds: float) -> str:
    """Loads the export as the server does, warm-up included; ranks a canned request, scores sessions, and holds both
    against the trained network's own answers.

    Args:
      model_dir: SavedModel folder.
      trained: the network that was exported; see `offline`.
      session_files: file pattern of gzipped evaluation sessions.
      spec: the sessions' features.
      latency_seconds: longest accepted time of a call after the first.

    Returns:
      One line on what was checked.

    Raises:
      ServingError: the export cannot be loaded, warmed up or called, its answer is no valid feed, or not the trained
        network's.
    """
    sessions = read_sessions(session_files)
    if not sessions:
        raise ServingError("there is no evaluation session to make a request of; give a log of more days or requests")
    request = canned_request(sessions[0], sessions, spec)
    scored = {"examples": np.array([session.SerializeToString() for session in sessions[:_SCORED]], object)}
    answers, seconds = _answers(model_dir, {SIGNATURE: request, SCORES: scored})
    check_answer(request, {name: values[0] for name, values in answers[SIGNATURE].items()}, spec.list_length)
    for signature, inputs in ((SIGNATURE, request), (SCORES, scored)):
        check_parity(signature, answers[signature], trained(signature, inputs))
    size = request["candidate_item_id"].shape[1]
    if seconds > latency_seconds:
        raise ServingError(f"it takes {seconds:.2f} s to rank {size} candidates; accepted are {latency_seconds:g} s")
    channels = len(set(request["candidate_channel"][0]))
    return (
        f"ranked {size} candidates of {channels} channels in {seconds * 1000:.1f} ms, scored {len(scored['examples'])} "
        "sessions; the trained network says the same\n"
    )


def offline(model_folder: str, bounds: str) -> Offline:
    """What a trained network answers by itself, before it is exported: signature, inputs -> outputs.

    Args:
      model_folder: of the network.
      bounds: quotas that its lists must keep, as YAML; "" for none.
    """
    with tempfile.TemporaryDirectory() as scratch:
        make, _ = export.serving_module(model_folder, quotas=quotas.write_text(bounds, scratch))
    module = make()

    def answer(signature: str, inputs: Arrays) -> Arrays:
        outputs = getattr(module, signature)({name: tf.constant(values) for name, values in inputs.items()})
        return {name: values.numpy() for name, values in outputs.items()}

    return answer


def check_parity(signature: str, served: Arrays, trained: Arrays) -> None:
    """Raises `ServingError` unless an export answers as the network that it was made of."""
    for name, expected in trained.items():
        same = (
            np.array_equal(served[name], expected)
            if expected.dtype == object
            else np.allclose(served[name], expected, rtol=_TOLERANCE, atol=_TOLERANCE)
        )
        if not same:
            raise ServingError(
                f"its signature {signature!r} and the trained network differ in {name}: {served[name].ravel()[:5]} and "
                f"{expected.ravel()[:5]}, ..."
            )


def _answers(model_dir: str, calls: Mapping[str, Arrays]) -> tuple[Mapping[str, Arrays], float]:
    """The answers to one call of each signature, and the seconds that a second call of `rank` took."""
    try:
        version = ServedVersion.load(pathlib.Path(model_dir), number=0)
        try:
            answers = {signature: version.run(signature, inputs) for signature, inputs in calls.items()}
            start = time.perf_counter()
            version.run(SIGNATURE, calls[SIGNATURE])
            return answers, time.perf_counter() - start
        finally:
            version.close()
    except (OSError, ValueError, KeyError, TypeError, ModelError, Refusal, tf.errors.OpError) as error:
        reason = textwrap.shorten(str(error), _REASON_LENGTH)
        raise ServingError(f"it cannot rank a request ({type(error).__name__}: {reason})") from error


def read_sessions(pattern: str, count: int = _SESSIONS) -> list[tf.train.Example]:
    """The first sessions of gzipped files; which users they are of is chance."""
    records = tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(pattern)), compression_type="GZIP").take(count)
    return [tf.train.Example.FromString(record) for record in records.as_numpy_iterator()]


def canned_request(
    asking: tf.train.Example, offered: Sequence[tf.train.Example], spec: FeatureSpec
) -> dict[str, np.ndarray]:
    """Inputs of the `rank` signature, batch 1.

    Args:
      asking: a session: who asks, when, with what history and profile.
      offered: sessions that displayed the candidates.
      spec: of both.
    """
    return {**who_asks(asking, spec), **what_is_offered(offered, spec)}


def who_asks(asking: tf.train.Example, spec: FeatureSpec) -> dict[str, np.ndarray]:
    """A `canned_request` without its candidates."""
    request: dict[str, np.ndarray] = {"epsilon": np.zeros(1, np.float32)}
    for name, (kind, rank) in spec.serving_inputs().items():
        if name not in spec.session:
            continue
        values = _values(asking, name, kind)
        if name == features.HISTORY + "tags":
            values = _joined(values, spec.max_tags)
        request[name] = np.array(values, kind.dtype).reshape([1] if rank == 1 else [1, -1])
    return request


def what_is_offered(offered: Sequence[tf.train.Example], spec: FeatureSpec) -> dict[str, np.ndarray]:
    """The candidates of a `canned_request`."""
    rows = _displayed(offered, spec)
    return {
        features.CANDIDATE + name: np.array([[row[name] for row in rows]], kind.dtype)
        for name, kind in spec.item.items()
    }


def check_answer(request: Arrays, answer: Arrays, list_length: int) -> None:
    """Raises `ServingError` unless `answer` is a full list of distinct candidates with sound numbers.

    Args:
      request: inputs of `rank`, batch 1.
      answer: its outputs, each [list_length].
      list_length: T, positions of a list.
    """
    channels = dict(zip(request["candidate_item_id"][0], request["candidate_channel"][0], strict=True))
    items = [item for item in answer["item_id"] if item]
    wanted = min(list_length, len(channels))
    if len(items) != wanted or len(set(items)) != wanted:
        raise ServingError(f"it placed {len(items)} items, {len(set(items))} distinct; {wanted} were to be placed")
    for item, channel in zip(items, answer["channel"], strict=False):
        if channels.get(item) != channel:
            raise ServingError(
                f"it placed item {item.decode()!r} in channel {channel.decode()!r}; the request has it "
                + (f"in {channels[item].decode()!r}" if item in channels else "not at all")
            )
    probabilities = answer["click_probability"][:wanted]
    if not np.all((probabilities >= 0) & (probabilities <= 1)):
        raise ServingError(f"its click probabilities are not all between 0 and 1: {probabilities.tolist()}")
    for name in ("q_channel", "q_item", "propensity_channel", "propensity_item"):
        if not np.all(np.isfinite(answer[name])):
            raise ServingError(f"its output {name} is not finite: {answer[name].tolist()}")


def _displayed(sessions: Sequence[tf.train.Example], spec: FeatureSpec) -> list[dict[str, object]]:
    """Item features of what the sessions displayed, each item once, tags joined."""
    rows: dict[bytes, dict[str, object]] = {}
    for session in sessions:
        columns = {name: _values(session, name, kind) for name, kind in spec.item.items()}
        columns["tags"] = _joined(columns["tags"], spec.max_tags)
        for values in zip(*columns.values(), strict=True):
            row = dict(zip(columns, values, strict=True))
            if row["item_id"]:
                rows.setdefault(row["item_id"], row)
    return list(rows.values())[:_CANDIDATES]


def _values(session: tf.train.Example, name: str, kind: Kind) -> list:
    return list(getattr(session.features.feature[name], _LISTS[kind]).value)


def _joined(tags: Sequence[bytes], max_tags: int) -> list[bytes]:
    """Flattened tags, `max_tags` per row, as one string per row."""
    rows = (tags[start : start + max_tags] for start in range(0, len(tags), max_tags))
    return [features.TAG_SEPARATOR.encode().join(tag for tag in row if tag) for row in rows]
