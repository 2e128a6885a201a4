"""The training loop: what it writes, what it keeps, how it goes on after a kill."""

import json
import pathlib

import numpy as np
import pandas as pd
import pytest
import sessions
import tensorflow as tf
import tiny

from hrlrec_tf import training
from hrlrec_tf.config import Config, RewardConfig
from hrlrec_tf.data import schema
from hrlrec_tf.errors import DataError, ModelError, TrainingError
from hrlrec_tf.evaluation.scoring import score_sessions

ROWS = pd.DataFrame({"user_id": [], "channel": [], "position": [], "label": [], "prediction": []})


@pytest.fixture
def few(tmp_path) -> str:
    """A file of eight sessions: one batch."""
    rng = np.random.default_rng(0)
    examples = [sessions.to_example(sessions.random_session(rng)) for _ in range(8)]
    return sessions.write(tmp_path / "few.tfrecord.gz", examples)


@pytest.fixture
def train(prepared, tmp_path):
    """Trains into `tmp_path / "model"`."""

    def run(files: list[str], validation: list[str], *settings: str, **options):
        return training.train(
            tiny.config(*settings),
            schema.read(prepared / "schema.pbtxt"),
            str(prepared / "transform"),
            files,
            validation,
            str(tmp_path / "model"),
            progress=False,
            **options,
        )

    return run


@pytest.fixture
def quick(monkeypatch) -> None:
    """A training step only shifts the weights."""

    def step(run, _):
        for variable in run.agent.model.variables:
            variable.assign_add(tf.fill(variable.shape, 0.01))
        run.agent.train_step_counter.assign_add(1)
        return {"loss": tf.constant(1.0)}

    monkeypatch.setattr(training._Run, "_checked_step", step)


