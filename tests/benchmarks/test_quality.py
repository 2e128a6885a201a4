import json
import os
import pathlib
import subprocess

import pytest

from benchmarks import quality
from hrlrec_tf import config
from hrlrec_tf.errors import ConfigError


@pytest.fixture
def verbs(monkeypatch):
    """The command lines that would run; the verbs only leave the files that say they are done."""
    seen = []

    def run(command, env, **_):
        words = dict(word.removeprefix("--").split("=", 1) for word in command[4:] if "=" in word)
        seen.append((command[3], words, command, env))
        if command[3] == "train":
            pathlib.Path(words["out"]).mkdir(parents=True)
            (pathlib.Path(words["out"]) / "result.json").write_text("{}")
        else:
            pathlib.Path(words["json"]).write_text('{"auc": 0.75}')
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    return seen


def _run(tmp_path, *words):
    return quality.main(["run", f"--data={tmp_path}", f"--out={tmp_path / 'runs'}", *words])


def test_every_cell_is_a_preset_with_known_settings():
    assert {"paper", "best", "best-no-gru", "paper-supervised"} <= set(quality.CELLS)
    fields = {f"{section}.{field}" for section, fields in config.Config().to_dict().items() for field in fields}
    for cell in quality.CELLS.values():
        config.preset(cell.preset)
        known = {setting.partition("=")[0] for setting in cell.settings} <= fields | {
            "network.sequence",
            "network.fields",
        }
        assert known, cell


def test_trains_and_evaluates_by_the_command_line(tmp_path, verbs, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
    assert _run(tmp_path, "--cells", "best-supervised", "--seeds", "3", "--jobs", "2") == 0
    (train, train_words, command, env), (evaluate, words, *_) = verbs
    assert (train, evaluate) == ("train", "evaluate") and "--resume" in command and train_words["preset"] == "best"
    for setting in ("losses.channel=0", "losses.item=0", "training.seed=3"):
        assert f"--set={setting}" in command
    assert words["model"] == train_words["out"] == str(tmp_path / "runs" / "models" / "best-supervised-3")
    assert words["predictions"] == str(tmp_path / "runs" / "predictions" / "best-supervised-3.parquet")
    assert env["TF_NUM_INTRAOP_THREADS"] == env["TF_NUM_INTEROP_THREADS"] == "4"
    result = json.loads((tmp_path / "runs" / "results" / "best-supervised-3.json").read_text())
    assert (result["auc"], result["seed"], result["settings"]) == (0.75, 3, ["losses.channel=0", "losses.item=0"])


def test_what_is_finished_is_not_run_again(tmp_path, verbs):
    words = ("--cells", "paper", "best", "--seeds", "0", "1")
    assert _run(tmp_path, *words) == 0 and len(verbs) == 8
    assert _run(tmp_path, *words) == 0 and len(verbs) == 8
    (tmp_path / "runs" / "results" / "best-1.json").unlink()
    assert _run(tmp_path, *words) == 0 and [verb for verb, *_ in verbs[8:]] == ["evaluate"]


def test_results_of_something_else_are_refused(tmp_path, verbs, monkeypatch, capsys):
    assert _run(tmp_path, "--cells", "best", "--seeds", "0") == 0
    monkeypatch.setitem(quality.CELLS, "best", quality.Cell("best", ("losses.gamma=0.5",)))
    assert _run(tmp_path, "--cells", "best", "--seeds", "0") == 1
    assert "best-0.json is of settings [], not ['losses.gamma=0.5']" in capsys.readouterr().err
    run = quality.Run("best", quality.CELLS["best"], 0, tmp_path, tmp_path / "runs", 1)
    with pytest.raises(ConfigError):
        run.finished()


def test_a_failed_run_is_reported_and_the_others_go_on(tmp_path, capsys, monkeypatch):
    def fail(command, stdout, **_):
        stdout.write(b"hrlrec train: no sessions there\n")
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(subprocess, "run", fail)
    assert _run(tmp_path, "--cells", "paper", "--seeds", "0", "1") == 1
    errors = capsys.readouterr().err.splitlines()
    log = tmp_path / "runs" / "logs" / "paper-0.log"
    assert len(errors) == 2
    assert errors[0] == f"paper seed 0: hrlrec train ended with code 1 (hrlrec train: no sessions there); see {log}"


def test_list(capsys):
    assert quality.main(["list"]) == 0
    assert "paper-no-future      --preset=paper --set=losses.gamma=0" in capsys.readouterr().out
