import json
import os
import pathlib
import subprocess
import sys
from types import SimpleNamespace

import pytest

from hrlrec_tf import models
from hrlrec_tf.errors import ConfigError, DataError
from hrlrec_tf.experiments import cells, reproduce_verb
from hrlrec_tf.experiments.cells import Cell, Run, Sessions


def folder(path: pathlib.Path) -> pathlib.Path:
    """As `hrlrec prepare` and the first `hrlrec train` leave it, as far as cells look."""
    for split in ("train", "validation", "eval"):
        (path / split).mkdir(parents=True)
        (path / split / "sessions-0.tfrecord.gz").write_text(split)
    (path / "summary.json").write_text("{}")
    (path / "transform").mkdir()
    return path


@pytest.fixture
def sessions(tmp_path) -> Sessions:
    return Sessions.open(str(folder(tmp_path / "sessions")))


@pytest.fixture
def commands(monkeypatch) -> list:
    """The command lines that would run; the verbs only leave the files that say they are done."""
    seen = []

    def run(command, env, **_):
        words = dict(word.removeprefix("--").split("=", 1) for word in command[4:] if "=" in word)
        seen.append((command[3], words, command, env))
        if command[3] == "train":
            pathlib.Path(words["out"]).mkdir(parents=True)
            (pathlib.Path(words["out"]) / "result.json").write_text("{}")
            settings = [word.removeprefix("--set=") for word in command if word.startswith("--set=")]
            config = models.settings(words["model"], words.get("preset")).override(settings).to_dict()
            sizes = {file.name: file.stat().st_size for file in (pathlib.Path(words["data"]) / "train").iterdir()}
            whole = {"model": words["model"], "config": config, "sessions": sizes}
            (pathlib.Path(words["out"]) / "config.json").write_text(json.dumps(whole))
        else:
            pathlib.Path(words["json"]).write_text('{"auc": 0.75}')
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(cells, "subprocess", SimpleNamespace(run=run))
    return seen


SUPERVISED = Cell("supervised", "hrl-rec", "best", ("losses.channel=0", "losses.item=0"))


