"""Side tables of a data set (items, users): whole in memory, looked up by key."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from hrlrec_tf.data import columns
from hrlrec_tf.data.files import RawBatch


class SideTable:
    """Rows by key; of rows with the same key the first counts.

    Integers are kept as integers, so that a million keys take some ten megabytes beside their columns.

    Args:
      batches: the table's rows.
      key: its key column.
      names: columns to keep.
      prefix: what their names begin with after a join.
    """

    def __init__(self, batches: Iterable[RawBatch], key: str, names: Sequence[str], prefix: str = "") -> None:
        tables, broken = [], 0
        for batch in batches:
            broken += len(batch.broken)
            tables.append(batch.table.select([key, *names]))
        table = pa.concat_tables(tables)
        keys = columns.to_numbers(table[key])
        self._whole_numbers = keys.values.dtype == np.int64 and not keys.bad.any()
        index = self._keys(table[key])
        first = ~index.duplicated()
        self.broken = broken
        self._index = index[first]
        self._table = table.select(list(names)).filter(pa.array(first)).combine_chunks()
        self._names = [prefix + name for name in names]

    def __len__(self) -> int:
        return len(self._index)

    def join(self, table: pa.Table, key: str) -> pa.Table:
        """Adds the side table's columns to rows by their key; null where it is unknown."""
        places = self._index.get_indexer(self._keys(table[key]))
        found = self._table.take(pa.array(places, mask=places < 0))
        for name, column in zip(self._names, found.columns, strict=True):
            table = table.append_column(name, column)
        return table

    def _keys(self, array: columns.ArrowArray) -> pd.Index:
        """Keys as pandas looks them up; a key that is no number where numbers are expected matches nothing."""
        if not self._whole_numbers:
            return pd.Index(columns.to_text(array)[0].to_numpy(zero_copy_only=False), dtype=object)
        numbers = columns.to_numbers(array)
        unusable = numbers.bad | numbers.missing
        return pd.Index(np.where(unusable, np.iinfo(np.int64).min, numbers.values).astype(np.int64))
