import pytest

from hrlrec_tf.data import config, prepare
from hrlrec_tf.data.adapters.movielens import GENRES_100K
from hrlrec_tf.errors import ConfigError, LogError

from ..logs import IN_MEMORY, read_bytes
from .copies import rejected, run, write


def flags(*genres):
    return "|".join(str(int(genre in genres)) for genre in GENRES_100K)


def copy_100k(folder, ratings=("196\t242\t3\t881250949", "186\t302\t4\t891717742")):
    write(folder, "ml-100k/u.data", list(ratings))
    movies = [
        f"242|Kolya (1996)|24-Jan-1997||http://x|{flags('Comedy')}",
        f"302|L.A. Confidential (1997) (V)|01-Jan-1997||http://x|{flags('Crime', 'Film-Noir', 'Thriller')}",
        f"267|unknown||||{flags('unknown')}",
        f"543|Misérables, Les (1995)|01-Jan-1995||http://x|{flags()}",
    ]
    write(folder, "ml-100k/u.item", movies, "latin-1")
    write(folder, "ml-100k/u.user", ["196|49|M|writer|55105", "186|39|F|executive|00000"])
    return folder


def copy_1m(folder):
    write(folder, "ml-1m/ratings.dat", ["1::1193::5::978300760", "2::73::3::978298413"])
    movies = ["1193::One Flew Over the Cuckoo's Nest (1975)::Drama", "73::Misérables, Les (1995)::Drama|Musical"]
    write(folder, "ml-1m/movies.dat", movies, "latin-1")
    write(folder, "ml-1m/users.dat", ["1::F::1::10::48067", "2::M::56::16::70072"])
    return folder


def copy_latest(folder):
    write(folder, "ml/ratings.csv", ["userId,movieId,rating,timestamp", "1,11,4.0,964982703", "1,12,3.5,964981247"])
    movies = [
        "movieId,title,genres",
        '11,"American President, The (1995)",Comedy|Drama',
        "12,Untitled,(no genres listed)",
    ]
    write(folder, "ml/movies.csv", movies)
    return folder


def test_100k(tmp_path):
    report, rows, dataset = run("movielens", copy_100k(tmp_path / "in"), tmp_path / "log")
    assert rows[0] == {
        "user_id": "196", "timestamp": 881250949000, "item_id": "242", "channel": "Comedy", "tags": ["Comedy"],
        "clicks": 0, "item_release_year": "1996", "user_age": "49", "user_gender": "M", "user_occupation": "writer",
    }  # fmt: skip
    assert rows[1]["channel"] == "Crime" and rows[1]["tags"] == ["Crime", "Film-Noir", "Thriller"]
    assert rows[1]["clicks"] == 1 and rows[1]["item_release_year"] == "1997" and dataset.list_rule.gap_seconds == 1800


def test_1m(tmp_path):
    _, rows, _ = run("movielens", copy_1m(tmp_path / "in"), tmp_path / "log")
    assert rows[1] == {
        "user_id": "2", "timestamp": 978298413000, "item_id": "73", "channel": "Drama", "tags": ["Drama", "Musical"],
        "clicks": 0, "item_release_year": "1995", "user_age": "56", "user_gender": "M", "user_occupation": "16",
    }  # fmt: skip
    assert rows[0]["clicks"] == 1 and rows[0]["user_age"] == "1"


def test_latest(tmp_path):
    _, rows, _ = run("movielens", copy_latest(tmp_path / "in"), tmp_path / "log")
    assert rows == [
        {"user_id": "1", "timestamp": 964982703000, "item_id": "11", "channel": "Comedy", "tags": ["Comedy", "Drama"],
         "clicks": 1, "item_release_year": "1995"},
        {"user_id": "1", "timestamp": 964981247000, "item_id": "12", "channel": "none", "tags": ["none"],
         "clicks": 0, "item_release_year": ""},
    ]  # fmt: skip


