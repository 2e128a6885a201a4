"""Sessions as training batches: parse, look up, shape.

The same transform graph runs here, in evaluation and inside the exported model, so training and serving cannot skew.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import schema_utils

from hrlrec_tf.data.schema import from_schema
from hrlrec_tf.data.transform import item_impressions, vocabulary_sizes
from hrlrec_tf.errors import ConfigError, DataError
from hrlrec_tf.features import FeatureSpec

Batch = dict[str, tf.Tensor]

_SHUFFLE_BUFFER = 20_000  # lists
_KEPT_BYTES = 64 << 20  # compressed size up to which a split stays in memory, about 10 times as large there
_KEPT_LISTS = 1 << 30  # more than such a split can hold: one batch of everything
_INTERLEAVED_FILES = 8


class SessionReader:
    """Turns serialized session Examples into dense batches of ids and numbers.

    Attributes:
      spec: the sessions' features.
      sizes: vocabulary name -> number of ids.
    """

    def __init__(self, schema: schema_pb2.Schema, transform_dir: str) -> None:
        """Args: the sessions' schema and a TensorFlow Transform output folder fitted on such sessions."""
        self._made_of = schema, transform_dir
        self.spec: FeatureSpec = from_schema(schema)
        self._feature_spec = schema_utils.schema_as_feature_spec(schema).feature_spec
        self._transform = tft.TFTransformOutput(transform_dir)
        self._layer = self._transform.transform_features_layer()
        self.sizes = vocabulary_sizes(self._transform, self.spec)

    def reopen(self) -> "SessionReader":
        """The same with look-up tables of its own: where the strategy of tf.distribute around this call wants them."""
        return SessionReader(*self._made_of)

    @property
    def layer(self) -> tf.keras.Model:
        """The transform graph as a Keras layer, to be tracked by an exported module."""
        return self._layer

    def sizes_for(self, min_item_impressions: int) -> dict[str, int]:
        """`sizes` where only items that the training lists show this often have an id of their own.

        Ids follow how often an item was shown, so those of the others are the largest.

        Raises:
          ConfigError: item ids are hashed, or unknown items have several.
        """
        if not min_item_impressions:
            return dict(self.sizes)
        if self.spec.id_rule("item_id").unknown > 1 or self.spec.id_rule("item_id").kind == "hashed":
            raise ConfigError(
                f"network.min_item_impressions is {min_item_impressions}, which needs a vocabulary of items with one "
                "id for all others; set it to 0 and give `ids: {item_id: ...}` of dataset.yaml a min_count instead"
            )
        known = int((item_impressions(self._transform) >= min_item_impressions).sum())
        return {**self.sizes, "item_id": known + 2}

    def vocabulary(self, name: str) -> list[str]:
        """Known values of a vocabulary, in the order of their ids from 1; none where ids are hashed."""
        if self.spec.id_rule(name).kind == "hashed":
            return []
        return [value.decode("utf-8") for value in self._transform.vocabulary_by_name(name)]

    def parse(self, examples: tf.Tensor, names: Iterable[str] | None = None) -> dict[str, tf.Tensor | tf.SparseTensor]:
        """Raw session features of serialized Examples [B]; all of them, or those of `names`."""
        wanted = self._feature_spec if names is None else {name: self._feature_spec[name] for name in names}
        return tf.io.parse_example(examples, wanted)

    def transform(self, raw: Mapping[str, tf.Tensor | tf.SparseTensor]) -> Batch:
        """Ids and numbers of raw features.

        Request features come as [B], history as [B, H], profile as [B, P], item features as [B, rows], whether these
        are a list's T or any number of candidates; tags have one rank more, K.
        """
        return {name: self._shape(name, values) for name, values in self._layer(dict(raw)).items()}

    def transform_lists(self, raw: Mapping[str, tf.Tensor | tf.SparseTensor]) -> Batch:
        """`transform` for displayed lists, so that the number of rows is T."""
        batch, length = self.transform(raw), self.spec.list_length
        for name in self.spec.list_rows.keys() & batch.keys():
            batch[name] = tf.ensure_shape(batch[name], [None, length, self.spec.max_tags][: batch[name].shape.rank])
        return batch

    def read(self, examples: tf.Tensor) -> Batch:
        """`parse`, then `transform_lists`."""
        return self.transform_lists(self.parse(examples))

    def _shape(self, name: str, values: tf.Tensor | tf.SparseTensor) -> tf.Tensor:
        if isinstance(values, tf.SparseTensor):
            values = tf.sparse.to_dense(values)
        if name in self.spec.request:
            return tf.reshape(values, [-1])
        if name in ("tags", "history_tags"):
            rows = self.spec.history_length if name == "history_tags" else -1
            return tf.reshape(values, [tf.shape(values)[0], rows, self.spec.max_tags])
        return values


