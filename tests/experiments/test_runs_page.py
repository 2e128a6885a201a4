"""The page of several runs, and the verb that writes it."""

import json
import pathlib
import re

import pytest
import tiny
from test_report import HOSTILE, _Page, _training

from hrlrec_tf.config import Config
from hrlrec_tf.errors import ModelError
from hrlrec_tf.experiments import runs_page, verb


def model(folder: pathlib.Path, *settings: str, epochs: int = 3, finished: bool = True) -> pathlib.Path:
    """A model folder with what a page needs."""
    folder.mkdir(parents=True)
    config = Config().override(settings).to_dict()
    (folder / "config.json").write_text(json.dumps({"model": "hrl-rec", "config": config, "sessions": {}}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in _training(epochs)))
    if finished:
        (folder / "result.json").write_text("{}")
    return folder


@pytest.fixture
def runs(tmp_path) -> pathlib.Path:
    model(tmp_path / "runs" / "a")
    model(tmp_path / "runs" / "deep" / "b", "losses.gamma=0.9", epochs=1, finished=False)
    (tmp_path / "runs" / "other").mkdir()
    (tmp_path / "runs" / "other" / "config.json").write_text('{"theme": "dark"}')
    return tmp_path / "runs"


def test_runs_are_found_by_their_folders(runs):
    found = runs_page.find_runs(runs)
    assert [(run.name, run.finished, len(run.records)) for run in found] == [("a", True, 9), ("deep/b", False, 3)]
    (alone,) = runs_page.find_runs(runs / "a")
    assert (alone.name, alone.settings) == ("a", Config().to_dict() | json.loads(json.dumps(Config().to_dict())))


def test_no_runs(tmp_path):
    with pytest.raises(ModelError, match="holds no model folder; name the --out of hrlrec train"):
        runs_page.find_runs(tmp_path)


def test_the_summary_says_how_far_and_how_well(runs):
    run = runs_page.find_runs(runs)[0]
    summary = run.summary()
    assert (summary["epochs"], summary["best_epoch"], summary["validation_auc"]) == (3, 2, 0.64)
    assert summary["channel_overestimation"] == pytest.approx(0.3) and summary["distinct_lists_per_user"] == 0.5
    empty = runs_page.TrainingRun("new", {}, [], False).summary()
    assert (empty["epochs"], empty["validation_auc"]) == (0, None)


def test_runs_side_by_side(runs):
    source = runs_page.render("Both", runs_page.find_runs(runs))
    page = _Page(source)
    for words in ("a", "deep/b", "unfinished", "0.6400", "losses.gamma", "0.3", "0.9"):
        assert words in page.words, words
    assert "network.dropout" not in page.words  # does not differ
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    wanted = {link[1:] for link in page.values("href") if link.startswith("#")} | set(
        re.findall(r"url\(#([^)]+)\)", source)
    )
    assert wanted <= set(ids)
    assert [tag for tag, _ in page.tags].count("figure") == 6 + 2 * 17


def test_one_run_is_not_compared(runs):
    page = _Page(runs_page.render("One", runs_page.find_runs(runs / "a")))
    assert [tag for tag, _ in page.tags].count("figure") == 17
    assert "Settings that differ" not in page.text


def test_only_so_many_runs_have_sections(runs, monkeypatch):
    monkeypatch.setattr(runs_page, "MOST_SECTIONS", 1)
    (run,) = runs_page.find_runs(runs / "a")
    page = _Page(runs_page.render("Many", [run] * 8))
    assert [tag for tag, _ in page.tags].count("figure") == 6 + 17
    assert "The curves of 7 more runs are left out" in page.text
    assert "The first 6 of 8 runs." in page.text


def test_data_is_never_markup():
    run = runs_page.TrainingRun(HOSTILE, {HOSTILE: {HOSTILE: HOSTILE}}, _training(), True)
    page = _Page(runs_page.render(HOSTILE, [run, runs_page.TrainingRun("b", {}, [], False)]))
    assert not {tag for tag, _ in page.tags} & {"script", "img"}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


def test_the_verb_writes_the_page(runs, tmp_path, capsys):
    out = tmp_path / "new folder" / "report.html"
    result = tiny.run_verb(verb.VERB, f"--runs={runs}", f"--out={out}")
    assert [run["name"] for run in result["runs"]] == ["a", "deep/b"]
    assert "Training: runs" in out.read_text(encoding="utf-8")
    assert f"report of 2 runs: {out}" in capsys.readouterr().out
    json.dumps(result)
