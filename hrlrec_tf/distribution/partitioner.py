"""Which weights are spread over parameter servers: the embedding tables, and nothing else."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

_TABLE = "embeddings"  # name of the weights of Keras' Embedding layer
_SMALLEST_SHARD = 1 << 18  # bytes; a look-up asks every server, which a small table does not repay


class EmbeddingPartitioner:
    """Splits embedding tables by rows, one shard per server where each gets enough; other weights stay whole.

    A partitioner of tf.distribute is told shapes alone, by which a table cannot be told from a kernel, and shards of a
    GRU kernel cannot be multiplied with. `watch` notes the name of each variable before the strategy asks.

    Args:
      servers: number of parameter servers. smallest_shard: bytes.
    """

    def __init__(self, servers: int, smallest_shard: int = _SMALLEST_SHARD) -> None:
        self._servers, self._smallest_shard = servers, smallest_shard
        self._table = False

    def __call__(self, shape: tf.TensorShape, dtype: tf.DType, **_: Any) -> list[int]:
        """Number of shards along each axis of the variable that is being made."""
        shape = tf.TensorShape(shape)
        whole = [1] * len(shape)
        if not self._table:
            return whole
        shards = min(self._servers, shape.num_elements() * dtype.size // self._smallest_shard, shape[0])
        return [max(shards, 1), *whole[1:]]

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Variables made inside may be split. Enter it inside the scope of the strategy."""

        def creator(next_creator: Callable[..., tf.Variable], **kwargs: Any) -> tf.Variable:
            self._table = str(kwargs.get("name")).split("/")[-1] == _TABLE
            try:
                return next_creator(**kwargs)
            finally:
                self._table = False

        with tf.variable_creator_scope(creator):
            yield