def test_damaged_rows_are_counted_with_their_reason(tmp_path):
    bad = ["196\t242", "196\t999\t3\t881250949", "196\t242\tthree\t881250949", "196\t543\t5\t881250949"]
    report, rows, _ = run("movielens", copy_100k(tmp_path / "in", ["196\t267\t3\t881250949", *bad]), tmp_path / "log")
    assert [row["channel"] for row in rows] == ["unknown"]
    assert rejected(tmp_path / "log") == [
        ("ml-100k/u.data", 2, "malformed_row"),
        ("ml-100k/u.data", 3, "missing_channel"),
        ("ml-100k/u.data", 4, "not_a_number_clicks"),
        ("ml-100k/u.data", 5, "missing_channel"),  # a movie without any genre
    ]
    assert any("no row has a click" in note for note in report["notes"])


def test_a_damaged_movie_is_told(tmp_path):
    folder = copy_100k(tmp_path / "in")
    with (folder / "ml-100k" / "u.item").open("a") as file:
        file.write("9|broken\n")
    report, rows, _ = run("movielens", folder, tmp_path / "log")
    assert len(rows) == 2 and "u.item: 1 damaged rows left out" in report["notes"]


def test_missing_files_and_choices(tmp_path):
    with pytest.raises(LogError, match="no file of MovieLens .u.data, ratings.dat, ratings.csv. is there; get it"):
        write(tmp_path / "none", "readme.txt", "")
        run("movielens", tmp_path / "none", tmp_path / "log")
    with pytest.raises(LogError, match="unpack ml-1m.zip first"):
        write(tmp_path / "zip", "ml-1m.zip", "PK")
        run("movielens", tmp_path / "zip", tmp_path / "log")
    folder = copy_1m(copy_100k(tmp_path / "in"))
    with pytest.raises(ConfigError, match="--variant 100k . 1m"):
        run("movielens", folder, tmp_path / "log")
    (folder / "ml-1m" / "users.dat").unlink()
    with pytest.raises(LogError, match="users.dat is missing; MovieLens needs it"):
        run("movielens", folder, tmp_path / "log", "1m")
    write(tmp_path / "recbole", "ml-100k.inter", "user_id:token")
    with pytest.raises(LogError, match="--config ml100k"):
        run("movielens", tmp_path / "recbole", tmp_path / "log")


def test_the_real_100k_gives_the_sessions_of_the_bundled_configuration(shared_data, tmp_path):
    """RecBole's files, written back in GroupLens's format; two of RecBole's years are words."""
    tables = {}
    for name in ("inter", "item", "user"):
        text = (shared_data / "ml100k" / f"ml-100k.{name}").read_text(encoding="utf-8")
        text = text.replace("\tunkonwn\tunknown", "\t\tunknown").replace(" (1995)\tV\t", "\t1995\t")
        write(tmp_path / "recbole", f"ml-100k.{name}", text)
        tables[name] = [line.split("\t") for line in text.splitlines()[1:]]
    folder = tmp_path / "in"
    write(folder, "u.data", ["\t".join(row) for row in tables["inter"]])
    movies = [
        "|".join([number, f"{title} ({year})" if year else title, "", "", "", flags(*genres.split(" "))])
        for number, title, year, genres in tables["item"]
    ]
    write(folder, "u.item", movies, "latin-1")
    write(folder, "u.user", ["|".join(row) for row in tables["user"]])
    _, rows, dataset = run("movielens", folder, tmp_path / "log")
    assert len(rows) == 100_000
    for name, each in (("ours", dataset), ("bundled", config.find(str(tmp_path / "recbole"), "ml100k"))):
        prepare.prepare(each, str(tmp_path / name), IN_MEMORY, show_progress=False)
    ours, bundled = (read_bytes(tmp_path / name) for name in ("ours", "bundled"))
    assert [name for name in ours if name.endswith(".tfrecord.gz")] != []
    assert [name for name in {*ours, *bundled} if name != "summary.json" and ours.get(name) != bundled.get(name)] == []
