"""EB-NeRD (Kruse et al., RecSys 2024): displayed news lists of Ekstra Bladet with clicks and read times."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hrlrec_tf.data import columns, formats
from hrlrec_tf.data.adapters.base import ITEM_COUNTS, Adapter, Batch, Conversion, with_columns
from hrlrec_tf.data.adapters.folder import Folder
from hrlrec_tf.data.adapters.side import SideTable
from hrlrec_tf.data.adapters.unfold import unfold
from hrlrec_tf.data.files import LogFile, RawBatch
from hrlrec_tf.data.rules import Column
from hrlrec_tf.errors import ConfigError, LogError

NO_ARTICLES = "no-articles"
BUNDLES = ("demo", "small", "large")
STAND_IN = "news"
NO_LIST = "no_articles_in_view"

BEHAVIORS = (
    "impression_id", "article_id", "impression_time", "device_type", "article_ids_inview", "article_ids_clicked",
    "user_id", "is_sso_user", "gender", "postcode", "age", "is_subscriber", "next_read_time",
)  # fmt: skip
USER_COLUMNS = ("is_sso_user", "gender", "postcode", "age", "is_subscriber")
ARTICLES = ("category_str", "topics", "premium", "article_type", "published_time", "sentiment_label")

COLUMNS = {
    "request_id": Column("impression_id"),
    "user_id": Column("user_id"),
    "timestamp": Column("impression_time"),
    "position": Column("position"),
    "item_id": Column("item_id"),
    "channel": Column("category_str"),
    "clicks": Column("clicks"),
    "dwell_seconds": Column("dwell_seconds"),
    "context_page": Column("page", type="string"),
    "context_device": Column("device_type", type="string"),
    **{f"user_{name}": Column(name, type="string") for name in USER_COLUMNS},
}
ARTICLE_COLUMNS = {
    "tags": Column("topics"),
    "item_premium": Column("premium", type="string"),
    "item_type": Column("article_type", type="string"),
    "item_sentiment": Column("sentiment_label", type="string"),
    "item_age_hours": Column("age_hours", type="float"),
}


def open_folder(folder: Folder, variant: str | None) -> Conversion:
    """Opens every labelled behaviors.parquet with the articles."""
    behaviors = _behaviors(folder, variant)
    labelled = [file for file in behaviors if "article_ids_clicked" in formats.describe(file)[0]]
    if not labelled:
        raise LogError(
            f"{behaviors[0].path}: has no column article_ids_clicked, as in EB-NeRD's test set; get a bundle with "
            f"train and validation from {folder.source}"
        )
    for file in labelled:
        folder.check_columns(file, BEHAVIORS)
    articles = None if variant == NO_ARTICLES else _articles(folder)

    def batches() -> Iterator[Batch]:
        for file in labelled:
            name = folder.relative(file)
            for raw in folder.read(file, BEHAVIORS):
                yield Batch(name, article_rows(raw, articles), "validation" in name.lower())

    notes = ["the order inside a list is no screen position"]
    notes += [f"left out: {folder.relative(file)}, no clicks" for file in behaviors if file not in labelled]
    if articles is None:
        notes.append(f"no articles: the one channel {STAND_IN!r} stands in for all, and there are no tags")
    mapping = COLUMNS if articles is None else COLUMNS | ARTICLE_COLUMNS
    return Conversion(mapping, batches(), {"item_counts": ITEM_COUNTS}, notes=notes)


def _behaviors(folder: Folder, variant: str | None) -> list[LogFile]:
    paths = folder.find("behaviors.parquet")
    if variant in BUNDLES:
        paths = [path for path in paths if variant in folder.name(path).lower()]
    if not paths:
        where = f"in a folder named after {variant}" if variant in BUNDLES else "there"
        raise LogError(f"{folder.path}: no behaviors.parquet is {where}; {folder.title} needs it: {folder.remedy()}")
    bundles = [each for each in BUNDLES if any(each in folder.name(path).lower() for path in paths)]
    if len(bundles) > 1:
        raise ConfigError(
            f"{folder.path} holds several bundles, which share rows: name one with --variant {' | '.join(bundles)}"
        )
    return [folder.parquet(path) for path in paths]


def _articles(folder: Folder) -> SideTable:
    if not folder.find("articles.parquet"):
        raise LogError(
            f"{folder.path}: articles.parquet is missing, which tells each article's channel: {folder.remedy()}, or "
            f"let one channel stand in for all with --variant {NO_ARTICLES}"
        )
    file = folder.parquet(folder.one("articles.parquet"))
    return SideTable(folder.read(file, ("article_id", *ARTICLES)), "article_id", ARTICLES)


def article_rows(raw: RawBatch, articles: SideTable | None) -> RawBatch:
    """One row per article in view of a batch of lists; a list without any is a broken row."""
    shown = unfold(raw, "article_ids_inview", "|", NO_LIST)
    lists = raw.table.take(shown.lists)
    clicks, dwell = _feedback(raw, shown.lists, shown.values)
    page = pc.if_else(pc.is_null(lists["article_id"]), "front", "article")
    table = lists.select([name for name in BEHAVIORS if not name.startswith("article_id")])
    table = with_columns(
        table,
        {"position": shown.places, "item_id": shown.values, "clicks": clicks, "dwell_seconds": dwell, "page": page},
    )
    if articles is None:
        table = table.append_column("category_str", pa.array([STAND_IN] * len(table), pa.string()))
    else:
        table = articles.join(table, "item_id")
        table = table.append_column("age_hours", _age_hours(table))
    return RawBatch(table, raw.rows[shown.lists.to_numpy()], [*raw.broken, *shown.broken])


def _feedback(raw: RawBatch, lists: pa.Array, items: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Clicks (null in a list without any record of clicks) and seconds read of each article in view.

    `next_read_time` is the time on the article opened next: it is the clicked one's where there is exactly one.
    """
    clicked = raw.table["article_ids_clicked"]
    rows, words, _ = columns.to_lists(clicked, "|")
    pairs = {f"{row} {word}" for row, word in zip(rows, words.to_pylist(), strict=True)}
    keys = [f"{row} {word}" for row, word in zip(lists.to_pylist(), items.to_pylist(), strict=True)]
    hit = np.array([key in pairs for key in keys], bool)
    per_list = np.bincount(rows, minlength=len(raw.rows))
    unknown = columns.mask(pc.is_null(clicked))[lists.to_numpy()]
    seconds = columns.to_numbers(raw.table["next_read_time"]).values[lists.to_numpy()]
    dwell = np.where(hit & (per_list[lists.to_numpy()] == 1), seconds, 0.0)
    return pa.array(hit.astype(np.int64), mask=unknown), pa.array(dwell)


