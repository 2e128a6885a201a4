"""The items that a feed can show, with their features: read from prepared sessions or from a file, and checked."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from hrlrec_tf import features
from hrlrec_tf.data import requests
from hrlrec_tf.errors import DataError
from hrlrec_tf.features import FeatureSpec, Kind

_READERS: Mapping[str, Callable[..., pd.DataFrame]] = {
    ".parquet": pd.read_parquet,
    ".csv": lambda path: pd.read_csv(path, dtype=str, keep_default_na=False),
    ".jsonl": lambda path: pd.read_json(path, lines=True, dtype=False, convert_dates=False),
}


@dataclasses.dataclass(frozen=True)
class ItemCatalogue:
    """Items and their features.

    Attributes:
      columns: features of `FeatureSpec.item` by name, [items] each: strings, tags joined; numeric ones as float32.
    """

    columns: Mapping[str, npt.NDArray]

    def __len__(self) -> int:
        return len(self.columns["item_id"])

    @classmethod
    def read(cls, path: str | os.PathLike[str], spec: FeatureSpec) -> "ItemCatalogue":
        """Reads the items of a model.

        Args:
          path: prepared sessions, of which each item counts as displayed last, or a Parquet, CSV or JSONL file with the
            columns `item_id`, `channel`, `tags` (a list or one string, may be left out) and the model's `item_*`.
          spec: the model's features.

        Raises:
          DataError: it is none of these, a column is missing or of a wrong type, an id stands twice, or no item is in
            it; names the column and row.
        """
        path = pathlib.Path(path)
        if path.is_dir():
            rows = requests.Catalogue.from_sessions(path).latest()
        elif path.suffix in _READERS and path.exists():
            try:
                rows = _READERS[path.suffix](path)
            except (ValueError, OSError) as error:
                raise DataError(
                    f"{path}: cannot be read as {path.suffix[1:]} ({str(error).splitlines()[0]})"
                ) from error
        else:
            raise DataError(
                f"{path}: an item catalogue is a folder of `hrlrec prepare` or a file that ends with "
                f"{', '.join(_READERS)}; name one"
            )
        return cls.of_frame(rows, spec, str(path))

    @classmethod
    def of_frame(cls, rows: pd.DataFrame, spec: FeatureSpec, source: str) -> "ItemCatalogue":
        """Checks rows of items; arguments and errors as in `read`, which `source` names."""
        if "tags" not in rows:
            rows = rows.assign(tags="")
        missing = [name for name in spec.item if name not in rows]
        if missing:
            raise DataError(f"{source}: lacks the column {missing[0]}, which the model reads of every item; add it")
        if rows.empty:
            raise DataError(f"{source}: holds no items; give at least one row")
        columns = {
            name: _numbers(rows[name], source) if kind is Kind.FLOAT else _texts(rows[name], source)
            for name, kind in spec.item.items()
        }
        for name in ("item_id", "channel"):
            absent = np.flatnonzero(columns[name] == "")
            if len(absent):
                raise DataError(f"{source}: {name} is empty in row {absent[0] + 1}; every item needs one")
        odd = np.flatnonzero([any(sign in text for sign in "\n\r") for text in columns["item_id"]])
        if len(odd):
            raise DataError(f"{source}: item_id holds a line break in row {odd[0] + 1}; take it out")
        twice = np.flatnonzero(pd.Series(columns["item_id"]).duplicated())
        if len(twice):
            name, row = columns["item_id"][twice[0]], twice[0] + 1
            raise DataError(f"{source}: item_id {name!r} stands twice, again in row {row}; keep one row")
        return cls(columns)


def _texts(column: pd.Series, source: str) -> npt.NDArray:
    """Strings; a list is joined, an absent value is ""."""
    values = np.empty(len(column), object)
    for row, value in enumerate(column):
        if isinstance(value, (list, tuple, np.ndarray)) and column.name == "tags":
            value = features.TAG_SEPARATOR.join(map(str, value))
        elif value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
            value = ""
        elif isinstance(value, (int, np.integer)) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise DataError(f"{source}: {column.name} must be text, got {value!r} in row {row + 1}; write a string")
        values[row] = value
    return values


def _numbers(column: pd.Series, source: str) -> npt.NDArray[np.float32]:
    """Numbers; an absent one is NaN, which reads as the mean."""
    numbers = pd.to_numeric(column.replace("", np.nan) if column.dtype == object else column, errors="coerce")
    given = column.notna() & (column.astype(str) != "")
    wrong = np.flatnonzero(numbers.isna() & given & (column.astype(str).str.lower() != "nan"))
    if len(wrong):
        raise DataError(
            f"{source}: {column.name} must be a number, got {column.iloc[wrong[0]]!r} in row {wrong[0] + 1}; write one "
            "or leave it empty"
        )
    return numbers.to_numpy(np.float32)
