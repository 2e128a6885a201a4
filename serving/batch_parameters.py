"""TensorFlow Serving's batching parameters file: how calls are joined into batches."""

import dataclasses
import os
from collections.abc import Mapping

from hrlrec_tf.errors import ConfigError
from serving import text_protos


@dataclasses.dataclass(frozen=True)
class BatchParameters:
    """How calls are joined into batches; the defaults are TensorFlow Serving's.

    Attributes:
      max_batch_size: rows of the largest call and, without splitting, of the largest batch.
      batch_timeout_micros: how long the first call of a batch waits for others.
      max_enqueued_batches: batches that may wait in one queue.
      num_batch_threads: batches that run at a time, of all queues together.
      thread_pool_name: what metrics call these threads.
      allowed_batch_sizes: a batch is padded to the next of these; empty for any size.
      pad_variable_length_inputs: pads inputs that differ in an inner dimension instead of refusing them.
      enable_large_batch_splitting: splits a call over several batches.
      max_execution_batch_size: rows of the largest batch where calls are split.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    thread_pool_name: str = "model_server_batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)} but must be at least 1; correct it")
        if self.batch_timeout_micros < 0:
            raise ConfigError(f"batch_timeout_micros is {self.batch_timeout_micros} but must be at least 0; correct it")
        if not 1 <= self.batch_rows <= self.max_batch_size:
            raise ConfigError(
                f"max_execution_batch_size is {self.batch_rows} but must lie between 1 and max_batch_size "
                f"({self.max_batch_size}); correct it"
            )
        sizes = self.allowed_batch_sizes
        if sizes and (list(sizes) != sorted(set(sizes)) or sizes[0] < 1 or sizes[-1] != self.batch_rows):
            raise ConfigError(
                f"allowed_batch_sizes are {list(sizes)} but must increase and end with the largest batch size "
                f"({self.batch_rows}); correct them"
            )

    @property
    def batch_rows(self) -> int:
        """Rows of the largest batch that runs."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size is not None:
            return self.max_execution_batch_size
        return self.max_batch_size

    def padded(self, rows: int) -> int:
        """The allowed batch size that `rows` are padded to."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


def read(path: str | os.PathLike[str]) -> BatchParameters:
    """Reads a batching parameters file; raises `ConfigError` naming the file and the field."""
    message = text_protos.read(path, text_protos.BatchingParameters())
    values: dict[str, object] = {}
    for field, value in message.ListFields():
        values[field.name] = value.value if hasattr(value, "value") else value
    values["allowed_batch_sizes"] = tuple(message.allowed_batch_sizes)
    return _checked(path, values)


def _checked(path: str | os.PathLike[str], values: Mapping[str, object]) -> BatchParameters:
    try:
        return BatchParameters(**values)  # type: ignore[arg-type]
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
