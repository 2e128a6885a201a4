"""Side tables of a data set (items, users): whole in memory, looked up by key."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hrlrec_tf.data import columns
from hrlrec_tf.data.files import RawBatch

# What a key that is no number reads as where numbers are expected; it matches nothing.
_NO_KEY = np.iinfo(np.int64).min
# A column is kept as codes of its words where this many rows of the first batch share a word on average.
_REPEATS = 8


class SideTable:
    """Rows by key; of rows with the same key the first counts.

    Keys are integers if those of the first batch are, else text: integers and words that repeat take little memory.

    Args:
      batches: the table's rows, at least one batch.
      key: its key column.
      names: columns to keep.
      prefix: what their names begin with after a join.

    Attributes:
      broken: rows that could not be taken apart, or whose key is no number where the others are.
    """

    def __init__(self, batches: Iterable[RawBatch], key: str, names: Sequence[str], prefix: str = "") -> None:
        keys: list[pd.Index] = []
        parts: dict[str, list[pa.Array]] = {name: [] for name in names}
        self.broken = 0
        for batch in batches:
            self.broken += len(batch.broken)
            if not keys:
                first = columns.to_numbers(batch.table[key])
                self._whole_numbers = first.values.dtype == np.int64 and not first.bad.any()
                repeated = {name for name in names if _repeats(batch.table[name])}
            keys.append(self._keys(batch.table[key]))
            for name, chunks in parts.items():
                column = columns.flat(batch.table[name])
                chunks.append(column.dictionary_encode() if name in repeated else column)
        index = keys[0].append(keys[1:])
        unusable = np.asarray(index == _NO_KEY, bool) if self._whole_numbers else np.zeros(len(index), bool)
        self.broken += int(unusable.sum())
        kept = ~(unusable | index.duplicated())
        self._index = index[kept]
        self._columns = {}
        for name in names:  # one after the other, so that only one is held twice
            whole = pa.chunked_array(parts.pop(name)).unify_dictionaries().filter(pa.array(kept))
            self._columns[prefix + name] = _one_chunk(whole)

    def __len__(self) -> int:
        return len(self._index)

    def join(self, table: pa.Table, key: str) -> pa.Table:
        """Adds the side table's columns to rows by their key; null where it is unknown."""
        places = self._index.get_indexer(self._keys(table[key]))
        found = pa.array(places, mask=places < 0)
        for name, column in self._columns.items():
            table = table.append_column(name, columns.flat(column.take(found)))
        return table

    def _keys(self, array: columns.ArrowArray) -> pd.Index:
        """Keys as pandas looks them up."""
        if not self._whole_numbers:
            return pd.Index(columns.to_text(array)[0].to_numpy(zero_copy_only=False), dtype=object)
        numbers = columns.to_numbers(array)
        return pd.Index(np.where(numbers.bad | numbers.missing, _NO_KEY, numbers.values).astype(np.int64))


def _repeats(column: columns.ArrowArray) -> bool:
    flat = columns.flat(column)
    return not pa.types.is_nested(flat.type) and pc.count_distinct(flat).as_py() * _REPEATS <= len(flat)


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """One array of a column, dictionaries kept; a look-up in chunks would copy all of them each time."""
    if pa.types.is_dictionary(column.type):
        codes = pa.chunked_array([chunk.indices for chunk in column.chunks], column.type.index_type)
        return pa.DictionaryArray.from_arrays(columns.flat(codes), column.chunk(0).dictionary)
    return columns.flat(column)
