"""What all formulas have in common."""

from typing import Any, ClassVar

import tensorflow as tf

from hrlrec_tf.baselines.ctr import config
from hrlrec_tf.baselines.ctr.inputs import Fields, Rows
from hrlrec_tf.settings import build


class Formula(tf.keras.layers.Layer):
    """The click logit of a row.

    Args:
      fields: of a row.
      network: sizes of this formula, of type `NETWORK`.
      l2: lambda of all embeddings and linear weights.

    Call:
      rows: as `FieldTable` takes them. Returns [R].
    """

    NETWORK: ClassVar[type] = config.LinearConfig

    def __init__(self, fields: Fields, network: Any, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fields, self.network, self.l2 = fields, network, l2
        self.make(fields, network, l2)

    def make(self, fields: Fields, network: Any, l2: float) -> None:
        """Makes the formula's layers."""
        raise NotImplementedError

    def call(self, rows: Rows, training: bool = False) -> tf.Tensor:
        raise NotImplementedError

    def get_config(self) -> dict:
        settings = {name: getattr(self.network, name) for name in self.network.__dataclass_fields__}
        return {**super().get_config(), "fields": self.fields.to_dict(), "network": settings, "l2": self.l2}

    @classmethod
    def from_config(cls, values: dict) -> "Formula":
        """Inverse of `get_config`."""
        network = build("network", cls.NETWORK, values["network"])
        return cls(**{**values, "fields": Fields.from_dict(values["fields"]), "network": network})
