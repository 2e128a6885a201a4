"""What every conversion does, whatever the data set; the data sets themselves: `tests/data/adapters/`."""

import argparse
import gzip
import json
import os
import pathlib

import pytest
import yaml

from hrlrec_tf import cli
from hrlrec_tf.data import convert, convert_verb
from hrlrec_tf.data.adapters import ADAPTERS
from hrlrec_tf.errors import ConfigError, LogError

from .adapters.copies import write
from .adapters.test_movielens import copy_latest

DOCS = pathlib.Path(__file__).parent.parent.parent / "docs" / "datasets.md"


def parse(*words):
    parser = argparse.ArgumentParser(prog="hrlrec convert")
    convert_verb.VERB.add_arguments(parser)
    parser.add_argument("--json")
    return parser.parse_args(words)


def test_the_verb_says_what_it_did_and_how_to_go_on(tmp_path, capsys):
    folder = copy_latest(tmp_path / "in")
    with (folder / "ml" / "ratings.csv").open("a") as file:
        file.write("1,11\n")
    args = parse("movielens", "--files", str(folder), "--out", str(tmp_path / "log"), "--json", "x")
    assert args.json == "x"
    report = convert_verb.VERB.run(args)
    printed = capsys.readouterr()
    for line in (
        "3 rows read = 2 written + 1 rejected",
        "rejected: 1 malformed_row",
        "2000-07-30 to 2000-07-30 (UTC), clicks per row 0.5000",
        "2 channels: ",
        f"hrlrec prepare --log {tmp_path / 'log'} --out SESSIONS",
    ):
        assert line in printed.out
    assert "3.00 rows" in printed.err
    assert json.loads((tmp_path / "log" / convert.REPORT).read_text()) == report
    settings = yaml.safe_load((tmp_path / "log" / "dataset.yaml").read_text())
    assert settings == {
        "files": "impressions.parquet",
        "list_rule": {"gap_seconds": 1800},
        "item_counts": {"refresh_seconds": 3600},
    }
    assert "licence" in (tmp_path / "log" / "dataset.yaml").read_text()


def test_help_lists_the_data_sets_and_tells_each_ones_traps(capsys):
    with pytest.raises(SystemExit) as done:
        parse("--help")
    assert done.value.code == 0
    listed = capsys.readouterr().out
    for name, adapter in ADAPTERS.items():
        assert name in listed
        with pytest.raises(SystemExit):
            parse(name, "--help")
        told = capsys.readouterr().out
        assert adapter.source in told and adapter.licence in told and "traps: " in told


def test_the_documentation_has_a_section_for_each_data_set():
    sections = DOCS.read_text(encoding="utf-8").split("\n## ")[1:]
    assert [section.split("\n")[0] for section in sections] == [adapter.title for adapter in ADAPTERS.values()]
    for section, (name, adapter) in zip(sections, ADAPTERS.items()):
        section = " ".join(section.split())
        assert f"hrlrec convert {name} " in section
        assert adapter.source.split(" ")[0] in section and adapter.licence in section
        assert all(f"`{variant}`" in section for variant in adapter.variants)


def test_an_unknown_data_set_and_variant(capsys, tmp_path):
    with pytest.raises(SystemExit) as done:
        parse("netflix", "--files", "a", "--out", "b")
    assert done.value.code == 2 and "choose from 'kuairand', 'mind'" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="the data set 'netflix' is unknown; known: kuairand, mind, ebnerd"):
        convert.convert("netflix", tmp_path, tmp_path / "log")
    with pytest.raises(ConfigError, match="kuairand has no variant '2k'; its variants: pure, 1k, 27k"):
        convert.convert("kuairand", tmp_path, tmp_path / "log", "2k")


@pytest.mark.parametrize("name", ADAPTERS)
def test_no_folder_an_empty_one_and_a_foreign_one(tmp_path, name):
    source = ADAPTERS[name].source
    with pytest.raises(LogError, match="there is no such folder; name the one that holds"):
        convert.convert(name, tmp_path / "none", tmp_path / "log")
    (tmp_path / "in").mkdir()
    with pytest.raises(LogError, match="the folder is empty; get the files of") as error:
        convert.convert(name, tmp_path / "in", tmp_path / "log")
    assert source in str(error.value)
    write(tmp_path / "in", "holiday.txt", "sun")
    with pytest.raises(LogError, match="get it from") as error:
        convert.convert(name, tmp_path / "in", tmp_path / "log")
    assert source in str(error.value) and "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_output_is_never_overwritten_nor_half_there(tmp_path, monkeypatch):
    folder = copy_latest(tmp_path / "in")
    write(tmp_path / "log", "mine.txt", "keep")
    with pytest.raises(ConfigError, match="already exists and is not an empty folder"):
        convert.convert("movielens", folder, tmp_path / "log")
    assert (tmp_path / "log" / "mine.txt").read_text() == "keep"

    def refuse(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(convert._LogWriter, "write", refuse)
    with pytest.raises(LogError, match="cannot write the log to .*No space left on device.*name another --out"):
        convert.convert("movielens", folder, tmp_path / "new", show_progress=False)
    assert sorted(os.listdir(tmp_path)) == ["in", "log"]


def test_what_a_killed_run_left_is_replaced(tmp_path):
    write(tmp_path, ".log.partial/impressions.parquet", "half")
    convert.convert("movielens", copy_latest(tmp_path / "in"), tmp_path / "log", show_progress=False)
    assert sorted(os.listdir(tmp_path)) == ["in", "log"]
    assert sorted(os.listdir(tmp_path / "log")) == [convert.REPORT, "dataset.yaml", convert.LOG]


def test_a_log_of_which_nothing_is_left_is_an_error(tmp_path):
    write(tmp_path / "in", "movies.csv", ["movieId,title,genres", "1,a,b"])
    write(tmp_path / "in", "ratings.csv", ["userId,movieId,rating,timestamp", "1,1,five,964982703"])
    with pytest.raises(LogError, match="none of 1 rows can be used .1 not_a_number_clicks.; the files are damaged"):
        convert.convert("movielens", tmp_path / "in", tmp_path / "log", show_progress=False)
    assert not (tmp_path / "log").exists()


def test_a_file_packed_under_a_plain_name_is_read_and_a_damaged_one_named(tmp_path):
    folder = copy_latest(tmp_path / "in")
    path = folder / "ml" / "ratings.csv"
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert convert.convert("movielens", folder, tmp_path / "log", show_progress=False)["written"] == 2
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(LogError, match="ratings.csv: cannot be read as gzip csv"):
        convert.convert("movielens", folder, tmp_path / "other", show_progress=False)


def test_the_verb_is_one_of_the_command_line():
    assert isinstance(convert_verb.VERB, cli.Verb)
    assert parse(*convert_verb.VERB.example.split()[2:]).dataset == "movielens"
