"""MIND (Wu et al., ACL 2020): displayed news lists of Microsoft News with their clicks."""

import pathlib
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hrlrec_tf.data import columns
from hrlrec_tf.data.adapters.base import ITEM_COUNTS, Adapter, Batch, Conversion
from hrlrec_tf.data.adapters.folder import Folder
from hrlrec_tf.data.adapters.side import SideTable
from hrlrec_tf.data.adapters.unfold import unfold
from hrlrec_tf.data.files import LogFile, RawBatch
from hrlrec_tf.data.rules import Column
from hrlrec_tf.errors import ConfigError, LogError

BEHAVIORS = ("impression_id", "user_id", "time", "history", "impressions")
NEWS = (
    "news_id", "category", "subcategory", "title", "abstract", "url", "title_entities", "abstract_entities",
)  # fmt: skip
NO_LIST = "no_impressions"

COLUMNS = {
    "request_id": Column("request_id"),
    "user_id": Column("user_id"),
    "timestamp": Column("timestamp"),
    "position": Column("position"),
    "item_id": Column("item_id"),
    "channel": Column("category"),
    "tags": Column("subcategory"),
    "clicks": Column("clicks"),
}


def open_folder(folder: Folder, variant: str | None) -> Conversion:
    """Opens every labelled behaviors.tsv of a variant with all of its news."""
    behaviors = _behaviors(folder, variant)
    labelled = [file for file in behaviors if _has_labels(folder, file)]
    if not labelled:
        raise LogError(
            f"{behaviors[0].path}: its impressions carry no click labels (N123-1, N45-0), as in MIND's test set; "
            f"get the train and dev sets from {folder.source}"
        )
    files = [_news_of(folder, file) for file in labelled]
    names = ("category", "subcategory")
    rows = (batch for file in files for batch in folder.read(file, ("news_id", *names)))
    news = SideTable(rows, "news_id", names)

    def batches() -> Iterator[Batch]:
        for file in labelled:
            split = folder.relative(file).rpartition("/")[0]
            for raw in folder.read(file, ("impression_id", "user_id", "time", "impressions")):
                yield Batch(folder.relative(file), news_rows(raw, split, news), "dev" in split.lower())

    notes = ["the order inside a list is no screen position: the publisher shuffled it"]
    notes += [f"left out: {folder.relative(file)}, no labels" for file in behaviors if file not in labelled]
    notes += [f"news tables: {news.broken:,} damaged rows left out"] if news.broken else []
    return Conversion(COLUMNS, batches(), {"item_counts": ITEM_COUNTS}, notes=notes)


def _behaviors(folder: Folder, variant: str | None) -> list[LogFile]:
    paths = folder.find("behaviors.tsv")
    if variant is not None:
        paths = [path for path in paths if f"mind{variant}" in folder.name(path).lower()]
    if not paths:
        name = "behaviors.tsv" if variant is None else f"MIND{variant}_train/behaviors.tsv"
        raise LogError(f"{folder.path}: {name} is missing; {folder.title} needs it: {folder.remedy()}")
    sizes = {size for path in paths for size in ("small", "large") if f"mind{size}" in folder.name(path).lower()}
    if len(sizes) > 1:
        raise ConfigError(
            f"{folder.path} holds MINDsmall and MINDlarge, of which small is a part: name one with --variant small | "
            "large"
        )
    return [folder.text(path, "\t", BEHAVIORS, quoted=False) for path in paths]


def _news_of(folder: Folder, behaviors: LogFile) -> LogFile:
    """The news.tsv beside a behaviors.tsv."""
    beside = [path for path in folder.find("news.tsv") if path.parent == pathlib.Path(behaviors.path).parent]
    path = beside[0] if beside else folder.one("news.tsv")
    return folder.text(path, "\t", NEWS, quoted=False)


def _has_labels(folder: Folder, file: LogFile) -> bool:
    first = next(folder.read(file, ("impressions",)))
    return bool(columns.mask(pc.match_substring_regex(columns.to_text(first.table["impressions"])[0], "-[01]")).any())


def news_rows(raw: RawBatch, split: str, news: SideTable) -> RawBatch:
    """One row per displayed news of a batch of lists; a list without any is a broken row.

    Impression ids repeat from file to file, so that request ids begin with the folder's name, `split`.
    """
    shown = unfold(raw, "impressions", " ", NO_LIST)
    lists = raw.table.take(shown.lists)
    parts = pc.extract_regex(shown.values, r"^(?P<item>.+)-(?P<click>[01])$")
    # Without a label the whole word is the item, and the row is rejected for its missing click.
    item = pc.coalesce(pc.struct_field(parts, [0]), shown.values)
    ids = columns.to_text(lists["impression_id"])[0]
    table = pa.table(
        {
            "request_id": pc.binary_join_element_wise(split, ids, "/") if split else ids,
            "user_id": lists["user_id"],
            "timestamp": _times(raw.table["time"]).take(shown.lists),
            "position": shown.places,
            "item_id": item,
            "clicks": pc.struct_field(parts, [1]),
        }
    )
    return RawBatch(news.join(table, "item_id"), raw.rows[shown.lists.to_numpy()], [*raw.broken, *shown.broken])


def _times(array: pa.ChunkedArray) -> pa.Array:
    """Milliseconds of `11/13/2019 8:36:57 AM`, which names no time zone and is taken as UTC; null where it is none."""
    text = pd.Series(columns.to_text(array)[0].to_numpy(zero_copy_only=False), dtype=object)
    times = pd.to_datetime(text, format="%m/%d/%Y %I:%M:%S %p", errors="coerce", utc=True)
    unread = times.isna().to_numpy()
    whole = (times - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(milliseconds=1)
    return pa.array(whole.fillna(0).to_numpy(np.int64), mask=unread)


ADAPTER = Adapter(
    name="mind",
    title="MIND",
    summary="news lists with clicks (small, large)",
    about="""\
files: behaviors.tsv and news.tsv, each train and dev folder with its own (MINDsmall_train/, MINDsmall_dev/, ...).
The test set has no labels and is left out. With both train and dev, the split of dataset.yaml is the publisher's.

request_id       folder and impression id
user_id, time    user id, time (M/D/YYYY h:mm:ss AM/PM, no zone stated, taken as UTC)
item_id, clicks  each word of the impressions, N123-1
position         the place in the impressions
channel, tags    category, subcategory of news.tsv

traps: the publisher shuffled the order inside each list, so that position effects and effects of what stood above
cannot be learnt. Most lists are longer than 10 and are learnt as several. history (earlier clicks, without times or
what was shown beside) is left out. No dwell time.""",
    source="https://msnews.github.io",
    licence="Microsoft Research License Terms",
    variants=("small", "large"),
    open=open_folder,
)
