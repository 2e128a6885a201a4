"""From sessions to a served list by the command line's verbs, and on after a kill."""

import json
import pathlib
import re

import numpy as np
import pytest
import sessions
import tensorflow as tf
import tiny
from test_export import call, request

from hrlrec_tf import models, training, verbs
from hrlrec_tf.baselines.rl import config
from hrlrec_tf.baselines.rl.networks import DuelingQNetwork, FlatNetwork
from hrlrec_tf.data import schema
from hrlrec_tf.evaluation import verb as evaluation

from .conftest import settings

MORE = ("training.epochs=2", "training.target_period=1", "training.learning_rate=0.01")


def train(model: str, prepared: pathlib.Path, out: pathlib.Path, *more: str, resume: bool = False) -> dict:
    files = [[str(prepared / split / "sessions-0.tfrecord.gz")] for split in ("train", "validation")]
    log = schema.read(prepared / "schema.pbtxt")
    wanted, transform = settings(model, *MORE, *more), str(prepared / "transform")
    return models.train(model, wanted, log, transform, *files, str(out), resume, progress=False)


@pytest.fixture(scope="module")
def folder(prepared, tmp_path_factory) -> pathlib.Path:
    """A trained double-dueling-DQN."""
    tf.config.run_functions_eagerly(True)
    out = tmp_path_factory.mktemp("rl") / "model"
    train("double-dueling-dqn", prepared, out, "network.dropout=0.2", "training.hidden_ids=0.3")
    tf.config.run_functions_eagerly(False)
    return out


def test_the_folder(folder):
    result = json.loads((folder / "result.json").read_text())
    assert (result["model"], result["epochs"], result["batches"]) == ("double-dueling-dqn", 2, 6)
    network, _, found = models.load(str(folder))
    assert type(network) is DuelingQNetwork and np.abs(network.item_level.critic.mean_candidate).max() > 0
    assert found == settings("double-dueling-dqn", *MORE, "network.dropout=0.2", "training.hidden_ids=0.3")
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["split"] for row in records] == ["train", "validation", "panel"] * 2
    assert set(records[1]) == {"epoch", "step", "split", "auc", "gauc", "click_rate"}  # Q is no probability
    documented = (pathlib.Path(config.__file__).parents[3] / "docs" / "metrics.md").read_text()
    for name in set(records[0]) - {"epoch", "step", "split"}:
        level = re.sub("^(channel|item)_", "{level}_", name)
        assert f"`{name}`" in documented or f"`{level}`" in documented, name


def test_evaluate(folder, prepared, eager):
    result = tiny.run_verb(evaluation.EVALUATE, f"--model={folder} --data={prepared} --replicates=20")
    assert 0 <= result["auc"] <= 1 and "log_loss" not in result


def test_export_and_rank(folder, tmp_path):
    tiny.run_verb(verbs.EXPORT, f"--model={folder} --out={tmp_path}")
    served = tf.saved_model.load(str(tmp_path / "1"))
    assert set(served.signatures) == {"serving_default", "rank", "score", "score_examples"}
    ranked = call(served, request())
    scores = call(served, request(), "score")["click_probability"][0]
    assert ranked["item_id"][0, 0].decode() == f"item_id{np.argmax(scores)}" and (ranked["q_channel"] == 0).all()
    assert len(set(ranked["item_id"][0])) == sessions.SPEC.list_length
    examples = [sessions.to_example(sessions.random_session(np.random.default_rng(0)))]
    rows = served.signatures["score_examples"](examples=tf.constant(examples))
    network, reader, _ = models.load(str(folder))
    for name, values in network(reader.read(examples)).items():
        np.testing.assert_allclose(rows[name], values, atol=1e-5)


def test_resumed_it_ends_as_the_unbroken_run(folder, prepared, tmp_path, monkeypatch, eager):
    seen, step = [], training._Run._train_step

    def kill(run, experience):
        seen.append(experience)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return step(run, experience)

    more = ("network.dropout=0.2", "training.hidden_ids=0.3")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training._Run, "_train_step", kill)
        train("double-dueling-dqn", prepared, tmp_path / "model", *more)
    result = train("double-dueling-dqn", prepared, tmp_path / "model", *more, resume=True)
    assert result == json.loads((folder / "result.json").read_text()) | {
        "validation_auc": pytest.approx(result["validation_auc"], abs=1e-6)
    }
    one, other = (models.load(str(each))[0].get_weights() for each in (folder, tmp_path / "model"))
    for mine, expected in zip(one, other):
        np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-6)


def test_ddpg_trains_and_is_found_again(prepared, tmp_path, eager):
    result = train("ddpg", prepared, tmp_path / "model", "training.epochs=1")
    network, reader, _ = models.load(str(tmp_path / "model"))
    assert type(network) is FlatNetwork and result["model"] == "ddpg" and 0 < result["validation_auc"] < 1
    assert set(network(tiny.random_batch(reader, 2))) == {"q_item", "click_probability"}
