"""Scored rows of one or several models, any number of them: in memory while few, else in part files by user.

A row takes 37 bytes per model: ids are 64-bit hashes (two of a million users share one with a chance of 3e-8). All
rows of a user are in one part, so what concerns a user or a list is exact within a part, and a part of a 64th of the
rows is all that is in memory at a time.
"""

import dataclasses
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pandas as pd

from hrlrec_tf.errors import DataError
from hrlrec_tf.evaluation import metrics, packing

WHOLE_ROWS = 2_000_000  # of a model, up to which all rows are one part, and AUC is exact
_PARTS = 64
_BUFFER_ROWS = 1 << 21  # of all models, held before they go to files
_KEY = ["user", "request", "position", "label"]


@dataclasses.dataclass(frozen=True)
class Part:
    """All rows of some users, in order of user, list and position.

    Attributes:
      users: U, how many users.
      lists: how many lists.
      user: [N] from 0 to `users` - 1.
      list: [N] from 0 to `lists` - 1.
      label: [N] clicked.
      slices: dimension -> [N] place of the row's slice in `Store.slices`; -1 where it is unknown.
      predictions: model -> [N].
    """

    users: int
    lists: int
    user: npt.NDArray[np.int64]
    list: npt.NDArray[np.int64]
    label: npt.NDArray[np.bool_]
    slices: Mapping[str, npt.NDArray[np.int64]]
    predictions: Mapping[str, npt.NDArray[np.float64]]


class Store:
    """Collects scored rows of models and gives them back part by part; a context that removes its files at the end.

    Args:
      folder: where the temporary folder is made: 37 bytes per row and model; None for the system's ($TMPDIR).
    """

    def __init__(self, folder: str | None = None) -> None:
        self._parent = folder
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._buffer: dict[str, list[npt.NDArray[np.void]]] = {}
        self._buffered = 0
        self._channels: dict[str, int] = {}
        self._outside: set[str] = set()
        self.rows: dict[str, int] = {}
        self.has_history = True

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._buffer.clear()
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def models(self) -> list[str]:
        """Names of the models, in the order of their first rows."""
        return list(self.rows)

    @property
    def whole(self) -> bool:
        """Whether all rows are one part."""
        return max(self.rows.values(), default=0) <= WHOLE_ROWS

    @property
    def slices(self) -> dict[str, list[str]]:
        """Dimension -> names of its slices; `Part.slices` counts in these."""
        found = {"channel": list(self._channels)} if self._channels else {}
        found["position"] = list(metrics.POSITION_GROUPS)
        return found | ({"activity": list(metrics.ACTIVITY_GROUPS)} if self.has_history else {})

    def in_unit_interval(self, model: str) -> bool:
        """Whether all predictions of a model are in [0, 1], as probabilities are."""
        return model not in self._outside

    def add(self, model: str, rows: pd.DataFrame) -> None:
        """Adds rows of a model; a frame without rows makes the model known.

        Args:
          model: its name.
          rows: columns `packing.REQUIRED`, and `packing.OPTIONAL` for slices by channel and by user activity (as the
            first model's rows have them); see `scoring.score_sessions`.

        Raises:
          DataError: a column is missing, a label is not 0 or 1, or a prediction is not finite.
        """
        packed = packing.pack(model, rows, self._channels)
        self.rows[model] = self.rows.get(model, 0) + len(packed)
        if model == self.models[0]:
            self.has_history &= "history_impressions" in rows
        if len(packed) and not 0 <= packed["prediction"].min() <= packed["prediction"].max() <= 1:
            self._outside.add(model)
        self._buffer.setdefault(model, []).append(packed)
        self._buffered += len(packed)
        if self._buffered >= _BUFFER_ROWS:
            self._flush()

    def parts(self) -> Iterator[Part]:
        """All parts, the same ones in every call.

        Raises:
          DataError: two models' rows are not the same.
        """
        self._check_counts()
        if self._folder is not None or not self.whole:
            self._flush()
        for place in [None] if self.whole else range(_PARTS):
            part = self._part(place)
            if part is not None:
                yield part

    def _flush(self) -> None:
        """Appends what is in memory to the part files."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="hrlrec-evaluate-", dir=self._parent)
        for model, chunks in self._buffer.items():
            rows = np.concatenate(chunks) if chunks else np.zeros(0, packing.ROW)
            part = (rows["user"] % np.uint64(_PARTS)).astype(np.int64)
            ordered = rows[np.argsort(part, kind="stable")]
            ends = np.cumsum(np.bincount(part, minlength=_PARTS))
            for place, chunk in enumerate(np.split(ordered, ends[:-1])):
                with open(self._file(model, place), "ab") as file:
                    chunk.tofile(file)
            chunks.clear()
        self._buffered = 0

    def _file(self, model: str, place: int) -> pathlib.Path:
        assert self._folder is not None
        return pathlib.Path(self._folder.name) / f"{self.models.index(model)}-{place}"

    def _read(self, model: str, place: int | None) -> npt.NDArray[np.void]:
        """Rows of one part, or of all, in order."""
        places = range(_PARTS) if place is None else [place]
        if self._folder is None:
            chunks = self._buffer[model]
            rows = np.concatenate(chunks) if chunks else np.zeros(0, packing.ROW)
        else:
            rows = np.concatenate([np.fromfile(self._file(model, each), packing.ROW) for each in places])
        return rows[np.lexsort((rows["position"], rows["request"], rows["user"]))]

    def _part(self, place: int | None) -> Part | None:
        first, predictions = self.models[0], {}
        for model in self.models:
            rows = self._read(model, place)
            if model == first:
                keys = rows
            elif len(rows) != len(keys) or any((rows[name] != keys[name]).any() for name in _KEY):
                raise self._other_rows(model)
            predictions[model] = np.ascontiguousarray(rows["prediction"])
        if not len(keys):
            return None
        user = np.cumsum(_changes(keys["user"])) - 1
        lists = np.cumsum(_changes(keys["user"]) | _changes(keys["request"])) - 1
        slices = {"channel": keys["channel"].astype(np.int64)} if self._channels else {}
        slices["position"] = metrics.position_codes(keys["position"])
        if self.has_history:
            slices["activity"] = metrics.activity_codes(keys["history"])
        return Part(int(user[-1]) + 1, int(lists[-1]) + 1, user, lists, keys["label"].astype(bool), slices, predictions)

    def _check_counts(self) -> None:
        for model, rows in self.rows.items():
            if rows != self.rows[self.models[0]]:
                raise self._other_rows(model)

    def _other_rows(self, model: str) -> DataError:
        first = self.models[0]
        return DataError(
            f"{model} holds other rows (user_id, request_id, position, label) than {first}: {self.rows[model]:,} and "
            f"{self.rows[first]:,} rows; evaluate both on the same split of the same sessions"
        )


def _changes(ordered: np.ndarray) -> npt.NDArray[np.bool_]:
    """Where a value differs from the one before; the first does."""
    changed = np.ones(len(ordered), bool)
    changed[1:] = ordered[1:] != ordered[:-1]
    return changed
