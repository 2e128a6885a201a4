import pytest

from hrlrec_tf.data import formats
from hrlrec_tf.data.adapters.folder import Folder
from hrlrec_tf.data.adapters.side import SideTable
from hrlrec_tf.errors import LogError

from .copies import write


def open_folder(path):
    return Folder(path, "Thing", "https://thing")


def test_files_are_found_at_any_depth_but_not_among_hidden_ones(tmp_path):
    for name in ("a/b/x.csv", "x.csv.gz", ".trash/x.csv", "other.csv"):
        write(tmp_path, name, "x")
    folder = open_folder(tmp_path)
    assert [folder.name(path) for path in folder.find("x.csv")] == ["a/b/x.csv", "x.csv.gz"]
    with pytest.raises(LogError, match=r"several files are x.csv \(a/b/x.csv, x.csv.gz\); keep one copy"):
        folder.one("x.csv")


@pytest.mark.parametrize("text,what", [("a,b\n", "has no rows"), ("", "the file is empty")])
def test_files_without_rows_are_refused(tmp_path, text, what):
    folder = open_folder(write(tmp_path, "x.csv", text).parent)
    with pytest.raises(LogError, match=f"x.csv: {what}"):
        folder.check_columns(folder.text(tmp_path / "x.csv"), ["a"])


def test_text_without_header_or_quotes_and_with_a_long_separator(tmp_path):
    path = write(tmp_path, "x.dat", ['1::"Les Mis\xe9rables', "2::a::b", "3::"], "latin-1")
    folder = open_folder(tmp_path)
    (batch,) = formats.read(folder.text(path, "::", ("id", "title"), quoted=False, encoding="latin-1"), ["id", "title"])
    assert batch.table.to_pylist() == [
        {"id": b"1", "title": '"Les Misérables'.encode()},
        {"id": b"3", "title": b""},
    ]
    assert batch.rows.tolist() == [1, 3] and [row.row for row in batch.broken] == [2]


@pytest.mark.parametrize("keys", [("7", "8", "7", ""), ("N7", "N8", "N7", "")])
def test_side_tables_join_by_number_or_text_and_the_first_of_equal_keys_counts(tmp_path, keys):
    write(tmp_path, "side.csv", ["key,word", *(f"{key},w{n}" for n, key in enumerate(keys[:3]))])
    write(tmp_path, "log.csv", ["key,n", *(f"{key},{n}" for n, key in enumerate([*keys, "9", keys[1]]))])
    folder = open_folder(tmp_path)
    side = SideTable(folder.read(folder.text(tmp_path / "side.csv"), ["key", "word"]), "key", ["word"], "its_")
    (log,) = folder.read(folder.text(tmp_path / "log.csv"), ["key", "n"])
    words = side.join(log.table, "key")["its_word"].to_pylist()
    assert words == [b"w0", b"w1", b"w0", None, None, b"w1"] and len(side) == 2
