"""Training rows in memory: one per displayed impression that counts."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from hrlrec_tf.baselines.ctr.fields import SessionRows
from hrlrec_tf.baselines.ctr.model import LABEL, flatten
from hrlrec_tf.data.input import SessionReader, session_records

_LISTS = 1024  # read at a time


class TrainingRows(NamedTuple):
    """Rows and what became of them; a row of MovieLens-100K with all fields takes 84 bytes, with history 124."""

    features: dict[str, tf.Tensor]  # what `CtrModel` reads: [R, ...]
    labels: tf.Tensor  # [R] float32, 1 for a click

    @property
    def size(self) -> int:
        """R."""
        return int(self.labels.shape[0])

    def take(self, places: tf.Tensor) -> dict[str, tf.Tensor]:
        """Some rows with their labels, as `CtrModel.compute_loss` takes them."""
        every = {**self.features, LABEL: self.labels}
        return {name: tf.gather(values, places) for name, values in every.items()}


def read(reader: SessionReader, rows: SessionRows, files: Sequence[str]) -> TrainingRows:
    """The rows of session files whose weight is above 0.

    Raises:
      DataError: there are no files.
    """

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def parse(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = reader.read(examples)
        label = tf.cast(batch["clicks"] > 0, tf.float32)
        counted = tf.reshape(batch["weight"] > 0, [-1])
        flat = flatten({**rows(batch), LABEL: label})
        return {name: tf.boolean_mask(values, counted) for name, values in flat.items()}

    parts = [parse(examples) for examples in session_records(files).batch(_LISTS)]
    if not parts:
        kinds = parse.get_concrete_function().structured_outputs
        parts = [{name: tf.zeros([0, *kind.shape[1:]], kind.dtype) for name, kind in kinds.items()}]
    columns = {name: tf.concat([part[name] for part in parts], axis=0) for name in parts[0]}
    return TrainingRows(columns, columns.pop(LABEL))