class Share(NamedTuple):
    """The lists of an epoch that one of several workers reads: every `workers`-th, from the `place`-th on.

    Workers that share an epoch must be given the same files and seed. `place` may be a tensor.
    """

    place: int | tf.Tensor
    workers: int


class SessionDataset:
    """The sessions of one split, read once per epoch; a small split is looked up once and then kept in memory.

    Args:
      reader: of the sessions.
      files: gzipped TFRecord files.
      kept_bytes: compressed size up to which they stay in memory.

    Raises:
      DataError: there are no files.
    """

    def __init__(self, reader: SessionReader, files: Sequence[str], kept_bytes: int = _KEPT_BYTES) -> None:
        self._reader, self._files = reader, list(files)
        records = session_records(files)
        size = sum(tf.io.gfile.stat(file).length for file in files)
        self._kept: Batch | None = None
        self._count: int | None = None
        if size <= kept_bytes:
            for whole in records.batch(_KEPT_LISTS).map(reader.read):
                self._kept = whole

    def count(self) -> int:
        """Number of lists; streamed files are read once to know it."""
        if self._count is None:
            if self._kept is None:
                one = session_records(self._files).map(lambda _: tf.constant(1, tf.int64))
                self._count = int(one.reduce(tf.constant(0, tf.int64), tf.add))
            else:
                self._count = int(self._kept["timestamp"].shape[0])
        return self._count

    def batches(self, batch_size: int, shuffle_seed: int, skip: int = 0, share: Share | None = None) -> tf.data.Dataset:
        """One epoch of batches of lists in an order that depends on the seed, without its first `skip` batches.

        The last batch may be smaller. A `share` of an epoch has no end: one of another order follows, so that workers
        whose shares or speeds differ can take steps together; every batch is full.
        """

        def cut(lists: tf.data.Dataset) -> tf.data.Dataset:
            own = lists if share is None else lists.shard(share.workers, share.place).repeat()
            return own.batch(batch_size).skip(skip)

        if self._kept is None:
            records = cut(session_records(self._files, shuffle_seed))
            batches = records.map(self._reader.read, num_parallel_calls=tf.data.AUTOTUNE)
        else:
            kept = self._kept
            lists = tf.data.Dataset.range(kept["timestamp"].shape[0])
            batches = cut(lists.shuffle(max(len(lists), 1), seed=shuffle_seed)).map(
                lambda chosen: _trim({name: tf.gather(values, chosen) for name, values in kept.items()})
            )
        return batches.prefetch(tf.data.AUTOTUNE)


def _trim(batch: Batch) -> Batch:
    """Drops the columns that are padding in the profiles of a whole batch."""
    for prefix in ("profile_channel", "profile_tag"):
        used = tf.reduce_max(tf.reduce_sum(tf.cast(batch[prefix] > 0, tf.int32), axis=-1))
        batch |= {name: values[:, :used] for name, values in batch.items() if name.startswith(prefix)}
    return batch


def session_records(files: Sequence[str], shuffle_seed: int | None = None) -> tf.data.Dataset:
    """Serialized session Examples.

    Args:
      files: gzipped TFRecord files.
      shuffle_seed: of the order of files and lists; None keeps the stored order.

    Raises:
      DataError: there are no files.
    """
    files = sorted(files)
    if not files:
        raise DataError("there are no session files; run hrlrec prepare first and name its output folder with --data")
    if shuffle_seed is None:
        return tf.data.TFRecordDataset(files, compression_type="GZIP")
    names = tf.data.Dataset.from_tensor_slices(files).shuffle(len(files), seed=shuffle_seed)
    records = names.interleave(
        lambda file: tf.data.TFRecordDataset(file, compression_type="GZIP"),
        cycle_length=_INTERLEAVED_FILES,
    )
    return records.shuffle(_SHUFFLE_BUFFER, seed=shuffle_seed, reshuffle_each_iteration=False)


def as_sparse(dense: tf.Tensor) -> tf.SparseTensor:
    """A dense tensor for `SessionReader.transform`; keeps every value, "" and 0 too, so that structure survives."""
    shape = tf.shape(dense, out_type=tf.int64)
    indices = tf.where(tf.fill(shape, True))
    return tf.SparseTensor(indices, tf.reshape(dense, [-1]), shape)
