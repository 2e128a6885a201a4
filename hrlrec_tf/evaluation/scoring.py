"""Click predictions of a model for the rows of displayed lists."""

import functools
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd
import tensorflow as tf

from hrlrec_tf.data.input import Batch, SessionReader, session_records

_BATCH_SIZE = 256
_COLUMNS = "request_id user_id channel position weight clicks click_probability".split()

Scorer = Callable[[Batch], dict[str, tf.Tensor]]


def score_sessions(
    network: Scorer, reader: SessionReader, files: Sequence[str], batch_size: int = _BATCH_SIZE
) -> pd.DataFrame:
    """Scores every row of `files` whose weight is not zero.

    Args:
      network: called with a batch of transformed sessions; returns `click_probability` [B, T], and whatever else of
        that shape it has to say.

    Returns:
      One row per impression: request_id, user_id, channel, position, label (clicked), prediction, and the rest of what
      the network returns (HRL-Rec: q_channel, q_item).
    """
    score = _scorer(network, reader)
    return _to_rows(score(examples) for examples in session_records(files).batch(batch_size).prefetch(2))


@functools.lru_cache(maxsize=1)
def _scorer(network: Scorer, reader: SessionReader) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Traced once: training scores the same network epoch after epoch."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def score(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        raw = reader.parse(examples)
        outputs = network(reader.transform_lists(raw))
        length = reader.spec.list_length
        for name in ("channel", "position", "weight", "clicks"):
            outputs[name] = tf.reshape(raw[name].values, [-1, length])
        for name in ("request_id", "user_id"):
            outputs[name] = tf.repeat(raw[name][:, tf.newaxis], length, axis=1)
        return outputs

    return score


def _to_rows(batches: Iterable[dict[str, tf.Tensor]]) -> pd.DataFrame:
    columns: dict[str, list[np.ndarray]] = {name: [] for name in _COLUMNS}
    for batch in batches:
        kept = batch["weight"].numpy() > 0
        for name, values in batch.items():
            columns.setdefault(name, []).append(values.numpy()[kept])
    rows = pd.DataFrame(
        {name: np.concatenate(parts) if parts else np.empty(0, object) for name, parts in columns.items()}
    )
    for name in ("channel", "request_id", "user_id"):
        rows[name] = rows[name].str.decode("utf-8")
    rows = rows.drop(columns="weight")
    return rows.assign(label=(rows.pop("clicks") > 0).astype(int)).rename(columns={"click_probability": "prediction"})
