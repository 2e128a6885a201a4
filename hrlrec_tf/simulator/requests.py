"""Who asks for a list, when, on what, in which mood."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class Requests:
    """A batch of feed requests of one day, at most one per user. All arrays are [requests].

    Attributes:
      day: from 0.
      users: indices.
      numbers: how many lists the user has had on this day before.
      devices: index into DEVICES.
      moods: the topic that the user is in the mood for.
      timestamps: ms UTC.
    """

    day: int
    users: IntArray
    numbers: IntArray
    devices: npt.NDArray[np.int8]
    moods: IntArray
    timestamps: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, rows: slice | npt.NDArray) -> "Requests":
        """Some of the requests."""
        arrays = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        day = arrays.pop("day")
        return Requests(day, **{name: values[rows] for name, values in arrays.items()})

    @classmethod
    def concat(cls, parts: Sequence["Requests"]) -> "Requests":
        """Requests of one day after each other; at least one part."""
        names = [field.name for field in dataclasses.fields(cls) if field.name != "day"]
        return cls(parts[0].day, **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
