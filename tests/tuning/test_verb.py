"""`hrlrec tune` as the command line calls it, its trials in this process."""

import argparse
import json
import pathlib
import shlex
import shutil

import pytest
import tiny

from hrlrec_tf.cli import Verb
from hrlrec_tf.data import transform
from hrlrec_tf.errors import ConfigError, DataError
from hrlrec_tf.tuning import processes
from hrlrec_tf.tuning.verb import VERB
from tuning import searching

SPACE = "{search: grid, space: {losses.gamma: [0.1, 0.2]}}"


@pytest.fixture
def runner(monkeypatch):
    """Trains nothing; in the place of processes."""
    fake = searching.FakeRunner(lambda config: 0.6 + config.losses.gamma)
    monkeypatch.setattr(processes, "TrialProcesses", lambda parallel, lock: fake)
    return fake


@pytest.fixture
def space(tmp_path) -> pathlib.Path:
    file = tmp_path / "space.yaml"
    file.write_text(SPACE)
    return file


def test_tune(prepared, tmp_path, space, runner, capsys) -> None:
    words = f"--data={prepared} --space={space} --out={tmp_path / 'tuned'} --parallel=2"
    result = tiny.run_verb(VERB, words)
    assert result["best"]["set"] == ["losses.gamma=0.2"] and result["best"]["validation_auc"] == pytest.approx(0.8)
    assert json.loads((tmp_path / "tuned" / "result.json").read_text())["best"] == result["best"]
    printed = capsys.readouterr()
    assert "best validation AUC 0.8000 (trial 0001)" in printed.out and "hrlrec train --data" in printed.out
    assert "trial 0000: AUC 0.7000 with losses.gamma=0.1" in printed.err and "2/2" in printed.err
    assert (tmp_path / "tuned" / "report.html").exists()
    tiny.run_verb(VERB, words)
    assert len(runner.jobs) == 2


def test_the_transform_is_fitted_once_before_trials_need_it(prepared, tmp_path, space, runner, monkeypatch) -> None:
    data = tmp_path / "data"
    shutil.copytree(prepared, data, ignore=shutil.ignore_patterns("transform"))
    fitted = []
    monkeypatch.setattr(transform, "fit", lambda files, schema, out: fitted.append((files, out)))
    tiny.run_verb(VERB, f"--data={data} --space={space} --out={tmp_path / 'tuned'}")
    assert fitted == [(str(data / "train" / "*"), str(data / "transform"))]


def test_without_validation_sessions_there_is_nothing_to_choose_by(prepared, tmp_path, space, runner) -> None:
    data = tmp_path / "data"
    shutil.copytree(prepared, data, ignore=shutil.ignore_patterns("validation"))
    with pytest.raises(DataError, match="holds no validation sessions to choose by; run hrlrec prepare"):
        tiny.run_verb(VERB, f"--data={data} --space={space} --out={tmp_path / 'tuned'}")
    assert not (tmp_path / "tuned").exists()


@pytest.mark.parametrize("text", ["{search: grid, space: {losses.gama: [0, 1]}}", "{search: grid, space: {}}"])
def test_a_wrong_space_is_refused_before_anything_is_made(prepared, tmp_path, space, runner, text) -> None:
    space.write_text(text)
    with pytest.raises(ConfigError, match="space.yaml: "):
        tiny.run_verb(VERB, f"--data={prepared} --space={space} --out={tmp_path / 'tuned'}")
    assert not (tmp_path / "tuned").exists() and not runner.jobs


def test_parallel_has_bounds(prepared, tmp_path, space) -> None:
    with pytest.raises(ConfigError, match="--parallel must be from 1 to 256: got 0"):
        tiny.run_verb(VERB, f"--data={prepared} --space={space} --out={tmp_path / 'tuned'} --parallel=0")


def test_the_example_can_be_typed_and_its_space_file_searched(tmp_path) -> None:
    command, written = VERB.example.split("\n\na space file of your own:\n")
    parser = argparse.ArgumentParser()
    VERB.add_arguments(parser)
    args = parser.parse_args(shlex.split(command)[2:])
    assert isinstance(VERB, Verb) and (args.space, args.parallel) == ("hrl-rec", 2)
    assert searching.load(tmp_path, written).trials == 20
