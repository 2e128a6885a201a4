"""What every adapter is made of: what a public data set is, the conversion of one copy of it, batches of its rows.

An adapter joins and unfolds; names, types and rules of single columns are said in the words of `dataset.yaml`
(`hrlrec_tf/data/config.py`), and `hrlrec_tf/data/convert.py` checks each row as `prepare` does.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa

from hrlrec_tf.data.adapters.folder import Folder
from hrlrec_tf.data.files import RawBatch
from hrlrec_tf.data.rules import Column

LIST_RULE = {"gap_seconds": 1800}
ITEM_COUNTS = {"refresh_seconds": 3600}


@dataclasses.dataclass(frozen=True)
class Batch:
    """Rows of one file under the data set's own names, joined and unfolded: one impression each.

    Attributes:
      file: path within the data set, for the records of rejected rows.
      raw: the rows; those that cannot be taken apart are in `raw.broken`.
      held_out: whether the publisher holds the file out for evaluation.
    """

    file: str
    raw: RawBatch
    held_out: bool = False


@dataclasses.dataclass(frozen=True)
class Conversion:
    """One copy of a data set, opened and found complete.

    Attributes:
      columns: standard column -> where it comes from in the batches; an optional column states its type.
      batches: all rows.
      settings: what `dataset.yaml` beside the converted log says.
      timestamp_unit, tags_separator: of the batches.
      notes: what the user should know of this copy: what was left out, what stands in for something.
    """

    columns: Mapping[str, Column]
    batches: Iterator[Batch]
    settings: Mapping[str, Any]
    timestamp_unit: Literal["s", "ms", "us", "ns", "iso8601"] = "ms"
    tags_separator: str = "|"
    notes: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Adapter:
    """A public data set.

    Attributes:
      name: as `hrlrec convert NAME` takes it.
      title: the data set's name.
      summary: one line for the list of data sets.
      about: what `hrlrec convert NAME --help` says: files, mapping, traps.
      source: where a user gets the files.
      licence: as the publisher states it.
      variants: words for `--variant`.
      open: opens a folder; takes the variant, or None for what the folder holds.
    """

    name: str
    title: str
    summary: str
    about: str
    source: str
    licence: str
    variants: Sequence[str]
    open: Callable[[Folder, str | None], Conversion]


def with_columns(table: pa.Table, columns: Mapping[str, pa.Array]) -> pa.Table:
    """The table with columns added or replaced."""
    for name, values in columns.items():
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, values)
        else:
            table = table.append_column(name, values)
    return table
