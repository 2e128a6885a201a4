"""Feature tower (Sec. 3.2): one embedding of an item, a user or a context, from its raw features."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from hrlrec_tf.errors import ConfigError
from hrlrec_tf.networks.checks import check_choice, check_size


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class FeatureTower(tf.keras.layers.Layer):
    """Sum of the embeddings of one group of features: the item tower, and the towers of users and contexts.

    Args:
      sizes: categorical feature -> number of ids (0 is padding).
      numeric: numeric features.
      dim: D, the embedding's size.
      mask_zero: categorical feature whose id 0 marks a padding row, which makes the Keras mask [...] of the result; by
        default there is none. (`tags` cannot: a row may have none.)

    Call:
      rows: feature -> tensor of one shape [...] (`tags`: [..., K]); int ids or float numbers. Others are ignored.
      Returns [..., D].

    Raises:
      ConfigError: there is no feature, rows lack one, a size is none, or `mask_zero` names no categorical feature.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        numeric: Sequence[str] = (),
        dim: int = 32,
        mask_zero: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.sizes, self.numeric, self.dim, self.mask_zero = dict(sizes), tuple(numeric), dim, mask_zero
        self._check()
        self.tables = {
            name: tf.keras.layers.Embedding(
                size,
                dim,
                embeddings_initializer=tf.keras.initializers.RandomNormal(stddev=0.05),
                dtype=self.dtype_policy,
                name=name,
            )
            for name, size in self.sizes.items()
        }
        self.numeric_vectors = (
            tf.keras.layers.Dense(dim, use_bias=False, dtype=self.dtype_policy, name="numeric")
            if self.numeric
            else None
        )

    def _check(self) -> None:
        check_size("FeatureTower", "dim", self.dim)
        for name, size in self.sizes.items():
            check_size("FeatureTower", f"the size of {name!r}", size)
        if not self.sizes and not self.numeric:
            raise ConfigError("FeatureTower: it needs at least one feature, got none; name some in sizes or numeric")
        if self.mask_zero is not None:
            check_choice("FeatureTower", "mask_zero", self.mask_zero, [name for name in self.sizes if name != "tags"])

    def build(self, shapes: Mapping[str, tf.TensorShape]) -> None:
        missing = [name for name in (*self.sizes, *self.numeric) if name not in shapes]
        if missing:
            raise ConfigError(
                f"FeatureTower: rows must hold {', '.join((*self.sizes, *self.numeric))}, got {', '.join(shapes)}; "
                f"add {', '.join(missing)}"
            )
        super().build(shapes)

    def call(self, rows: Mapping[str, tf.Tensor]) -> tf.Tensor:
        parts = [self.look_up(name, rows[name]) for name in self.sizes]
        if self.numeric_vectors is not None:
            numbers = [tf.cast(rows[name], self.variable_dtype) for name in self.numeric]
            parts.append(self.numeric_vectors(tf.stack(numbers, axis=-1)))
        return tf.add_n(parts)

    def compute_mask(self, rows: Mapping[str, tf.Tensor], mask: Any = None) -> tf.Tensor | None:
        """Which rows are no padding: [...]; None without `mask_zero`."""
        return None if self.mask_zero is None else rows[self.mask_zero] != 0

    def look_up(self, name: str, ids: tf.Tensor) -> tf.Tensor:
        """Embedding of one categorical feature; for `tags` the mean over a row's tags."""
        embedded = self.tables[name](ids)
        if name != "tags":
            return embedded
        present = tf.cast(ids > 0, embedded.dtype)[..., tf.newaxis]
        return tf.math.divide_no_nan(tf.reduce_sum(embedded * present, -2), tf.reduce_sum(present, -2))

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "sizes": dict(self.sizes),
            "numeric": list(self.numeric),
            "dim": self.dim,
            "mask_zero": self.mask_zero,
        }
