"""Rows of sessions as fields: what HRL-Rec sees of a displayed row, and the user's id, for models of single rows.

The user's id and columns, hour, weekday and position, the request's columns, the item's id, channel, columns and tags;
with history also pooled counts, see `history`. All of it was known before the list was shown.
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from hrlrec_tf import features
from hrlrec_tf.baselines.ctr import history, history_lr
from hrlrec_tf.baselines.ctr.config import CtrConfig, InputConfig
from hrlrec_tf.baselines.ctr.inputs import Fields
from hrlrec_tf.data.input import Batch
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.features import FeatureSpec, Kind
from hrlrec_tf.networks.embeddings import hour_of_day, weekday


class SessionRows:
    """Makes the rows that a model reads.

    Args:
      spec: the sessions' features.
      sizes: vocabulary name -> number of ids.
      names: features to use; none: all.
      groups: of pooled history, see `history.GROUPS`.

    Attributes:
      fields: of a row; numbers of the log, then those of history.
      groups: of pooled history.

    Raises:
      ConfigError: the sessions lack a feature that `names` asks for.
    """

    def __init__(
        self, spec: FeatureSpec, sizes: Mapping[str, int], names: Sequence[str] = (), groups: Sequence[str] = ()
    ) -> None:
        self.groups, self._spec = tuple(groups), spec
        known = _fields(spec, sizes)
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ConfigError(
                f"inputs.fields names {', '.join(unknown)}, which these sessions do not have; choose among "
                f"{', '.join(known)}"
            )
        chosen = {name: size for name, size in known.items() if not names or name in names}
        self._numbers = [name for name, size in chosen.items() if size is None]
        self.fields = Fields(
            sizes={name: size for name, size in chosen.items() if size is not None},
            numeric=(*self._numbers, *(name for group in groups for name in history.names(group))),
            tags=spec.max_tags if "tags" in chosen else 0,
        )

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Rows of transformed sessions.

        Returns:
          As far as there are such fields: `ids` [B, T, C] int32, see `FieldTable`; `numbers` [B, T, M];
          `counts` [B, T, G, 2].
        """
        rows = {}
        if self.fields.sizes:
            columns = [self._column(batch, name) + start for name, start in self.fields.offsets.items()]
            rows["ids"] = tf.cast(tf.concat(columns, axis=-1), tf.int32)
        if self._numbers:
            rows["numbers"] = tf.concat([self._column(batch, name) for name in self._numbers], axis=-1)
        if self.groups:
            rows["counts"] = tf.stack([history.history_counts(batch, group) for group in self.groups], axis=2)
        return rows

    def _column(self, batch: Batch, name: str) -> tf.Tensor:
        """[B, T, 1], tags [B, T, K]."""
        if name == "tags":
            return batch[name]
        if name == "position":
            values = tf.clip_by_value(batch[name], 0, self._spec.list_length + 1)
        elif name in ("hour", "weekday"):
            values = (hour_of_day if name == "hour" else weekday)(batch["timestamp"])
        else:
            values = batch[name]
        if values.shape.rank == 1:
            values = tf.repeat(values[:, tf.newaxis], tf.shape(batch["channel"])[1], axis=1)
        return values[:, :, tf.newaxis]


def of_model(model: str, config: CtrConfig, spec: FeatureSpec, sizes: Mapping[str, int]) -> SessionRows:
    """The rows that a model reads under some settings.

    Raises:
      ConfigError, DataError: the sessions lack what the model or its settings ask for.
    """
    if isinstance(config.inputs, InputConfig):
        return SessionRows(spec, sizes, config.inputs.fields, history.GROUPS if config.inputs.history else ())
    history_lr.check(spec)
    return SessionRows(spec, sizes, history_lr.FIELDS, history_lr.GROUPS)


def _fields(spec: FeatureSpec, sizes: Mapping[str, int]) -> dict[str, int | None]:
    """Every field of a row: its number of ids, or None for a number; `tags` last."""
    own = {"hour": 24, "weekday": 7, "position": spec.list_length + 2}
    names = [
        *("user_id", *spec.columns(features.USER_PREFIX)),
        *("hour", "weekday", "position", *spec.columns(features.CONTEXT_PREFIX)),
        *("item_id", "channel", *spec.columns(features.ITEM_PREFIX), "tags"),
    ]
    numeric = {name for name, kind in spec.optional.items() if kind is Kind.FLOAT}
    return {name: None if name in numeric else own.get(name) or sizes[name] for name in names}
