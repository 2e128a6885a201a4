"""The search against mocked training: exhaustive, in range, resumable, parallel, and it survives failures."""

import itertools
import json
import pathlib
import threading

import pytest

from hrlrec_tf.errors import ModelError, TrainingError
from hrlrec_tf.tuning import trials
from hrlrec_tf.tuning.trials import Outcome
from tuning import searching
from tuning.searching import FakeRunner, Killed, run

GRID = """
search: grid
preset: paper
set: {training.epochs: 4}
space:
  losses.gamma: [0.1, 0.2, 0.3]
  network.user_id: [true, false]
  network.critic_head: [relu, linear]
"""
EVERY = set(itertools.product((0.1, 0.2, 0.3), (True, False), ("relu", "linear")))
BAYESIAN = """
search: bayesian
trials: {trials}
space:
  losses.gamma: {{min: 0, max: 1}}
  training.actor_period: {{min: 5, max: 30, sampling: log}}
"""


def values(records) -> list[tuple]:
    return [tuple(record.values.values()) for record in records]


def gamma(config) -> float:
    return 0.7 - (config.losses.gamma - 0.2) ** 2


@pytest.mark.parametrize("parallel", [1, 3])
def test_a_grid_is_exhaustive_and_repeats_nothing(tmp_path, parallel) -> None:
    runner = FakeRunner(gamma, together=parallel)
    records = run(tmp_path, GRID, runner, parallel)
    assert len(records) == len(runner.jobs) == len(EVERY)
    assert set(values(records)) == EVERY
    assert {record.outcome.epochs for record in records} == {4}


def test_trials_cap_a_grid(tmp_path) -> None:
    assert len(run(tmp_path, GRID + "trials: 5", FakeRunner(gamma))) == 5


def test_jobs_say_all_that_training_needs(tmp_path) -> None:
    runner = FakeRunner(gamma)
    run(tmp_path, GRID + "executions: 3", runner)
    job = runner.jobs[0]
    assert (job.data, job.model, job.preset, job.seeds) == ("sessions", "hrl-rec", "paper", [0, 1, 2])
    assert job.settings == ["training.epochs=4", "losses.gamma=0.1", "network.user_id=true", "network.critic_head=relu"]


@pytest.mark.parametrize(("search", "trials"), [("bayesian", 7), ("random", 30)])
def test_proposals_stay_in_range(tmp_path, search, trials) -> None:
    """The best lies at the upper ends, where a Gaussian process proposes the very border."""
    runner = FakeRunner(lambda config: 0.5 + config.losses.gamma / 10 + config.training.actor_period / 1000)
    records = run(tmp_path, BAYESIAN.format(trials=trials).replace("bayesian", search), runner)
    assert len(records) == trials
    for record in records:
        assert 0.0 <= record.values["losses.gamma"] <= 1.0
        assert record.values["training.actor_period"] in range(5, 31)
    best = max(records, key=lambda record: record.outcome.auc)
    assert search == "random" or best.values["losses.gamma"] > 0.9


def test_the_seed_decides_what_is_drawn(tmp_path) -> None:
    text = BAYESIAN.format(trials=4).replace("bayesian", "random")
    seeds = {"a": 0, "b": 0, "c": 1}
    drawn = [values(run(tmp_path / name, f"{text}seed: {seed}\n", FakeRunner(gamma))) for name, seed in seeds.items()]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(("text", "parallel"), [(GRID, 1), (GRID, 3), (BAYESIAN.format(trials=5), 2)])
def test_a_killed_search_goes_on_where_it_was(tmp_path, text, parallel) -> None:
    """The third trial is cut in the middle; the rest of it and what never began are run, nothing else."""
    cut = threading.Event()

    def dies(folder: pathlib.Path) -> Outcome:
        if folder.name.lstrip("0") == "2":
            cut.set()
            raise Killed
        if folder.name.lstrip("0") > "2":
            cut.wait(10)
        return first(folder)

    first = FakeRunner(gamma)
    dies.close = first.close  # type: ignore[attr-defined]
    with pytest.raises(Killed):
        run(tmp_path, text, dies, parallel)
    assert first.closed
    before = {folder.name for folder in (tmp_path / "out" / "trials").iterdir() if (folder / trials.OUTCOME).exists()}
    assert before and "2" not in {name.lstrip("0") for name in before}
    second = FakeRunner(gamma)
    records = run(tmp_path, text, second, parallel)
    assert len(second.jobs) == len(records) - len(before)
    assert not {tuple(job.settings) for job in second.jobs} & {tuple(job.settings) for job in first.jobs}
    assert len({record.name for record in records}) == len(records) == (12 if text is GRID else 5)
    if text is GRID:
        assert set(values(records)) == EVERY


def test_a_finished_search_is_only_read_again(tmp_path) -> None:
    records = run(tmp_path, GRID, FakeRunner(gamma))
    again = FakeRunner(gamma)
    assert run(tmp_path, GRID, again) == records
    assert again.jobs == []


