"""MovieLens (Harper and Konstan, 2015): ratings, in the three formats GroupLens publishes."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hrlrec_tf.data import columns
from hrlrec_tf.data.adapters.base import ITEM_COUNTS, LIST_RULE, Adapter, Batch, Conversion, with_columns
from hrlrec_tf.data.adapters.folder import Folder, choose
from hrlrec_tf.data.adapters.side import SideTable
from hrlrec_tf.data.files import LogFile, RawBatch
from hrlrec_tf.data.rules import Column
from hrlrec_tf.errors import LogError

RATINGS = ("user_id", "item_id", "rating", "timestamp")
GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
MOVIES_100K = ("item_id", "title", "release", "video_release", "url", *GENRES_100K)
USERS_100K = ("user_id", "age", "gender", "occupation", "zip")
USERS_1M = ("user_id", "gender", "age", "occupation", "zip")
NO_GENRE = "(no genres listed)"

COLUMNS = {
    "user_id": Column("user_id"),
    "timestamp": Column("timestamp"),
    "item_id": Column("item_id"),
    "channel": Column("genres", separator="|", first=True),
    "tags": Column("genres", separator="|"),
    "clicks": Column("rating", at_least=4.0),
    "item_release_year": Column("year", type="string"),
}
USER_COLUMNS = {f"user_{name}": Column(name, type="string") for name in ("age", "gender", "occupation")}


@dataclasses.dataclass(frozen=True)
class _Format:
    """How GroupLens wrote one family of data sets.

    Attributes:
      ratings, movies, users: names of the files, `users` None where there are none.
      file: how to read one of them, with the columns it has if it has no header line.
      of_users: columns of the users' file.
      rename: the header's names -> ours.
    """

    ratings: str
    movies: str
    users: str | None
    file: Callable[[Folder, str, Sequence[str]], LogFile]
    of_movies: Sequence[str]
    of_users: Sequence[str] = ()
    rename: Mapping[str, str] = dataclasses.field(default_factory=dict)


def _pipes(folder: Folder, name: str, names: Sequence[str]) -> LogFile:
    separator = "\t" if name == "u.data" else "|"
    return folder.text(folder.one(name), separator, names, quoted=False, encoding="latin-1")


def _colons(folder: Folder, name: str, names: Sequence[str]) -> LogFile:
    return folder.text(folder.one(name), "::", names, quoted=False, encoding="latin-1")


def _header(folder: Folder, name: str, names: Sequence[str]) -> LogFile:
    return folder.text(folder.one(name))


FORMATS = {
    "100k": _Format("u.data", "u.item", "u.user", _pipes, MOVIES_100K, USERS_100K),
    "1m": _Format("ratings.dat", "movies.dat", "users.dat", _colons, ("item_id", "title", "genres"), USERS_1M),
    "latest": _Format(
        "ratings.csv", "movies.csv", None, _header, ("item_id", "title", "genres"),
        rename={"user_id": "userId", "item_id": "movieId"},
    ),
}  # fmt: skip


def open_folder(folder: Folder, variant: str | None) -> Conversion:
    """Opens the ratings of one variant with their movies and, where published, users."""
    if variant is None and folder.find("ml-100k.inter") and not folder.find("u.data"):
        raise LogError(
            f"{folder.path}: ml-100k.inter is RecBole's form of MovieLens-100K, which needs no conversion: hrlrec "
            f"prepare --log {folder.path} --config ml100k --out SESSIONS"
        )
    present = [name for name, each in FORMATS.items() if folder.find(each.ratings)]
    names = ", ".join(each.ratings for each in FORMATS.values())
    form = FORMATS[choose(folder, variant, present, names)]
    ratings = form.file(folder, form.ratings, RATINGS)
    folder.check_columns(ratings, [form.rename.get(name, name) for name in RATINGS])
    movies = _movies(folder, form)
    users = None
    if form.users is not None:
        file = form.file(folder, form.users, form.of_users)
        users = SideTable(folder.read(file, form.of_users), "user_id", ("age", "gender", "occupation"))

    def batches() -> Iterator[Batch]:
        for raw in _read(folder, ratings, form, RATINGS):
            table = movies.join(raw.table, "item_id")
            table = users.join(table, "user_id") if users is not None else table
            yield Batch(folder.relative(ratings), raw.with_table(table))

    notes = [f"{what}: {side.broken:,} damaged rows left out" for what, side in
             ((form.movies, movies), (form.users, users)) if side is not None and side.broken]  # fmt: skip
    mapping = COLUMNS | (USER_COLUMNS if users is not None else {})
    settings = {"list_rule": LIST_RULE, "item_counts": ITEM_COUNTS}
    return Conversion(mapping, batches(), settings, "s", notes=notes)


def _read(folder: Folder, file: LogFile, form: _Format, names: Sequence[str]) -> Iterator[RawBatch]:
    """Rows under our names, whatever the header calls them."""
    theirs = [form.rename.get(name, name) for name in names]
    for raw in folder.read(file, theirs):
        yield raw.with_table(raw.table.select(theirs).rename_columns(list(names)))


def _movies(folder: Folder, form: _Format) -> SideTable:
    """Genres (joined by `|`) and year of release by movie."""
    file = form.file(folder, form.movies, form.of_movies)
    read = _read(folder, file, form, form.of_movies)
    return SideTable((raw.with_table(_described(raw.table)) for raw in read), "item_id", ("genres", "year"))


def _described(table: pa.Table) -> pa.Table:
    title = columns.to_text(table["title"])[0]
    if "genres" in table.column_names:
        genres = columns.to_text(table["genres"])[0]
    else:
        flags = np.array([columns.to_text(table[genre])[0].to_pylist() for genre in GENRES_100K]) == "1"
        genres = pa.array(["|".join(np.array(GENRES_100K)[of_movie]) for of_movie in flags.T], pa.string())
    year = pc.struct_field(pc.extract_regex(title, r"\((?P<year>\d{4})\)(?:\s\(V\))?\s*$"), [0])
    return with_columns(
        table.select(["item_id"]), {"genres": pc.if_else(pc.equal(genres, NO_GENRE), "none", genres), "year": year}
    )


ADAPTER = Adapter(
    name="movielens",
    title="MovieLens",
    summary="ratings as clicks (100k, 1m, latest; 20M, 25M and 32M have the format of latest)",
    about="""\
files  100k: u.data, u.item, u.user; 1m: ratings.dat, movies.dat, users.dat; latest: ratings.csv, movies.csv.
RecBole's ml-100k.inter needs no conversion: hrlrec prepare --config ml100k.

user_id, item_id, timestamp   the rating's
clicks                        rating >= 4
channel                       the movie's first genre; "none" where it has none
tags                          all its genres
item_release_year             from the title
user_*                        age, gender, occupation (100k and 1m)

traps: ratings are no impressions: nobody was shown these lists, there is no position and no dwell time. Ratings are
entered in bursts, of which the list rule makes lists; many stand in the same second. tags.csv is not read: users'
tags may be younger than the rating they would describe.""",
    source="https://grouplens.org/datasets/movielens",
    licence="GroupLens terms (in the README of each set): research, no commercial use without permission",
    variants=tuple(FORMATS),
    open=open_folder,
)