def records(folder: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


class TestFinishedRun:
    """Of the fixture `model_dir`: two epochs of 40 lists in batches of 16, traced."""

    def test_metrics(self, model_dir):
        found = records(model_dir)
        assert [(row["epoch"], row["step"], row["split"]) for row in found] == [
            (1, 3, "train"), (1, 3, "validation"), (2, 6, "train"), (2, 6, "validation")
        ]  # fmt: skip
        names = {
            f"{level}_{name}"
            for level in ("channel", "item")
            for name in (
                "critic_loss",
                "actor_loss",
                "click_loss",
                "similarity_loss",
                "q_mean",
                "return_mean",
                "dead_share",
            )
        }
        for row in found:
            expected = names | {"loss", "gradient_norm"} if row["split"] == "train" else {"auc", "gauc", "log_loss"}
            assert expected <= set(row)
        assert found[2]["loss"] < found[0]["loss"]

    def test_result_names_the_best(self, model_dir):
        result = json.loads((model_dir / "result.json").read_text())
        best = max(row["auc"] for row in records(model_dir) if row["split"] == "validation")
        assert result == {"model": "hrl-rec", "epochs": 2, "batches": 6, "validation_auc": best}

    def test_the_loaded_networks_score_as_the_best(self, model_dir, prepared, eager):
        network, reader, config = training.load(str(model_dir))
        assert config == Config().override(tiny.TRAINED)
        rows = score_sessions(network, reader, [str(prepared / "validation" / "sessions-0.tfrecord.gz")])
        result = json.loads((model_dir / "result.json").read_text())
        assert training.metrics.click_metrics(rows)["auc"] == pytest.approx(result["validation_auc"])

    def test_the_folder_stands_alone(self, model_dir):
        names = {path.name for path in model_dir.iterdir()}
        assert names == {
            "config.json",
            "schema.pbtxt",
            "transform",
            "checkpoints",
            "metrics.jsonl",
            "logs",
            "result.json",
        }
        assert list((model_dir / "logs").iterdir())
        assert [path.name for path in model_dir.parent.iterdir()] == [model_dir.name]

    def test_it_is_never_overwritten(self, model_dir, prepared):
        for resume in (False, True):
            with pytest.raises(ModelError, match="holds a finished model; choose another --out"):
                training.train(Config(), schema.read(prepared / "schema.pbtxt"), "none", [], [], str(model_dir), resume)


def test_a_resumed_run_goes_on_as_if_unbroken(train, model_dir, prepared, tmp_path, monkeypatch, eager):
    """Killed in its second epoch, after that epoch's losses were written and before its checkpoint."""
    files = [[str(prepared / split / "sessions-0.tfrecord.gz")] for split in ("train", "validation")]

    def kill(run):
        if run.epoch == 2:
            raise KeyboardInterrupt
        validate(run)

    validate = training._Run._validate
    with monkeypatch.context() as patch:
        patch.setattr(training._Run, "_validate", kill)
        with pytest.raises(KeyboardInterrupt):
            train(*files, *tiny.TRAINED)
    model = tmp_path / "model"
    assert len(records(model)) == 3 and not (model / "result.json").exists()
    with pytest.raises(ModelError, match="holds no finished model"):
        training.load(str(model))
    with pytest.raises(ModelError, match="begun with other settings"):
        train(*files, *tiny.TRAINED, "losses.gamma=0.9", resume=True)

    result = train(*files, *tiny.TRAINED, resume=True)
    found, expected = records(model), records(model_dir)
    assert [row.keys() for row in found] == [row.keys() for row in expected]
    for mine, unbroken in zip(found, expected):
        for name, value in unbroken.items():
            assert mine[name] == value or mine[name] == pytest.approx(value, rel=2e-3, abs=1e-4), name
    assert result["batches"] == 6 and result["epochs"] == 2


def test_the_best_network_is_kept_and_patience_ends_training(train, few, tmp_path, monkeypatch, quick):
    aucs, seen = [0.6, 0.7, 0.65, 0.5, 0.9], []

    def score(network, *_):
        seen.append(network.get_weights())
        return ROWS

    monkeypatch.setattr(training, "score_sessions", score)
    monkeypatch.setattr(training.metrics, "click_metrics", lambda _: {"auc": aucs[len(seen) - 1]})
    result = train([few], [few], "training.epochs=5", "training.patience=2")
    assert (result["epochs"], result["validation_auc"]) == (4, 0.7)
    network, *_ = training.load(str(tmp_path / "model"))
    for kept, second in zip(network.get_weights(), seen[1]):
        np.testing.assert_array_equal(kept, second)
    assert any(not np.array_equal(kept, last) for kept, last in zip(network.get_weights(), seen[3]))


def test_validation_with_one_class_keeps_the_newest_network(train, few, tmp_path, monkeypatch, quick, eager):
    """There is nothing to choose by: all epochs run, whatever the patience."""
    unclicked = sessions.random_session(np.random.default_rng(1)) | {"clicks": [0] * 4}
    newest = []
    step = training._Run.train_epoch
    monkeypatch.setattr(
        training._Run,
        "train_epoch",
        lambda run, progress: (step(run, progress), newest.append(run.agent.model.get_weights())),
    )
    files = [sessions.write(tmp_path / "validation.gz", [sessions.to_example(unclicked)])]
    result = train([few], files, "training.epochs=2", "training.patience=1")
    assert result == {"model": "hrl-rec", "epochs": 2, "batches": 2}
    network, *_ = training.load(str(tmp_path / "model"))
    for kept, last in zip(network.get_weights(), newest[-1]):
        np.testing.assert_array_equal(kept, last)
    assert [row["split"] for row in records(tmp_path / "model")] == ["train", "validation"] * 2
    assert_plain_json(tmp_path / "model")


@pytest.mark.parametrize("kind", ["no files", "no lists"])
def test_validation_of_nothing_keeps_the_newest_network(few, reader, tmp_path, kind, eager):
    files = [sessions.write(tmp_path / "empty.gz", [])] if kind == "no lists" else []
    run = training._Run(tiny.config(), reader, tmp_path, [few], files)
    for saved in (1, 2):
        run._validate()
        assert run._best.latest_checkpoint.endswith(f"ckpt-{saved}")
    assert (run.stale_epochs, run.best) == (0, {})


def test_a_loss_that_is_no_number_stops_by_its_name(train, tmp_path, eager):
    session = sessions.random_session(np.random.default_rng(0), rows=4)
    session["dwell_seconds"][1] = float("nan")
    file = sessions.write(tmp_path / "nan.gz", [sessions.to_example(session)])
    with pytest.raises(TrainingError, match="item_critic_loss is nan in batch 1; lower training.learning_rate"):
        train([file], [])
    assert not (tmp_path / "model" / "result.json").exists()


def test_critics_start_at_the_mean_return(train, few, monkeypatch):
    started = {}

    def stop(run, progress):
        for level, layers in run.agent.model.levels.items():
            started[level] = layers.critic.state_weights.bias.numpy().item()
        followers = run.agent.target.levels["item"].critic.state_weights.bias
        assert followers.numpy().item() == started["item"]
        experience = next(iter(run._experience(0)))
        found = run.agent.loss(experience).extra.metrics
        started["expected"] = {level: float(found[f"{level}_return_mean"]) for level in ("channel", "item")}
        raise KeyboardInterrupt

    monkeypatch.setattr(training._Run, "train_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        train([few], [])
    expected = started.pop("expected")
    assert started == pytest.approx(expected, rel=1e-5) and expected["item"] > expected["channel"] > 0


def test_no_sessions_are_refused(train, tmp_path):
    with pytest.raises(DataError, match="there are no session files; run hrlrec prepare"):
        train([], [])
    with pytest.raises(DataError, match="the training sessions are empty"):
        train([sessions.write(tmp_path / "empty.gz", [])], [])


class TestFolder:
    """Opening a model folder."""

    @pytest.fixture
    def open_folder(self, prepared, tmp_path):
        log, sessions_of = (
            schema.read(prepared / "schema.pbtxt"),
            lambda split: prepared / split / "sessions-0.tfrecord.gz",
        )
        return lambda config=None, resume=False, split="train": training._open_folder(
            tmp_path / "model", config or Config(), [str(sessions_of(split))], log, str(prepared / "transform"), resume
        )

    def test_new(self, open_folder, tmp_path):
        folder = open_folder()
        assert {path.name for path in folder.iterdir()} == {"config.json", "schema.pbtxt", "transform"}
        assert [path.name for path in tmp_path.iterdir()] == ["model"]
        assert Config.from_dict(json.loads((folder / "config.json").read_text())["config"]) == Config()

    def test_an_unfinished_one_starts_again_unless_resumed(self, open_folder):
        folder = open_folder()
        (folder / "metrics.jsonl").write_text("old")
        assert (open_folder(resume=True) / "metrics.jsonl").read_text() == "old"
        assert not (open_folder() / "metrics.jsonl").exists()

    def test_resuming_takes_the_same_settings(self, open_folder):
        config = Config(rewards=RewardConfig(channel_weights={"news": (1, 1, 1, 1)}))
        open_folder(config)
        assert open_folder(config, resume=True).exists()
        with pytest.raises(ModelError, match="begun with other settings or sessions; repeat them"):
            open_folder(Config(), resume=True)

    def test_resuming_takes_the_same_sessions(self, open_folder):
        open_folder()
        with pytest.raises(ModelError, match="begun with other settings or sessions"):
            open_folder(resume=True, split="eval")

    def test_resuming_nothing_starts(self, open_folder):
        assert (open_folder(resume=True) / "config.json").exists()

    def test_other_files_are_left_alone(self, open_folder, tmp_path):
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "thesis.tex").write_text("mine")
        for resume in (False, True):
            with pytest.raises(ModelError, match="holds other files; choose another --out"):
                open_folder(resume=resume)
        assert (tmp_path / "model" / "thesis.tex").read_text() == "mine"

    def test_a_stranger_with_a_config_of_his_own_is_left_alone(self, open_folder, tmp_path):
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "config.json").write_text('{"theme": "dark"}')
        (tmp_path / "model" / "thesis.tex").write_text("mine")
        with pytest.raises(ModelError, match="holds other files"):
            open_folder()
        assert (tmp_path / "model" / "thesis.tex").exists()

    def test_a_half_written_metrics_line_does_not_stop_a_resumed_run(self, tmp_path):
        run = training._Run.__new__(training._Run)
        run.folder = tmp_path
        (tmp_path / "metrics.jsonl").write_text('{"epoch": 1, "step": 3}\n{"epoch": 2, "step": 6}\n{"epoch": 2, "st')
        run._forget_after(1)
        assert records(tmp_path) == [{"epoch": 1, "step": 3}]


def assert_plain_json(folder: pathlib.Path) -> None:
    """No NaN: it is no JSON."""
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


def test_metrics_are_json_that_every_reader_knows(model_dir):
    assert_plain_json(model_dir)


def test_the_seed_is_tensorflows(train, few, monkeypatch):
    drawn = []

    def stop(*_):
        drawn.append(float(tf.random.uniform([])))
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "_Run", stop)
    monkeypatch.setattr(training, "SessionReader", lambda *_: None)
    for seed in (1, 1, 2):
        with pytest.raises(KeyboardInterrupt):
            train([few], [], f"training.seed={seed}")
    assert drawn[0] == drawn[1] != drawn[2]