def test_trains_and_evaluates_by_the_command_line(tmp_path, sessions, commands, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
    assert cells.run_all([Run(SUPERVISED, 3, sessions, tmp_path / "runs")], jobs=2) == {}
    (train, train_words, command, env), (evaluate, words, *_) = commands
    assert (train, evaluate) == ("train", "evaluate") and "--resume" in command
    assert (train_words["model"], train_words["preset"]) == ("hrl-rec", "best")
    for setting in ("losses.channel=0", "losses.item=0", "training.seed=3"):
        assert f"--set={setting}" in command
    assert words["model"] == train_words["out"] == str(tmp_path / "runs" / "models" / "supervised-3")
    assert words["predictions"] == str(tmp_path / "runs" / "predictions" / "supervised-3.parquet")
    assert env["TF_NUM_INTRAOP_THREADS"] == env["TF_NUM_INTEROP_THREADS"] == "4"
    result = json.loads((tmp_path / "runs" / "results" / "supervised-3.json").read_text())
    assert (result["auc"], result["seed"], result["settings"]) == (0.75, 3, ["losses.channel=0", "losses.item=0"])


def test_a_model_without_presets_gets_none(tmp_path, sessions, commands):
    cells.run_all([Run(Cell("lr", "lr"), 0, sessions, tmp_path / "runs")], jobs=1)
    assert "preset" not in commands[0][1] and commands[0][1]["model"] == "lr"


def test_what_is_finished_is_not_run_again(tmp_path, sessions, commands, capsys):
    runs = [Run(cell, seed, sessions, tmp_path / "runs") for cell in (SUPERVISED, Cell("lr", "lr")) for seed in (0, 1)]
    assert [run.result() for run in runs] == [None] * 4
    cells.run_all(runs, jobs=2)
    cells.run_all(runs, jobs=2)
    assert len(commands) == 8 and "4 runs are finished, 0 to do" in capsys.readouterr().out
    runs[1].file("results", ".json").unlink()
    cells.run_all(runs, jobs=2)
    assert [verb for verb, *_ in commands[8:]] == ["evaluate"]


def test_results_of_something_else_are_refused(tmp_path, sessions, commands):
    out = tmp_path / "runs"
    cells.run_all([Run(SUPERVISED, 0, sessions, out)], jobs=1)
    with pytest.raises(ConfigError, match=r"supervised-0.json is of settings .*; choose another --out, or remove it"):
        Run(Cell("supervised", "hrl-rec", "best"), 0, sessions, out).result()
    moved = folder(tmp_path / "moved")
    assert Run(SUPERVISED, 0, Sessions.open(str(moved)), out).result()["auc"] == 0.75
    (moved / "eval" / "sessions-0.tfrecord.gz").write_text("other lists")
    with pytest.raises(ConfigError, match="supervised-0.json is made from other sessions, not"):
        Run(SUPERVISED, 0, Sessions.open(str(moved)), out).result()


def test_a_model_of_something_else_is_not_taken_for_this_one(tmp_path, sessions, commands):
    out = tmp_path / "runs"
    cells.run_all([Run(SUPERVISED, 0, sessions, out)], jobs=1)
    Run(SUPERVISED, 0, sessions, out).file("results", ".json").unlink()
    failed = cells.run_all([Run(Cell("supervised", "hrl-rec", "best"), 0, sessions, out)], jobs=1)
    assert "holds a model of other settings or sessions; choose another --out" in failed["supervised seed 0"]
    assert len(commands) == 2


def test_an_auc_without_a_value_is_a_dash(tmp_path, sessions, commands, monkeypatch, capsys):
    monkeypatch.setattr(Run, "execute", lambda self: {"auc": None, "train_seconds": 1.0})
    assert cells.run_all([Run(SUPERVISED, 0, sessions, tmp_path / "runs")], jobs=1) == {}
    assert "supervised seed 0: AUC –, 1 s (1 of 1)" in capsys.readouterr().out


def test_a_failed_run_is_reported_and_the_others_go_on(tmp_path, sessions, capsys, monkeypatch):
    def fail(command, stdout, **_):
        stdout.write(b"hrlrec train: no sessions there\n")
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(cells, "subprocess", SimpleNamespace(run=fail))
    failed = cells.run_all([Run(SUPERVISED, seed, sessions, tmp_path / "runs") for seed in (0, 1)], jobs=1)
    log = tmp_path / "runs" / "logs" / "supervised-0.log"
    assert failed["supervised seed 0"] == (
        f"hrlrec train ended with code 1 (hrlrec train: no sessions there); see {log}"
    )
    assert len(failed) == len(capsys.readouterr().err.splitlines()) == 2


def test_a_verb_holds_the_folder_that_its_command_holds(tmp_path, sessions, monkeypatch):
    """A training that outlives a killed command keeps the next one out."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nls -l /proc/self/fd\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    out = tmp_path / "runs"
    with reproduce_verb._held(out):
        assert cells.run_all([Run(SUPERVISED, 0, sessions, out)], jobs=1)
    assert str(out / ".lock") in (out / "logs" / "supervised-0.log").read_text()


def test_sessions_without_a_test_slice(tmp_path):
    bare = folder(tmp_path / "bare")
    (bare / "eval" / "sessions-0.tfrecord.gz").unlink()
    with pytest.raises(DataError, match="holds no eval sessions; run hrlrec prepare on a log of more days"):
        Sessions.open(str(bare))


def test_settings_are_checked_before_anything_runs():
    with pytest.raises(ConfigError, match="losses.gama"):
        Cell("x", "hrl-rec", "best", ("losses.gama=0",))
    with pytest.raises(ConfigError, match="model 'lightgbm' is unknown"):
        Cell("x", "lightgbm")


@pytest.mark.parametrize(("cores", "memory_gb", "jobs"), [(8, 64, 8), (8, 10, 3), (2, 1, 1)])
def test_jobs_fit_cores_and_memory(monkeypatch, cores, memory_gb, jobs):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores))
    monkeypatch.setattr(cells, "_available_memory", lambda: memory_gb << 30)
    assert cells.fitting_jobs() == jobs


def test_available_memory_is_plausible():
    assert 1 << 27 < cells._available_memory() < 1 << 50
