"""Bounds on how many rows of a list each channel gets, kept while the list is built.

```yaml
news: {at_least: 2}             # a floor: exposure that a channel is promised
advertisement: {at_most: 3}     # a cap
video: {at_least: 1, at_most: 5}
```

A floor that needs all the rows that are left takes them. Where too few candidates are left the list comes first: a
floor gives way to what there is, a cap where nothing else could be shown.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

import tensorflow as tf
import yaml

from hrlrec_tf.errors import ConfigError

_BOUNDS = ("at_least", "at_most")

Rule = Callable[[tf.Tensor, int], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Quotas:
    """Rows of a list by channel.

    Attributes:
      bounds: channel -> smallest and largest number of rows.
    """

    bounds: Mapping[str, tuple[int, int]]

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], list_length: int, channels: Collection[str] | None = None
    ) -> "Quotas":
        """Reads a YAML file.

        Args:
          path: of the file.
          list_length: T. channels: the model's; None where there is no model yet.

        Raises:
          ConfigError: it is no such file, or no list of T rows could keep it; names the channel.
        """
        try:
            given = yaml.safe_load(pathlib.Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"{path}: cannot be read as YAML ({str(error).splitlines()[0]}); see --help") from error
        if not isinstance(given, dict) or not given:
            raise ConfigError(f"{path}: must map channels to at_least and at_most, for instance news: {{at_least: 2}}")
        bounds = {str(name): _bounds(path, name, each, list_length, channels) for name, each in given.items()}
        promised = sum(least for least, _ in bounds.values())
        if promised > list_length:
            raise ConfigError(
                f"{path}: the channels' at_least sum to {promised}, but a list has {list_length} rows; lower some"
            )
        return cls(bounds)

    def rule(self, channel: tf.Tensor, first: tf.Tensor) -> Rule:
        """Which candidates the quotas leave.

        Args:
          channel: [B, N] string. first: [B, N] bool, what is available before the first row, nothing twice.

        Returns:
          From what is still available [B, N] bool and the number of rows left, the next one included, to what of it may
          be shown there [B, N] bool.
        """
        least, most = (tf.constant([each[i] for each in self.bounds.values()], tf.float32) for i in (0, 1))
        members = tf.cast(channel[..., tf.newaxis] == tf.constant(list(self.bounds)), tf.float32)  # [B, N, Q]
        at_first = _sizes(members, first)

        def allowed(available: tf.Tensor, rows: int) -> tf.Tensor:
            left = _sizes(members, available)
            shown = at_first - left
            owed = tf.minimum(tf.maximum(least - shown, 0.0), left)
            full = _among(members, shown >= most)
            only_owed = tf.reduce_sum(owed, axis=-1, keepdims=True) >= rows
            kept = available & ~full & (_among(members, owed > 0) | ~only_owed)
            return tf.where(tf.reduce_any(kept, axis=-1, keepdims=True), kept, available)

        return allowed


def read_text(path: str | os.PathLike[str] | None, list_length: int) -> str:
    """A file of quotas as text, checked as far as it can be before there is a model; "" where there is none."""
    if path is None:
        return ""
    Quotas.from_file(path, list_length)
    return pathlib.Path(path).read_text(encoding="utf-8")


def write_text(text: str, folder: str) -> str | None:
    """Writes what `read_text` gave into a folder; returns the file, None where there is nothing to write."""
    if not text:
        return None
    path = pathlib.Path(folder, "quotas.yaml")
    path.write_text(text, encoding="utf-8")
    return str(path)


def _bounds(
    path: str | os.PathLike[str], name: Any, given: Any, list_length: int, channels: Collection[str] | None
) -> tuple[int, int]:
    if channels is not None and name not in channels:
        raise ConfigError(f"{path}: channel {name!r} is unknown to the model; it knows {', '.join(sorted(channels))}")
    if not isinstance(given, dict) or not given or set(given) - set(_BOUNDS):
        raise ConfigError(f"{path}: {name} must hold at_least, at_most or both, got {given!r}")
    least, most = given.get("at_least", 0), given.get("at_most", list_length)
    for bound, value in zip(_BOUNDS, (least, most), strict=True):
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= list_length:
            raise ConfigError(
                f"{path}: {name}.{bound} must be a whole number from 0 to the list's {list_length}, got {value!r}"
            )
    if least > most:
        raise ConfigError(f"{path}: {name} has at_least {least} above at_most {most}; lower the one or raise the other")
    return least, most


def _sizes(members: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """How many of each channel are in a mask [B, N]: [B, Q]."""
    return tf.linalg.matvec(members, tf.cast(mask, tf.float32), transpose_a=True)


def _among(members: tf.Tensor, channels: tf.Tensor) -> tf.Tensor:
    """Which candidates are of one of `channels` [B, Q] bool: [B, N] bool."""
    return tf.linalg.matvec(members, tf.cast(channels, tf.float32)) > 0
