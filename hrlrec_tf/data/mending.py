"""Rows that only other rows of their user prove wrong: repeated ones, and those of bots."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from hrlrec_tf.data import columns, days, lists
from hrlrec_tf.data.config import LIST_COLUMNS, DatasetConfig

REPEATED = "duplicate_position"
DUPLICATE = "duplicate_row"
BOT = "too_many_rows_in_a_day"

Mask = npt.NDArray[np.bool_]
Rule = Callable[[pa.Table, DatasetConfig], Mask]


def wrong(table: pa.Table, dataset: DatasetConfig, rules: Mapping[str, Rule]) -> dict[str, Mask]:
    """Reason -> the rows that break its rule, each rule applied to what those before it left."""
    reasons, kept = dict[str, Mask](), np.ones(len(table), bool)
    for reason, find in rules.items():
        reasons[reason] = np.zeros(len(table), bool)
        reasons[reason][kept] = find(table if kept.all() else table.filter(pa.array(kept)), dataset)
        kept &= ~reasons[reason]
    return reasons


def without(table: pa.Table, reasons: Mapping[str, Mask]) -> pa.Table:
    """The rows that break no rule; see `wrong`."""
    broken = np.logical_or.reduce(list(reasons.values()))
    return table.filter(pa.array(~broken)) if broken.any() else table


def mended(table: pa.Table, dataset: DatasetConfig) -> pa.Table:
    """Rows in total order without those that only their users' rows prove wrong, as the sessions have them."""
    return without(table, wrong(table, dataset, {DUPLICATE: duplicates, BOT: bots, REPEATED: repeated_positions}))


def duplicates(table: pa.Table, dataset: DatasetConfig) -> Mask:
    """Rows that repeat an earlier row's user, time and item (and request), if the dataset asks for it."""
    if not dataset.deduplicate:
        return np.zeros(len(table), bool)
    keys = [name for name in ("user_id", "timestamp", "item_id", "request_id") if name in table.column_names]
    return table.select(keys).to_pandas().duplicated().to_numpy()


def bots(table: pa.Table, dataset: DatasetConfig) -> Mask:
    """Rows of users on days on which they have more rows than a person has, if the dataset says how many."""
    if dataset.bots is None:
        return np.zeros(len(table), bool)
    times = columns.flat(table["timestamp"]).to_numpy()
    owners = pd.DataFrame({"user": lists.encode(table["user_id"]).codes, "day": days.dates(times, dataset.day)})
    return (owners.groupby(["user", "day"])["day"].transform("size") > dataset.bots.rows_per_day).to_numpy()


def repeated_positions(table: pa.Table, _: DatasetConfig) -> Mask:
    """Rows of a request at a position that an earlier row has."""
    if not set(LIST_COLUMNS) <= set(table.column_names):
        return np.zeros(len(table), bool)
    requests = lists.encode(table["request_id"]).codes
    return lists.repeated_positions(requests, columns.flat(table["position"]).to_numpy())
