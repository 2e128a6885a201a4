"""Open Bandit Dataset (Saito et al., NeurIPS 2021): fashion items in three slots, with propensities."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hrlrec_tf.data import columns, formats
from hrlrec_tf.data.adapters.base import Adapter, Batch, Conversion, with_columns
from hrlrec_tf.data.adapters.folder import Folder, choose
from hrlrec_tf.data.adapters.side import SideTable
from hrlrec_tf.data.files import RawBatch
from hrlrec_tf.data.rules import Column

POLICIES = ("random", "bts")
CAMPAIGNS = ("all", "men", "women")
VARIANTS = tuple(f"{policy}/{campaign}" for policy in POLICIES for campaign in CAMPAIGNS)

SLOTS = ("timestamp", "item_id", "position", "click", "propensity_score")
USER_COLUMNS = tuple(f"user_feature_{n}" for n in range(4))
ITEM_COLUMNS = tuple(f"item_feature_{n}" for n in range(4))
HASHED = ITEM_COLUMNS[1:]
AFFINITY = "user-item_affinity_"

COLUMNS = {
    "request_id": Column("request_id"),
    "user_id": Column("user_id"),
    "timestamp": Column("timestamp"),
    "position": Column("position"),
    "item_id": Column("item_id"),
    "channel": Column("item_feature_1"),
    "clicks": Column("click"),
    "propensity_item": Column("propensity_score"),
    "explored": Column("explored"),
    "item_feature_0": Column("item_feature_0", type="float"),
    "item_feature_2": Column("item_feature_2", type="string"),
    "item_feature_3": Column("item_feature_3", type="string"),
    "item_affinity": Column("affinity", type="float"),
    **{name: Column(name, type="string") for name in USER_COLUMNS},
}


def open_folder(folder: Folder, variant: str | None) -> Conversion:
    """Opens the slots of one policy and campaign with the campaign's items."""
    present = [each for each in VARIANTS if folder.find(f"{each}/{each.rpartition('/')[2]}.csv")]
    variant = choose(folder, variant, present, "POLICY/CAMPAIGN/CAMPAIGN.csv, for instance random/men/men.csv")
    policy, campaign = variant.split("/")
    file = folder.text(folder.one(f"{variant}/{campaign}.csv"))
    folder.check_columns(file, (*SLOTS, *USER_COLUMNS))
    affinities = [name for name in formats.describe(file)[0] if name.startswith(AFFINITY)]
    item_file = folder.text(folder.one(f"{variant}/item_context.csv"))
    named = (
        batch.with_table(_name_groups(batch.table)) for batch in folder.read(item_file, ("item_id", *ITEM_COLUMNS))
    )
    items = SideTable(named, "item_id", ITEM_COLUMNS)

    def batches() -> Iterator[Batch]:
        for raw in folder.read(file, (*SLOTS, *USER_COLUMNS, *affinities)):
            table = items.join(raw.table, "item_id")
            yield Batch(folder.relative(file), raw.with_table(_slots(table, raw, policy, len(affinities))))

    notes = [f"policy {policy}: every row is a list of its own, because rows of one display cannot be put together"]
    if items.broken:
        notes.append(f"{folder.relative(item_file)}: {items.broken:,} damaged rows left out")
    return Conversion(COLUMNS, batches(), {}, "iso8601", notes=notes)


def _name_groups(table: pa.Table) -> pa.Table:
    """Hashed item features by their smallest item: the hashes of the two policies differ, the groups do not."""
    items = columns.to_numbers(table["item_id"]).values
    made = {}
    for name in HASHED:
        hashed = columns.to_text(table[name])[0].dictionary_encode()
        smallest = np.full(len(hashed.dictionary), np.iinfo(np.int64).max)
        np.minimum.at(smallest, hashed.indices.to_numpy(), items.astype(np.int64))
        made[name] = pa.array([f"with_{smallest[code]}" for code in hashed.indices.to_numpy()], pa.string())
    return with_columns(table, made)


def _slots(table: pa.Table, raw: RawBatch, policy: str, affinities: int) -> pa.Table:
    """Adds what a row does not say itself: a request of its own, a user, the affinity to the shown item."""
    user = pc.binary_join_element_wise(*(columns.to_text(table[name])[0] for name in USER_COLUMNS), ":")
    affinity = np.stack([columns.to_numbers(table[f"{AFFINITY}{n}"]).values for n in range(affinities)], axis=1)
    item = columns.to_numbers(table["item_id"])
    known = ~item.bad & ~item.missing & (item.values >= 0) & (item.values < affinities)
    shown = affinity[np.arange(len(table)), np.where(known, item.values, 0).astype(np.int64)]
    made = {
        "request_id": pa.array([f"{policy}-{row}" for row in raw.rows]),
        "user_id": user,
        "affinity": pa.array(np.where(known, shown, 0.0)),
        "explored": pa.array(np.full(len(table), int(policy == "random"))),
    }
    return with_columns(table, made)


ADAPTER = Adapter(
    name="open-bandit",
    title="Open Bandit Dataset",
    summary="single slots with propensities, for off-policy evaluation",
    about="""\
files: {random,bts}/{all,men,women}/CAMPAIGN.csv with item_context.csv beside it, one of which --variant names
(random/men). The small version lies in the folder obd/ of github.com/st-tech/zr-obp.

timestamp, item_id, position, clicks   the same, click
propensity_item      propensity_score: the item's probability at that position (propensity_channel is 1)
explored             1 under the random policy
channel              item_feature_1, named with_N after the smallest item of the group
item_feature_*       of item_context.csv; 2 and 3 named like the channel
item_affinity        user-item_affinity_N of the shown item N
user_id              the four user features joined
user_feature_*       as published

traps: one row is one slot of three and rows were sampled, so that lists of three cannot be rebuilt: use it for
single slots only. There are no users: everybody with the same four features is one "user", whose history is that of a
crowd. Hashes of item features differ between the policies, hence the names. Clicks are rare (about 0.5 %).
Campaigns have items of their own, never mix them.""",
    source="https://research.zozo.com/data.html",
    licence="Apache 2.0 for the small version in the zr-obp repository; the full data's terms stand at the source",
    variants=VARIANTS,
    open=open_folder,
)
