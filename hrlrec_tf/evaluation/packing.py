"""Scored rows in 37 bytes each: checked, ids as 64-bit hashes, channels as numbers."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from hrlrec_tf.errors import DataError

REQUIRED = ("request_id", "user_id", "position", "label", "prediction")
OPTIONAL = ("channel", "history_impressions")
ROW = np.dtype(
    [
        ("user", np.uint64),
        ("request", np.uint64),
        ("prediction", np.float64),
        ("position", np.int32),
        ("channel", np.int32),  # -1: unknown
        ("history", np.int32),  # impressions that the user had seen before the list; -1: unknown
        ("label", np.bool_),
    ]
)
_MOST = np.iinfo(np.int32).max

Packed = npt.NDArray[np.void]


def pack(model: str, rows: pd.DataFrame, channels: dict[str, int]) -> Packed:
    """Rows of one model as an array of ROW.

    Args:
      model: whose predictions they are, for messages.
      rows: columns REQUIRED, perhaps OPTIONAL.
      channels: name -> number; new ones are added.

    Raises:
      DataError: a column is missing, a value is no number, a label is not 0 or 1, or a prediction is not finite.
    """
    missing = [name for name in REQUIRED if name not in rows]
    if missing:
        raise DataError(
            f"the rows of {model} have no column {', '.join(missing)}; needed are {', '.join(REQUIRED)}, as hrlrec "
            "evaluate --predictions writes them"
        )
    packed = np.zeros(len(rows), ROW)
    label, packed["prediction"] = _numbers(model, rows, "label"), _numbers(model, rows, "prediction")
    packed["position"] = np.clip(_numbers(model, rows, "position"), -_MOST, _MOST)
    if not np.isin(label, (0, 1)).all():
        raise DataError(
            f"the rows of {model} hold the label {label[~np.isin(label, (0, 1))][0]:g}; a label is 1 (clicked) or 0"
        )
    packed["label"] = label == 1
    packed["user"], packed["request"] = _hashes(rows["user_id"]), _hashes(rows["request_id"])
    packed["channel"] = _codes(rows["channel"], channels) if "channel" in rows else -1
    packed["history"] = -1
    if "history_impressions" in rows:
        packed["history"] = np.clip(_numbers(model, rows, "history_impressions"), -1, _MOST)
    return packed


def _numbers(model: str, rows: pd.DataFrame, column: str) -> npt.NDArray[np.float64]:
    """A column as finite numbers."""
    try:
        numbers = rows[column].to_numpy(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"the rows of {model} hold a {column} that is no number: {error}") from error
    if not np.isfinite(numbers).all():
        raise DataError(f"the rows of {model} hold a {column} that is missing or infinite; score the rows again")
    return numbers


def _codes(names: pd.Series, known: dict[str, int]) -> npt.NDArray[np.int64]:
    codes, distinct = pd.factorize(names.astype(str))
    numbers = np.array([known.setdefault(str(name), len(known)) for name in distinct], np.int64)
    return numbers[codes]


def _hashes(texts: pd.Series) -> npt.NDArray[np.uint64]:
    """A stable 64-bit hash of each text."""
    hashed: npt.NDArray[np.uint64] = pd.util.hash_array(texts.astype(str).to_numpy(object), categorize=True)
    return hashed
