"""Sessions as training batches: parse, look up, shape.

The same transform graph runs here, in evaluation and inside the exported model, so training and serving cannot skew.
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import schema_utils

from hrlrec_tf.data.schema import from_schema
from hrlrec_tf.data.transform import vocabulary_sizes
from hrlrec_tf.errors import DataError
from hrlrec_tf.features import FeatureSpec

Batch = dict[str, tf.Tensor]

_SHUFFLE_BUFFER = 20_000  # lists
_INTERLEAVED_FILES = 8


class SessionReader:
    """Turns serialized session Examples into dense batches of ids and numbers.

    Attributes:
      spec: the sessions' features.
      sizes: vocabulary name -> number of ids.
    """

    def __init__(self, schema: schema_pb2.Schema, transform_dir: str) -> None:
        """Args: the sessions' schema and a TensorFlow Transform output folder fitted on such sessions."""
        self.spec: FeatureSpec = from_schema(schema)
        self._feature_spec = schema_utils.schema_as_feature_spec(schema).feature_spec
        self._transform = tft.TFTransformOutput(transform_dir)
        self._layer = self._transform.transform_features_layer()
        self.sizes = vocabulary_sizes(self._transform, self.spec)

    @property
    def layer(self) -> tf.keras.Model:
        """The transform graph as a Keras layer, to be tracked by an exported module."""
        return self._layer

    def vocabulary(self, name: str) -> list[str]:
        """Known values of a vocabulary, in the order of their ids from 1."""
        return [value.decode("utf-8") for value in self._transform.vocabulary_by_name(name)]

    def parse(self, examples: tf.Tensor) -> dict[str, tf.Tensor | tf.SparseTensor]:
        """Raw session features of serialized Examples [B]."""
        return tf.io.parse_example(examples, self._feature_spec)

    def transform(self, raw: Mapping[str, tf.Tensor | tf.SparseTensor]) -> Batch:
        """Ids and numbers of raw features.

        Request features come as [B], history as [B, H], profile as [B, P], item features as [B, rows], whether these are a
        list's T or any number of candidates; tags have one rank more, K.
        """
        return {name: self._shape(name, values) for name, values in self._layer(dict(raw)).items()}

    def read(self, examples: tf.Tensor) -> Batch:
        """`parse`, then `transform`: a batch of displayed lists, so that the number of rows is T."""
        batch = self.transform(self.parse(examples))
        length = self.spec.list_length
        for name in self.spec.list_rows.keys() & batch.keys():
            batch[name] = tf.ensure_shape(batch[name], [None, length, self.spec.max_tags][: batch[name].shape.rank])
        return batch

    def dataset(self, files: Sequence[str], batch_size: int, shuffle_seed: int | None = None) -> tf.data.Dataset:
        """Batches of the sessions in `files`.

        Args:
          files: gzipped TFRecord files.
          batch_size: lists per batch; the last one may be smaller.
          shuffle_seed: order of files and lists; None keeps the stored order.

        Raises:
          DataError: there are no files.
        """
        records = session_records(files, shuffle_seed)
        return records.batch(batch_size).map(self.read, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    def _shape(self, name: str, values: tf.Tensor | tf.SparseTensor) -> tf.Tensor:
        if isinstance(values, tf.SparseTensor):
            values = tf.sparse.to_dense(values)
        if name in self.spec.request:
            return tf.reshape(values, [-1])
        if name in ("tags", "history_tags"):
            rows = self.spec.history_length if name == "history_tags" else -1
            return tf.reshape(values, [tf.shape(values)[0], rows, self.spec.max_tags])
        return values


def session_records(files: Sequence[str], shuffle_seed: int | None = None) -> tf.data.Dataset:
    """Serialized session Examples of gzipped TFRecord files; see `SessionReader.dataset`."""
    files = sorted(files)
    if not files:
        raise DataError("there are no session files; run hrlrec prepare first and name its output folder with --data")
    if shuffle_seed is None:
        return tf.data.TFRecordDataset(files, compression_type="GZIP")
    names = tf.data.Dataset.from_tensor_slices(files).shuffle(len(files), seed=shuffle_seed)
    records = names.interleave(
        lambda file: tf.data.TFRecordDataset(file, compression_type="GZIP"),
        cycle_length=_INTERLEAVED_FILES,
        deterministic=True,
    )
    return records.shuffle(_SHUFFLE_BUFFER, seed=shuffle_seed, reshuffle_each_iteration=False)
