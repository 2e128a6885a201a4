"""Random sessions in the exact format of `hrlrec prepare`, for tests that need no log."""

import pathlib

import numpy as np
import tensorflow as tf

from hrlrec_tf.features import FeatureSpec, Kind

SPEC = FeatureSpec(
    list_length=4,
    history_length=6,
    max_tags=2,
    optional={
        "user_age_band": Kind.STRING,
        "user_tenure_days": Kind.FLOAT,
        "context_device": Kind.STRING,
        "item_author": Kind.STRING,
        "item_length_seconds": Kind.FLOAT,
    },
)
CHANNELS = ("news", "article", "video")
_WORDS = {"channel": CHANNELS, "profile_channel": CHANNELS}


def random_session(
    rng: np.random.Generator, spec: FeatureSpec = SPEC, rows: int | None = None, seen: int | None = None
) -> dict:
    """One session as feature -> list of values. `rows`: displayed rows; `seen`: history rows; random by default."""
    rows = int(rng.integers(1, spec.list_length + 1)) if rows is None else rows
    seen = int(rng.integers(0, spec.history_length + 1)) if seen is None else seen
    session = {}
    for name, kind in spec.session.items():
        width = spec.width(name)
        count = {None: 2}.get(width, width)
        values = _values(rng, name.removeprefix("history_"), kind, count)
        if name in spec.list_rows:
            keep = rows * count // spec.list_length
            values = values[:keep] + [kind.absent] * (count - keep)
        elif name in spec.history_rows:
            keep = seen * count // spec.history_length
            values = [kind.absent] * (count - keep) + values[count - keep :]
        session[name] = values
    session["profile_channel"] = list(CHANNELS[:2])
    session["position"] = [t + 1 if t < rows else 0 for t in range(spec.list_length)]
    session["weight"] = [1.0 if t < rows else 0.0 for t in range(spec.list_length)]
    session["timestamp"] = [1_700_000_000_000 + int(rng.integers(0, 10**9))]
    return session


def to_example(session: dict, spec: FeatureSpec = SPEC) -> bytes:
    """The session as a serialized tf.Example."""
    features = {}
    for name, values in session.items():
        kind = spec.session[name]
        if kind is Kind.STRING:
            features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[v.encode() for v in values]))
        elif kind is Kind.INT:
            features[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        else:
            features[name] = tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write(path: pathlib.Path, examples: list[bytes]) -> str:
    """Writes a gzipped TFRecord file; returns its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
        for example in examples:
            writer.write(example)
    return str(path)


def _values(rng: np.random.Generator, name: str, kind: Kind, count: int) -> list:
    if kind is Kind.STRING:
        words = _WORDS.get(name, [f"{name}{number}" for number in range(12)])
        return [words[number] for number in rng.integers(0, len(words), count)]
    if kind is Kind.FLOAT:
        high = 1 if name.startswith("propensity_") else 30
        return [float(number) for number in rng.uniform(0, high, count).astype(np.float32)]
    high = 2 if name in ("clicks", "explored") else 5
    return [int(number) for number in rng.integers(0, high, count)]