def test_more_trials_go_on_with_a_finished_search(tmp_path) -> None:
    random = BAYESIAN.replace("bayesian", "random")
    records = run(tmp_path, random.format(trials=3), FakeRunner(gamma))
    more = FakeRunner(gamma)
    assert run(tmp_path, random.format(trials=11), more)[:3] == records
    assert len(more.jobs) == 8


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("losses.gamma: [0.1, 0.2, 0.3]", "losses.gamma: [0.1, 0.2]", "space.losses.gamma"),
        ("preset: paper", "preset: best", "preset"),
        ("epochs: 4", "epochs: 5", "fixed"),
        ("search: grid", "executions: 2\nsearch: grid", "executions"),
    ],
)
def test_another_space_in_the_same_folder_is_refused(tmp_path, old, new, named) -> None:
    run(tmp_path, GRID, FakeRunner(gamma))
    with pytest.raises(ModelError, match=rf"begun with other settings \({named}\); repeat that search, or choose"):
        run(tmp_path, GRID.replace(old, new), FakeRunner(gamma))


def test_other_sessions_in_the_same_folder_are_refused(tmp_path, monkeypatch) -> None:
    run(tmp_path, GRID, FakeRunner(gamma))
    monkeypatch.setattr(searching, "SESSIONS", {"train/a": 4, "validation/a": 1})
    with pytest.raises(ModelError, match=r"\(sessions behind --data\)"):
        run(tmp_path, GRID, FakeRunner(gamma))


def test_a_folder_of_other_files_is_left_alone(tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(ModelError, match="holds other files; choose another --out"):
        run(tmp_path, GRID, FakeRunner(gamma))
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine.txt"]


class Fails(FakeRunner):
    """Fails where gamma is below a limit."""

    def __init__(self, limit: float) -> None:
        super().__init__(gamma)
        self.limit = limit

    def __call__(self, folder: pathlib.Path) -> Outcome:
        outcome = super().__call__(folder)
        low = any(
            float(setting.partition("=")[2]) < self.limit for setting in self.jobs[-1].settings if "gamma" in setting
        )
        return Outcome("failed", reason="critic loss is nan in batch 7") if low else outcome


def test_failed_trials_are_recorded_and_the_search_goes_on(tmp_path) -> None:
    """More in a row than KerasTuner itself would bear, and the best is found among the rest."""
    records = run(tmp_path, GRID, Fails(0.25))
    failed = [record for record in records if record.outcome.status == "failed"]
    assert len(records) == 12 and len(failed) == 8
    assert {record.outcome.reason for record in failed} == {"critic loss is nan in batch 7"}
    assert all(record.outcome.auc is None for record in failed)
    again = FakeRunner(gamma)
    assert run(tmp_path, GRID, again) == records and not again.jobs


def test_a_bayesian_search_learns_from_what_did_not_fail(tmp_path) -> None:
    records = run(tmp_path, BAYESIAN.format(trials=5), Fails(0.4))
    assert len(records) == 5 and any(record.outcome.auc for record in records)


def test_nothing_but_failures_is_one_sentence(tmp_path) -> None:
    with pytest.raises(TrainingError, match="none of 12 trials gave a validation AUC; the first: critic loss is nan"):
        run(tmp_path, GRID, Fails(2.0))


def test_settings_that_contradict_each_other_are_not_trained(tmp_path) -> None:
    text = """
    search: grid
    space: {network.embedding_dim: [8, 6], network.attention_heads: [2, 3]}
    """
    runner = FakeRunner(lambda config: 0.6)
    records = run(tmp_path, text, runner)
    assert len(records) == 4 and len(runner.jobs) == 3
    (failed,) = (record for record in records if record.outcome.status == "failed")
    assert failed.values == {"network.embedding_dim": 8, "network.attention_heads": 3}
    assert "attention_heads must divide" in failed.outcome.reason


def test_values_that_had_their_trial_are_not_trained_again(tmp_path) -> None:
    """A Gaussian process may propose the same choices twice."""
    text = "{search: bayesian, trials: 4, space: {network.user_id: [true, false]}}"
    runner = FakeRunner(lambda config: 0.6 + config.network.user_id / 10)
    records = run(tmp_path, text, runner)
    assert len(runner.jobs) == 2 and len(records) == 4
    repeated = [record for record in records if record.outcome.same_as]
    assert all(record.outcome.auc == (0.7 if record.values["network.user_id"] else 0.6) for record in records)
    assert {record.outcome.same_as for record in repeated} <= {"0", "1"}


def test_every_file_is_whole_json(tmp_path) -> None:
    run(tmp_path, GRID + "trials: 2", Fails(0.0))
    for file in (tmp_path / "out").rglob("*.json"):
        json.loads(file.read_text(encoding="utf-8"))
    assert not list((tmp_path / "out").rglob("*.partial"))
