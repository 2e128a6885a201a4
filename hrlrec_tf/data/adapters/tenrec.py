"""Tenrec (Yuan et al., NeurIPS 2022): videos and articles shown in two Tencent feeds, without timestamps."""

import dataclasses
from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hrlrec_tf.data import columns
from hrlrec_tf.data.adapters.base import Adapter, Batch, Conversion, with_columns
from hrlrec_tf.data.adapters.folder import Folder, choose
from hrlrec_tf.data.files import LogFile
from hrlrec_tf.data.rules import Column

# Each user's rows are spread over this made-up period in the order of the file.
START_MS = 1_609_459_200_000  # 2021-01-01 UTC
PERIOD_DAYS = 100
PERIOD_MS = PERIOD_DAYS * 86_400_000
MISSING = "\\N"

FILES = {
    "qk-video": "QK-video.csv",
    "qb-video": "QB-video.csv",
    "qk-article": "QK-article.csv",
    "qb-article": "QB-article.csv",
    "ctr": "ctr_data_1M.csv",
}
COMMON = ("user_id", "item_id", "click", "gender", "age")

COLUMNS = {
    "user_id": Column("user_id"),
    "timestamp": Column("timestamp"),
    "item_id": Column("item_id"),
    "channel": Column("channel"),
    "clicks": Column("click"),
    "user_gender": Column("gender", type="string"),
    "user_age": Column("age", type="string"),
}


def open_folder(folder: Folder, variant: str | None) -> Conversion:
    """Opens the file of one variant and counts its rows per user."""
    present = [name for name, file in FILES.items() if folder.find(file)]
    variant = choose(folder, variant, present, ", ".join(FILES.values()))
    file = folder.text(folder.one(FILES[variant]))
    article = variant.endswith("article")
    category = ["category_first", "category_second"] if article else ["video_category"]
    folder.check_columns(file, (*COMMON, *category))

    def batches() -> Iterator[Batch]:
        clock = _count(folder, file)
        for raw in folder.read(file, (*COMMON, *category)):
            made = {
                "timestamp": clock.read(raw.table["user_id"]),
                "channel": pc.fill_null(_present(raw.table[category[0]]), "unknown"),
            }
            if article:
                made["tags"] = _present(raw.table[category[1]])
            yield Batch(folder.relative(file), raw.with_table(with_columns(raw.table, made)))

    notes = [
        "no timestamps in the data: each user's rows are spread evenly over "
        f"{PERIOD_DAYS} made-up days from 2021-01-01, so that a split by time holds out the last rows of every user"
    ]
    mapping = COLUMNS | ({"tags": Column("tags")} if article else {})
    # The pause between two rows of a user is made up too: only the length ends a list.
    return Conversion(mapping, batches(), {"list_rule": {"gap_seconds": PERIOD_DAYS * 86_400}}, notes=notes)


def _present(array: columns.ArrowArray) -> pa.Array:
    """Text, null for `\\N` and empty cells."""
    text = columns.to_text(array)[0]
    return pc.if_else(pc.is_in(text, value_set=pa.array([MISSING, ""])), None, text)


@dataclasses.dataclass
class _Clock:
    """Made-up time of each row: the k-th of a user's n rows stands at k / n of the period.

    Attributes:
      users: all users.
      rows: rows of each.
      seen: rows of each so far.
    """

    users: pd.Index
    rows: npt.NDArray[np.int64]
    seen: npt.NDArray[np.int64]

    def read(self, user_id: columns.ArrowArray) -> pa.Array:
        """Milliseconds of the next rows of the file."""
        codes = self.users.get_indexer(_users(user_id))
        rank = pd.Series(codes).groupby(codes).cumcount().to_numpy()
        time = START_MS + (self.seen[codes] + rank) * PERIOD_MS // self.rows[codes]
        self.seen += np.bincount(codes, minlength=len(self.users))
        return pa.array(time)


def _users(array: columns.ArrowArray) -> pd.Index:
    return pd.Index(columns.to_text(array)[0].to_numpy(zero_copy_only=False), dtype=object)


def _count(folder: Folder, file: LogFile) -> _Clock:
    """Counts rows per user in one pass over the file."""
    counts: Counter[str] = Counter()
    for raw in folder.read(file, ("user_id",)):
        counts.update(_users(raw.table["user_id"]).value_counts().to_dict())
    rows = np.fromiter(counts.values(), np.int64, len(counts))
    return _Clock(pd.Index(list(counts), dtype=object), rows, np.zeros_like(rows))


ADAPTER = Adapter(
    name="tenrec",
    title="Tenrec",
    summary="exposures without timestamps (QK-video, QB-video, QK-article, QB-article, ctr_data_1M)",
    about="""\
files: one of QK-video.csv, QB-video.csv, QK-article.csv, QB-article.csv, ctr_data_1M.csv, named by --variant where
the folder holds several.

user_id, item_id, clicks   user_id, item_id, click
timestamp                  made up: the k-th of a user's n rows stands at k / n of 100 days from 2021-01-01
channel                    video_category, or category_first of articles; "unknown" where it is \\N or empty
tags                       category_second of articles
user_gender, user_age      gender, age

traps: there are no timestamps; the order of rows is taken for each user's order in time. So a split by time holds
out the last rows of every user; times of two users cannot be compared, item_counts must stay off (they would know the
future), and hours and weekdays mean nothing. Lists are ten rows in a row, not what was shown together. follow, like,
share, watching_times and read* are feedback and are left out, as are counts and scores of articles, which cover the
whole period. The article files may hold clicked rows only: see whether convert notes that there is one class.""",
    source="https://github.com/yuangh-x/2022-NIPS-Tenrec (link to the files in its README)",
    licence="CC BY-NC 4.0",
    variants=tuple(FILES),
    open=open_folder,
)
