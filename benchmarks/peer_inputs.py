"""What the peers get: ids of a row's fields and, with history, pooled as-of history."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd

from benchmarks import rows

FIELDS = ("user_id", "item_id", "channel", "hour")
HISTORY_COUNTS, HISTORY_ITEMS = "history_counts", "history_items"

_STRENGTH = 10.0  # impressions that the prior of a click rate is worth

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a model is built for.

    Attributes:
      sizes: number of ids of each of FIELDS; id 0 is what training has not seen.
      counts: width of the dense input HISTORY_COUNTS, 0 for none.
      items: width of the padded list of clicked items HISTORY_ITEMS, 0 for none; it shares the item embedding.
    """

    sizes: Mapping[str, int]
    counts: int = 0
    items: int = 0


class Task:
    """Inputs and labels of all splits.

    Attributes:
      sessions: the rows.
      history: whether models get history.
      parts: split -> input arrays by name; rows in the order of `sessions.rows`.
      labels: split -> labels.
    """

    def __init__(self, sessions: rows.Sessions, history: bool) -> None:
        table = sessions.rows
        arrays, self._sizes = _ids(table)
        if history:
            arrays[HISTORY_COUNTS] = _history_counts(sessions)
            arrays[HISTORY_ITEMS] = _clicked_items(sessions, table, arrays["item_id"])
        self._widths = {name: arrays[name].shape[1] for name in (HISTORY_COUNTS, HISTORY_ITEMS) if name in arrays}
        self.sessions, self.history = sessions, history
        places = {split: np.flatnonzero(table["split"] == split) for split in rows.SPLITS}
        self.parts = {
            split: {name: values[place] for name, values in arrays.items()} for split, place in places.items()
        }
        self.labels = {split: table["label"].to_numpy()[place] for split, place in places.items()}

    def inputs(self, pooled_items: bool) -> Inputs:
        """What a model is built for, with or without the clicked items."""
        items = self._widths[HISTORY_ITEMS] if pooled_items else 0
        return Inputs(self._sizes, self._widths.get(HISTORY_COUNTS, 0), items)


def _ids(table: pd.DataFrame) -> tuple[Arrays, dict[str, int]]:
    """Ids of FIELDS, from 1 in training order, 0 for values that training has not seen; and how many there are."""
    train = table[table["split"] == "train"]
    arrays, sizes = {}, {}
    for field in FIELDS:
        known = pd.Index(train[field].unique())
        arrays[field] = (known.get_indexer(table[field]) + 1).astype(np.int32)
        sizes[field] = len(known) + 1
    return arrays, sizes


def _history_counts(sessions: rows.Sessions) -> np.ndarray:
    counts = rows.asof_counts(sessions)
    tables = [counts[of] for of in ("user", "user_channel", "user_tag", "item")]
    tables += [rows.recent_counts(sessions, window) for window in (rows.RECENT, sessions.history_items.shape[1])]
    return rows.history_features(tables, sessions.rows, _STRENGTH)


def _clicked_items(sessions: rows.Sessions, table: pd.DataFrame, item_ids: np.ndarray) -> np.ndarray:
    """Ids of the clicked items before each row's list, 0 for the rest: [rows, H]."""
    first = np.unique(table["item_id"].to_numpy(), return_index=True)
    known = pd.Index(first[0])
    place = known.get_indexer(sessions.history_items.reshape(-1)).reshape(sessions.history_items.shape)
    ids = np.where((place >= 0) & (sessions.history_clicks > 0), item_ids[first[1]][place], 0)
    return ids.astype(np.int32)[table["session"]]
