"""One trial: what it trains on, how it goes on, what it says of a failure."""

import json
import re

import pytest
import tiny

from hrlrec_tf import training
from hrlrec_tf.baselines.ctr import training as ctr_training
from hrlrec_tf.errors import TrainingError
from hrlrec_tf.tuning import trials, worker
from hrlrec_tf.tuning.trials import Job


@pytest.fixture
def calls(monkeypatch) -> list[tuple]:
    """What the training loop is called with; it gives the seed's tenth as AUC."""
    seen: list[tuple] = []

    def train(config, schema, transform_dir, train_files, validation_files, out, resume, **_):
        seen.append((config, train_files, validation_files, out, resume))
        return {"epochs": config.training.epochs, "validation_auc": 0.6 + config.training.seed / 10}

    monkeypatch.setattr(training, "train", train)
    return seen


@pytest.fixture
def job(prepared, tmp_path):
    """Writes the job of a trial folder, which is returned."""

    def write(*settings: str, seeds: tuple[int, ...] = ()):
        trials.write(tmp_path, trials.JOB, Job(str(prepared), "hrl-rec", "paper", settings, seeds))
        return tmp_path

    return write


def test_only_training_and_validation_sessions_are_used(job, calls, prepared) -> None:
    folder = job("losses.gamma=0.7")
    outcome = worker.run(folder)
    ((config, train_files, validation_files, out, resume),) = calls
    assert train_files == [str(prepared / "train" / "sessions-0.tfrecord.gz")]
    assert validation_files == [str(prepared / "validation" / "sessions-0.tfrecord.gz")]
    assert (config.losses.gamma, out, resume) == (0.7, str(folder / "model"), True)
    assert outcome == trials.read_outcome(folder)
    assert (outcome.status, outcome.aucs, outcome.epochs) == ("completed", (0.6,), 30)


def test_a_baseline_is_trained_without_a_preset(prepared, tmp_path, monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(
        ctr_training, "train", lambda *words, **_: seen.append(words) or {"epochs": 2, "validation_auc": 0.7}
    )
    trials.write(tmp_path, trials.JOB, Job(str(prepared), "fm", None, ["network.embedding_dim=8"]))
    assert worker.run(tmp_path).aucs == (0.7,)
    ((model, settings, *_),) = seen
    assert model == "fm" and settings.network.embedding_dim == 8


def test_auc_is_the_mean_over_seeds(job, calls) -> None:
    folder = job("training.epochs=3", seeds=(0, 1, 2))
    outcome = worker.run(folder)
    assert [config.training.seed for config, *_ in calls] == [0, 1, 2]
    assert [out for *_, out, _ in calls] == [str(folder / name) for name in ("model", "model-seed-1", "model-seed-2")]
    assert outcome.aucs == (0.6, 0.7, 0.8) and outcome.auc == pytest.approx(0.7) and outcome.epochs == 9


def test_finished_seeds_are_not_trained_again(job, calls) -> None:
    folder = job(seeds=(0, 1))
    (folder / "model").mkdir()
    (folder / "model" / "result.json").write_text(json.dumps({"epochs": 2, "validation_auc": 0.9}))
    assert worker.run(folder).aucs == (0.9, 0.7)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TrainingError("item_critic_loss is nan in batch 3"), "^item_critic_loss is nan in batch 3$"),
        (MemoryError("no\nmemory"), "^MemoryError: no memory; see .*log.txt$"),
    ],
)
def test_a_failure_is_an_outcome_with_its_reason(job, monkeypatch, error, reason) -> None:
    def train(*_, **__):
        raise error

    monkeypatch.setattr(training, "train", train)
    outcome = worker.run(job())
    assert outcome.status == "failed" and outcome.auc is None
    assert re.search(reason, outcome.reason)


def test_without_a_validation_auc_a_trial_failed(job, monkeypatch) -> None:
    monkeypatch.setattr(training, "train", lambda *_, **__: {"epochs": 1})
    outcome = worker.run(job())
    assert outcome.status == "failed" and "need clicked and passed-over rows" in outcome.reason


def test_a_trial_is_the_training_that_the_command_line_would_do(job, eager) -> None:
    """The only real training here: the validation AUC is the model folder's own."""
    folder = job(*tiny.QUIET, "training.epochs=1", "training.batch_size=64")
    outcome = worker.run(folder)
    written = json.loads((folder / "model" / "result.json").read_text())
    assert outcome.reason == "" and outcome.aucs == (written["validation_auc"],)
    assert (folder / "model" / "checkpoints" / "best").is_dir()
