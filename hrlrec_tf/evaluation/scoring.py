"""Click predictions of a model for the rows of displayed lists."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import tensorflow as tf

from hrlrec_tf.data.input import Batch, SessionReader, session_records

# What predicts: a parsed and looked-up batch of B lists (`SessionReader.read`) -> [B, T] `click_probability`, perhaps
# `q_channel` and `q_item`. `HrlRecNetwork` and any Keras model of this kind are such.
Scorer = Callable[[Batch], Mapping[str, tf.Tensor]]

_BATCH_SIZE = 256  # lists
_CHUNK_ROWS = 1 << 16
_FEATURES = ("channel", "position", "weight", "clicks")
_REQUEST = ("request_id", "user_id", "history_impressions")
_OPTIONAL_OUTPUTS = ("q_channel", "q_item")


def score_batches(
    model: Scorer, reader: SessionReader, files: Sequence[str], batch_size: int = _BATCH_SIZE
) -> Iterator[pd.DataFrame]:
    """Scores every row of `files` whose weight is not zero, some ten thousand rows at a time.

    Args:
      model: what predicts.
      reader: of the model's sessions.
      files: session files.
      batch_size: lists per call of the model.

    Yields:
      One row per impression: request_id, user_id, channel, position, history_impressions (what the user had seen before
      the list, from the profile), prediction, label (clicked), and q_channel and q_item where the model says them; one
      frame without rows when there are none.
    """
    score = _score_step(model, reader)
    batches = session_records(files).batch(batch_size).prefetch(2)
    return _chunks(_to_rows(score(examples), reader) for examples in batches)


def score_sessions(
    model: Scorer, reader: SessionReader, files: Sequence[str], batch_size: int = _BATCH_SIZE
) -> pd.DataFrame:
    """All rows of `score_batches` in memory."""
    return pd.concat(list(score_batches(model, reader, files, batch_size)), ignore_index=True)


@functools.lru_cache(maxsize=1)
def _score_step(model: Scorer, reader: SessionReader) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Traced once: training scores the same network epoch after epoch."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def score(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        raw = reader.parse(examples)
        outputs = dict(model(reader.transform_lists(raw)))
        length = reader.spec.list_length
        raw["history_impressions"] = tf.sparse.reduce_sum(raw["profile_channel_impressions"], axis=1)
        for name in _FEATURES:
            outputs[name] = tf.reshape(raw[name].values, [-1, length])
        for name in _REQUEST:
            outputs[name] = tf.repeat(raw[name][:, tf.newaxis], length, axis=1)
        return outputs

    return score


def _to_rows(batch: Mapping[str, tf.Tensor], reader: SessionReader) -> pd.DataFrame:
    """The rows of a batch that count in its split."""
    kept = batch["weight"].numpy() > 0
    names = ("request_id", "user_id", "channel", "position", "history_impressions", "clicks", "click_probability")
    rows = pd.DataFrame({name: batch[name].numpy()[kept] for name in (*names, *_OPTIONAL_OUTPUTS) if name in batch})
    for name in ("channel", "request_id", "user_id"):
        rows[name] = rows[name].str.decode("utf-8") if len(rows) else rows[name].astype(object)
    rows = rows.rename(columns={"click_probability": "prediction"})
    return rows.assign(label=(rows.pop("clicks") > 0).astype(int))


def _chunks(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """The same rows in larger frames, at least one."""
    waiting: list[pd.DataFrame] = []
    given = False
    for frame in frames:
        waiting.append(frame)
        if sum(map(len, waiting)) >= _CHUNK_ROWS:
            yield pd.concat(waiting, ignore_index=True)
            waiting, given = [], True
    if waiting or not given:
        yield pd.concat(waiting, ignore_index=True) if waiting else _no_rows()


def _no_rows() -> pd.DataFrame:
    kinds = {"position": int, "history_impressions": int, "prediction": np.float32, "label": int}
    names = ("request_id", "user_id", "channel", "position", "history_impressions", "prediction", "label")
    return pd.DataFrame({name: pd.Series(dtype=kinds.get(name, object)) for name in names})
