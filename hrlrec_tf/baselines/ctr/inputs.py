"""What every formula starts from: a row's fields, their weights and their embeddings.

A *field* is one feature of a row: a categorical one (an id), `tags` (several ids, averaged), or a number. All ids
share one table, in which the ids of each field start at an offset of their own, so that one look-up serves a batch. A
number's embedding is the number times a learnt vector (Song et al. 2019, AutoInt, sec. 4.3).
"""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from hrlrec_tf.errors import ConfigError

Rows = Mapping[str, tf.Tensor]

_SPREAD = 1e-4  # of the first weights; BARS


@dataclasses.dataclass(frozen=True)
class Fields:
    """The fields of a row.

    Attributes:
      sizes: categorical field -> number of ids; `tags`, which a row has several of, comes last.
      numeric: names of the numbers.
      tags: how many tags a row carries, 0 for a row without tags.

    Raises:
      ConfigError: there is no field, or `tags` is given without a size, or not last.
    """

    sizes: Mapping[str, int]
    numeric: tuple[str, ...] = ()
    tags: int = 0

    def __post_init__(self) -> None:
        if not self.sizes and not self.numeric:
            raise ConfigError("a model needs at least one field, got none; name some in inputs.fields")
        if bool(self.tags) != ("tags" in self.sizes) or (self.tags and list(self.sizes)[-1] != "tags"):
            raise ConfigError(
                f"the field tags must be the last and come with a number of tags per row: got {', '.join(self.sizes)} "
                f"and {self.tags}"
            )

    @property
    def count(self) -> int:
        """F, all fields."""
        return len(self.sizes) + len(self.numeric)

    @property
    def ids(self) -> int:
        """V, ids of all fields together."""
        return sum(self.sizes.values())

    @property
    def offsets(self) -> dict[str, int]:
        """Categorical field -> where its ids start in the shared table."""
        starts = itertools.accumulate(self.sizes.values(), initial=0)
        return dict(zip(self.sizes, starts))  # noqa: B905 (one start more than fields)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"sizes": dict(self.sizes), "numeric": list(self.numeric), "tags": self.tags}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Fields":
        """Inverse of `to_dict`."""
        return cls(values["sizes"], tuple(values["numeric"]), values["tags"])


class FieldTable(tf.keras.layers.Layer):
    """One vector per field of each row.

    Args:
      fields: of a row.
      dim: D.
      l2: lambda; lambda / 2 times the squared norm of all vectors is the layer's loss (BARS).

    Call:
      rows: `ids` [R, C] int32 into the shared table, one column per categorical field but `tags`, then one per tag;
        `numbers` [R, M].
      Returns [R, F, D]: categorical fields, then numbers. A row without tags has zeros for them.
    """

    def __init__(self, fields: Fields, dim: int, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fields, self.dim, self.l2 = fields, dim, l2
        if fields.sizes:
            self.table = self._weight("table", fields.ids)
        if fields.numeric:
            self.vectors = self._weight("vectors", len(fields.numeric))

    def call(self, rows: Rows) -> tf.Tensor:
        parts = []
        if self.fields.sizes:
            found, singles = tf.gather(self.table, rows["ids"]), len(self.fields.sizes) - bool(self.fields.tags)
            parts.append(found[:, :singles])
            if self.fields.tags:
                parts.append(self._mean_tag(rows["ids"][:, singles:], found[:, singles:]))
        if self.fields.numeric:
            parts.append(rows["numbers"][:, :, tf.newaxis] * self.vectors)
        return tf.concat(parts, axis=1)

    def _weight(self, name: str, rows: int) -> tf.Variable:
        return self.add_weight(
            name,
            [rows, self.dim],
            initializer=tf.keras.initializers.RandomNormal(stddev=_SPREAD),
            regularizer=tf.keras.regularizers.L2(self.l2 / 2) if self.l2 else None,
        )

    def _mean_tag(self, ids: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        present = tf.cast(ids > self.fields.offsets["tags"], found.dtype)[:, :, tf.newaxis]
        total = tf.reduce_sum(found * present, axis=1, keepdims=True)
        return tf.math.divide_no_nan(total, tf.reduce_sum(present, axis=1, keepdims=True))

    def get_config(self) -> dict:
        return {**super().get_config(), "fields": self.fields.to_dict(), "dim": self.dim, "l2": self.l2}

    @classmethod
    def from_config(cls, config: dict) -> "FieldTable":
        """Inverse of `get_config`."""
        return cls(**{**config, "fields": Fields.from_dict(config["fields"])})


class LinearTerm(FieldTable):
    """w . x + b, the linear part of every formula: [R].

    Args:
      fields: of a row. l2: as for `FieldTable`. bias: whether there is a b; a formula with dense layers has theirs.
    """

    def __init__(self, fields: Fields, l2: float = 0.0, bias: bool = True, dim: int = 1, **kwargs: Any) -> None:
        super().__init__(fields, dim, l2, **kwargs)
        self.bias = self.add_weight("bias", [], initializer="zeros") if bias else None

    def call(self, rows: Rows) -> tf.Tensor:
        total = tf.reduce_sum(super().call(rows), axis=[1, 2])
        return total if self.bias is None else total + self.bias

    def get_config(self) -> dict:
        return {**super().get_config(), "bias": self.bias is not None}


def offset_ids(fields: Fields, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Ids of single-valued fields as `FieldTable` takes them: field -> ids [R] to int32 [R, C]."""
    return np.stack([columns[name] + start for name, start in fields.offsets.items()], axis=1).astype(np.int32)
