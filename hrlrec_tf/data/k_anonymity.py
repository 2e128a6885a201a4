"""The cut on rare values of user features: which values enough users hold, before the evaluation split.

`anonymity_stage` counts. A reader passes on, of each value, the k users that held it first: if k
users hold a value before some time, then so do the k that held it first, and if fewer do, they are all among them. So
what is passed on does not grow with the number of users that share a value.
"""

from collections import Counter

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hrlrec_tf import features
from hrlrec_tf.data import buckets, columns
from hrlrec_tf.data.rules import KAnonymity

KEY = "value"  # of a value: its column and the value itself
SEPARATOR = "="  # of column and value in a key; no column's name holds one


def holders(rows: pa.Table, rule: KAnonymity) -> pa.Table:
    """Of each value in some rows the k users that held it first: `value` (the key), `user` (a hash), `time` (ms)."""
    user, time = buckets.hashes(rows["user_id"]), columns.flat(rows["timestamp"]).to_numpy()
    parts = []
    for name in rule.columns:
        held = pd.DataFrame({KEY: keys(name, rows[name]).to_pandas(), "user": user, "time": time})
        parts.append(_earliest(held[columns.mask(pc.not_equal(columns.flat(rows[name]), ""))], rule.k))
    schema = pa.schema({KEY: pa.string(), "user": pa.uint64(), "time": pa.int64()})
    return pa.Table.from_pandas(pd.concat(parts), schema, preserve_index=False)


def keys(column: str, values: columns.ArrowArray) -> pa.Array:
    """Values of a column, told apart from those of other columns."""
    return pc.binary_join_element_wise(pa.scalar(column), columns.flat(values), SEPARATOR)


def _earliest(held: pd.DataFrame, k: int) -> pd.DataFrame:
    first = held.groupby([KEY, "user"], as_index=False, sort=False)["time"].min()
    return first.sort_values(["time", "user"], kind="stable").groupby(KEY, sort=False).head(k)


def cut(table: pa.Table, rule: KAnonymity, kept: pa.Array) -> pa.Table:
    """Rows whose rare values read as `features.RARE`; missing ones stay ""."""
    for name in rule.columns:
        values = columns.flat(table[name])
        stay = pc.or_(pc.is_in(keys(name, values), value_set=kept), pc.equal(values, ""))
        place = table.column_names.index(name)
        table = table.set_column(place, name, pc.if_else(stay, values, features.RARE))
    return table


def count_cut(table: pa.Table, rule: KAnonymity) -> Counter[tuple[str, str]]:
    """Rows and their users whose value was cut, by (column, `rows` or `users`)."""
    counts: Counter[tuple[str, str]] = Counter()
    for name in rule.columns:
        rows = table.filter(pc.equal(table[name], features.RARE))
        counts[name, "rows"], counts[name, "users"] = len(rows), len(pc.unique(rows["user_id"]))
    return counts
