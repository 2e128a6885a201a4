"""The training loop: what it writes, what it keeps, how it goes on after a kill."""

import json
import pathlib
import re

import numpy as np
import pandas as pd
import pytest
import sessions
import tensorflow as tf
import tiny

from hrlrec_tf import training
from hrlrec_tf.agents.health import HealthMonitor
from hrlrec_tf.config import Config
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
        return run.health.pack({"loss": tf.constant(1.0)})

    monkeypatch.setattr(training._Run, "_train_step", step)
    monkeypatch.setattr(training._Run, "_panel", None)


def records(folder: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


class TestFinishedRun:
    """Of the fixture `model_dir`: two epochs of 40 lists in batches of 16, traced."""

    def test_metrics(self, model_dir):
        found = records(model_dir)
        assert [(row["epoch"], row["step"], row["split"]) for row in found] == [
            (1, 3, "train"), (1, 3, "validation"), (1, 3, "panel"),
            (2, 6, "train"), (2, 6, "validation"), (2, 6, "panel"),
        ]  # fmt: skip
        parts = ("actor", "critic", "encoder", "click_head")
        names = {
            f"{level}_{name}"
            for level in ("channel", "item")
            for name in (
                *("critic_loss", "actor_loss", "click_loss", "action_click_loss", "similarity_loss", "cloning_loss"),
                *("q_mean", "return_mean", "overestimation", "q_return_correlation", "dead_share"),
                "smallest_q_mean",
                *("nearest_item_distance", *(f"{part}_gradient_norm" for part in parts)),
            )
        }
        whole = {"loss", "gradient_norm", "items_gradient_norm", "tables_gradient_norm", "similarity_pool"}
        expected = {
            "train": names | whole,
            "validation": {"auc", "gauc", "log_loss", "calibration", "click_rate"},
            "panel": {
                *("requests", "users", "distinct_lists", "distinct_lists_per_user", "between_user_channel_variance"),
                *(f"channel_share/{channel}" for channel in sessions.CHANNELS),
            },
        }
        for row in found:
            assert set(row) - {"epoch", "step", "split"} == expected[row["split"]]
        assert found[3]["loss"] < found[0]["loss"]
        assert found[0]["item_overestimation"] == pytest.approx(found[0]["item_q_mean"] - found[0]["item_return_mean"])

    def test_every_metric_is_documented(self, model_dir):
        documented = (pathlib.Path(__file__).parent.parent / "docs" / "metrics.md").read_text()
        for row in records(model_dir):
            for name in set(row) - {"epoch", "step", "split"}:
                level = re.sub("^(channel|item)_", "{level}_", name)
                share = re.sub("^channel_share/.*", "channel_share/{channel}", name)
                assert any(f"`{each}`" in documented for each in (name, level, share)), name

    def test_tensorboard_shows_what_the_file_holds(self, model_dir):
        assert shown(model_dir) == values_by_tag(model_dir)

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


class TestResume:
    """A run killed anywhere ends as an unbroken one. Three batches an epoch, a checkpoint after every second."""

    SETTINGS = (
        *tiny.TRAINED,
        "network.dropout=0.2",
        "losses.action_noise=0.05",
        "training.checkpoint_batches=2",
        "training.hidden_ids=0.3",
        "training.keep=target",
        "training.target_period=1",
        "training.target_tau=0.4",
    )

    @pytest.fixture(scope="class")
    def files(self, prepared) -> list[list[str]]:
        return [[str(prepared / split / "sessions-0.tfrecord.gz")] for split in ("train", "validation")]

    @pytest.fixture
    def resume(self, train, files, tmp_path, monkeypatch, eager):
        """Trains; a hook may kill it, then it is resumed."""

        def run(attribute: str, hook) -> pathlib.Path:
            with monkeypatch.context() as patch:
                patch.setattr(training._Run, attribute, hook)
                with pytest.raises(KeyboardInterrupt):
                    train(*files, *self.SETTINGS)
            assert not (tmp_path / "model" / "result.json").exists()
            with pytest.raises(ModelError, match="holds no finished model"):
                training.load(str(tmp_path / "model"))
            train(*files, *self.SETTINGS, resume=True)
            return tmp_path / "model"

        return run

    @pytest.fixture(scope="class")
    def unbroken(self, prepared, files, tmp_path_factory) -> pathlib.Path:
        out = tmp_path_factory.mktemp("unbroken") / "model"
        tf.config.run_functions_eagerly(True)
        log = schema.read(prepared / "schema.pbtxt")
        config = tiny.config(*self.SETTINGS)
        training.train(config, log, str(prepared / "transform"), *files, str(out), progress=False)
        tf.config.run_functions_eagerly(False)
        return out

    def assert_same(self, resumed: pathlib.Path, unbroken: pathlib.Path) -> None:
        found, expected = records(resumed), records(unbroken)
        assert [row.keys() for row in found] == [row.keys() for row in expected]
        for mine, other in zip(found, expected):
            for name, value in other.items():
                assert mine[name] == value or mine[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name
        assert shown(resumed) == values_by_tag(resumed)
        result, other = (json.loads((folder / "result.json").read_text()) for folder in (resumed, unbroken))
        assert result.pop("validation_auc") == pytest.approx(other.pop("validation_auc"), abs=1e-6)
        assert result == other == {"model": "hrl-rec", "epochs": 2, "batches": 6}
        for kind in ("last", "best"):
            mine, other = (weights(folder / "checkpoints" / kind) for folder in (resumed, unbroken))
            assert mine.keys() == other.keys()
            for name, value in other.items():
                np.testing.assert_allclose(mine[name], value, rtol=1e-5, atol=1e-6, err_msg=name)

    @pytest.mark.parametrize("batch", [2, 6])
    def test_killed_inside_an_epoch(self, resume, unbroken, batch):
        """Before any checkpoint, and right after one in the second epoch."""
        step, seen = training._Run._train_step, []

        def kill(run, experience):
            seen.append(experience)
            if len(seen) == batch:
                raise KeyboardInterrupt
            return step(run, experience)

        self.assert_same(resume("_train_step", kill), unbroken)

    def test_killed_after_the_losses_were_written_and_before_their_checkpoint(self, resume, unbroken):
        validate = training._Run._validate

        def kill(run):
            if run.epoch == 2:
                raise KeyboardInterrupt
            validate(run)

        self.assert_same(resume("_validate", kill), unbroken)

    def test_other_settings_are_refused(self, train, files, few):
        with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
            patch.setattr(training, "_Run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            train(*files, *self.SETTINGS)
        with pytest.raises(ModelError, match="begun with other settings"):
            train(*files, *self.SETTINGS, "losses.gamma=0.9", resume=True)


def test_a_checkpoint_of_another_version_is_refused(few, reader, tmp_path, eager):
    run = training._Run(tiny.config(), reader, tmp_path, [few], [])
    missing, of_another_type = tf.Variable(1, dtype=tf.int64), tf.Variable(1, dtype=tf.int32)
    for step in (missing, of_another_type):
        manager = tf.train.CheckpointManager(tf.train.Checkpoint(step=step), run._last.directory, max_to_keep=1)
        manager.save()
        run._last = tf.train.CheckpointManager(run._last.checkpoint, manager.directory, max_to_keep=2)
        with pytest.raises(ModelError, match="written by another version of hrlrec_tf; start again without --resume"):
            run.start()


def shown(folder: pathlib.Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> (step, value) of all TensorBoard events."""
    found: dict[str, list[tuple[int, float]]] = {}
    for file in sorted((folder / "logs").iterdir()):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                number = float(tf.make_ndarray(value.tensor))
                found.setdefault(value.tag, []).append((event.step, pytest.approx(number, rel=1e-6)))
    return found


def values_by_tag(folder: pathlib.Path) -> dict[str, list[tuple[int, float]]]:
    """What `shown` should find."""
    expected: dict[str, list[tuple[int, float]]] = {}
    for row in records(folder):
        epoch, _, split = (row.pop(name) for name in ("epoch", "step", "split"))
        for name, value in row.items():
            expected.setdefault(f"{split}/{name}", []).append((epoch, value))
    return expected


def weights(checkpoints: pathlib.Path) -> dict[str, np.ndarray]:
    """Every number in the newest checkpoint; metrics of an unfinished epoch are text."""
    reader = tf.train.load_checkpoint(str(checkpoints))
    values = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    return {
        name: value for name, value in values.items() if not isinstance(value, bytes) and "save_counter" not in name
    }


def test_one_trace(train, few, quick):
    """The last batch of an epoch is smaller, and the profiles' width differs."""
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training._Run, "_validate", lambda run: seen.append(run.steps.function))
        train([few], [], "training.batch_size=3", "training.epochs=2")
    assert seen[1].experimental_get_tracing_count() == 1 and seen[0] is seen[1]


def test_a_look_at_the_metrics_comes_before_each_checkpoint(train, few, quick, monkeypatch):
    """A checkpoint never holds what should have stopped training."""
    calls = []
    check = HealthMonitor.check
    monkeypatch.setattr(HealthMonitor, "check", lambda health, step: (calls.append(step), check(health, step)))
    save = tf.train.CheckpointManager.save
    monkeypatch.setattr(tf.train.CheckpointManager, "save", lambda manager: (calls.append("save"), save(manager))[1])
    train([few], [], "training.batch_size=1", "training.epochs=1", "training.checkpoint_batches=3")
    assert calls == [3, "save", 6, "save", 8, "save", "save"]  # the best networks, then everything


def test_the_best_network_is_kept_and_patience_ends_training(train, few, tmp_path, monkeypatch, quick):
    aucs, seen = [0.6, 0.7, 0.65, 0.5, 0.9], []

    def score(network, *_):
        seen.append(network.get_weights())
        return ROWS

    monkeypatch.setattr(training, "score_sessions", score)
    monkeypatch.setattr(training.metrics, "click_metrics", lambda *_: {"auc": aucs[len(seen) - 1]})
    result = train([few], [few], "training.epochs=5", "training.patience=2")
    assert (result["epochs"], result["validation_auc"]) == (4, 0.7)
    network, *_ = training.load(str(tmp_path / "model"))
    for kept, second in zip(network.get_weights(), seen[1]):
        np.testing.assert_array_equal(kept, second)
    assert any(not np.array_equal(kept, last) for kept, last in zip(network.get_weights(), seen[3]))


@pytest.mark.parametrize("tau, kept", [(0.9, "target"), (0.1, "online")])
def test_the_moving_average_is_the_model_once_it_forgot_its_start(train, few, tmp_path, monkeypatch, quick, tau, kept):
    seen = []
    monkeypatch.setattr(training, "score_sessions", lambda network, *_: seen.append(network) or ROWS)
    monkeypatch.setattr(training.metrics, "click_metrics", lambda *_: {"auc": 0.5 + len(seen) / 10})
    settings = ("training.epochs=2", "training.keep=target", "training.target_period=1", f"training.target_tau={tau}")
    train([few], [few], *settings)
    assert [network.name for network in seen] == [kept, kept]
    network, *_ = training.load(str(tmp_path / "model"))
    for mine, expected in zip(network.get_weights(), seen[1].get_weights()):
        np.testing.assert_array_equal(mine, expected)
    other = tf.train.load_checkpoint(str(tmp_path / "model/checkpoints/last"))  # both networks stand there
    assert {name.split("/")[0] for name in other.get_variable_to_shape_map()} >= {"online", "target"}


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
    run.start()
    run._look_at_lists()  # of nobody
    for saved in (1, 2):
        run._validate()
        assert run._best.latest_checkpoint.endswith(f"ckpt-{saved}")
    assert (run.stale_epochs, run.best) == (0, {})


def test_a_loss_that_is_no_number_stops_by_its_name(train, tmp_path, eager):
    session = sessions.random_session(np.random.default_rng(0), rows=4)
    session["dwell_seconds"][1] = float("nan")
    file = sessions.write(tmp_path / "nan.gz", [sessions.to_example(session)])
    with pytest.raises(TrainingError, match="critic loss of the item recommender is nan in batch 1, for its rewards"):
        train([file], [])
    assert not (tmp_path / "model" / "result.json").exists()


def test_critics_start_at_the_mean_return(train, few, monkeypatch):
    started = {}

    def stop(run, progress):
        for level, layers in run.agent.model.levels.items():
            started[level] = layers.critic.state_weights.bias.numpy().item()
        followers = run.agent.target.levels["item"].critic.state_weights.bias
        assert followers.numpy().item() == started["item"]
        experience = next(iter(run.stream.epoch(0)))
        found = run.agent.loss(experience).extra.metrics
        started["expected"] = {level: float(found[f"{level}_return_mean"]) for level in ("channel", "item")}
        raise KeyboardInterrupt

    monkeypatch.setattr(training._Run, "train_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        train([few], [])
    expected = started.pop("expected")
    assert started == pytest.approx(expected, rel=1e-5) and expected["item"] > expected["channel"] > 0


def test_a_dead_critic_stops_training(train, few, eager):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(TrainingError, match="critic of the channel selector is"):
        patch.setattr(training._Run, "_start_critics", die)
        train([few], [])


def die(run) -> None:
    """Both critics at a value from which no gradient leads back."""
    for level in run.agent.levels.values():
        level.online.critic.start_at(-100.0)


def test_no_sessions_are_refused(train, tmp_path):
    with pytest.raises(DataError, match="there are no session files; run hrlrec prepare"):
        train([], [])
    with pytest.raises(DataError, match="the training sessions are empty"):
        train([sessions.write(tmp_path / "empty.gz", [])], [])


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