def _age_hours(table: pa.Table) -> pa.Array:
    """Hours from an article's publication to its display, at least 0; null where it has no date."""
    shown, published = (columns.to_milliseconds(table[name], "ms") for name in ("impression_time", "published_time"))
    hours = np.maximum(shown.values - published.values, 0) / 3.6e6
    return pa.array(hours, mask=shown.missing | published.missing | published.bad)


ADAPTER = Adapter(
    name="ebnerd",
    title="EB-NeRD",
    summary="news lists with clicks and read times (demo, small, large)",
    about="""\
files: behaviors.parquet (train/, validation/) and articles.parquet of one bundle. Without articles.parquet use
--variant no-articles: one channel stands in for all. The test set has no clicks and is left out. With both train and
validation, the split of dataset.yaml is the publisher's.

request_id, user_id   impression_id, user_id
timestamp             impression_time (no zone stated, taken as UTC)
item_id, position     article_ids_inview and the place there
clicks                article_ids_clicked
dwell_seconds         next_read_time, of the clicked article where exactly one was clicked, else 0
channel, tags         category_str, topics of articles.parquet
context_page          front where article_id is empty, else article
context_device        device_type
user_*                is_sso_user, gender, postcode, age, is_subscriber
item_*                premium, article_type, sentiment_label, hours since published_time

traps: the order in article_ids_inview is no screen position (another release of the same rows has another order).
Nearly every list has exactly one click, so that click rates say how long lists are, not how willing users are.
history.parquet (earlier clicks, without what was shown beside) is left out, and so are the
articles' total_* columns, which count days after the list.""",
    source="https://recsys.eb.dk",
    licence="the publisher's terms at the source; research use",
    variants=(*BUNDLES, NO_ARTICLES),
    open=open_folder,
)
