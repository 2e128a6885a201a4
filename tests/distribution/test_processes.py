"""Distributed training by real processes: the quality of one machine, and what happens when one of them dies."""

import json
import pathlib

import clusters
import numpy as np
import pytest
import sessions
import tensorflow as tf
import tiny

from hrlrec_tf import model_folder, models, verbs
from hrlrec_tf.data import schema

pytestmark = pytest.mark.slow

SERVERS = {"chief": 1, "worker": 2, "ps": 1}
SETTINGS = (*tiny.QUIET, "training.learning_rate=0.01", "training.target_period=5", "training.actor_period=2")


def write(folder: pathlib.Path, lists: int, validation: int) -> pathlib.Path:
    """Prepared sessions of full lists, whose rows are clicked by their channel in the main; no transform is fitted."""
    rng = np.random.default_rng(3)
    chances = dict(zip(sessions.CHANNELS, (0.9, 0.5, 0.1)))
    for split, count in {"train": lists, "validation": validation}.items():
        examples = []
        for _ in range(count):
            session = sessions.random_session(rng, rows=sessions.SPEC.list_length)
            session["clicks"] = [int(rng.random() < chances[channel]) for channel in session["channel"]]
            examples.append(sessions.to_example(session))
        sessions.write(folder / split / "sessions-0.tfrecord.gz", examples)
    log = schema.to_schema(sessions.SPEC)
    schema.write(log, folder / "schema.pbtxt")
    (folder / "summary.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> pathlib.Path:
    return write(tmp_path_factory.mktemp("learnable") / "sessions", lists=160, validation=100)


def words(strategy: str, data: pathlib.Path, out: pathlib.Path, *settings: str) -> list[str]:
    chosen = (*SETTINGS, *settings)
    options = [f"--data={data}", f"--out={out}", "--preset=paper", f"--strategy={strategy}"]
    return [*options, *(f"--set={setting}" for setting in chosen)]


def alone(data: pathlib.Path, out: pathlib.Path, *settings: str) -> dict:
    """The result of the same training on one machine."""
    return dict(tiny.run_verb(verbs.TRAIN, "", *words("single", data, out, *settings)))


def epochs(out: pathlib.Path) -> int:
    """Finished epochs of a run under way."""
    return max((record["epoch"] for record in model_folder.read_metrics(out)), default=0)


def weights(out: pathlib.Path) -> dict[str, np.ndarray]:
    """All numbers of the last checkpoint."""
    reader = tf.train.load_checkpoint(str(out / "checkpoints/last"))
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    return {name: reader.get_tensor(name) for name in names if "save_counter" not in name}


def test_parameter_servers_learn_what_one_machine_learns(prepared, tmp_path):
    settings = ("training.epochs=4", "training.checkpoint_batches=7")
    out, single = tmp_path / "model", tmp_path / "single"
    with clusters.Cluster(SERVERS, tmp_path / "logs", *words("parameter-server", prepared, out, *settings)) as cluster:
        code = cluster.wait("chief")
        assert code == 0, cluster.said("chief")
        assert cluster.processes["worker-0"].poll() is None  # they serve until they are ended
    expected = alone(prepared, single, *settings)
    result = json.loads((out / "result.json").read_text())
    assert (result["epochs"], result["batches"]) == (expected["epochs"], expected["batches"]) == (4, 40)
    assert expected["validation_auc"] > 0.7
    assert result["validation_auc"] == pytest.approx(expected["validation_auc"], abs=0.05)
    assert {path.name for path in out.iterdir()} == {path.name for path in single.iterdir()}
    mine, other = weights(out), weights(single)
    assert {name: value.shape for name, value in mine.items()} == {name: value.shape for name, value in other.items()}
    records = [(each["epoch"], each["step"], each["split"]) for each in model_folder.read_metrics(out)]
    assert records == [(each["epoch"], each["step"], each["split"]) for each in model_folder.read_metrics(single)]
    assert models.load(str(out))[2] == models.load(str(single))[2]


def test_tables_in_shards_become_a_whole_model(prepared, tmp_path):
    out, sizes = tmp_path / "model", {"chief": 1, "worker": 1, "ps": 2}
    chosen = words("parameter-server", prepared, out, "training.epochs=1", "network.dropout=0.2")
    program = [str(pathlib.Path(__file__).with_name("small_shards.py"))]
    with clusters.Cluster(sizes, tmp_path / "logs", *chosen, program=program) as cluster:
        assert cluster.wait("chief") == 0, cluster.said("chief")
    network, reader, _ = models.load(str(out))
    saved = [value.shape for value in weights(out).values()]
    for table in (each for each in network.variables if "embeddings" in each.name):
        assert saved.count(tuple(table.shape)) >= 4  # with its target and both of Adam's moments


def test_a_synchronous_step_is_the_step_on_the_whole_batch(tmp_path):
    """Of lists without padding, for workers' means count alike; without the similarity loss, for a worker knows its own
    pool of items only; and without clipping, whose norm takes what two workers add to one row of a table one by one.
    """
    data = write(tmp_path / "sessions", lists=16, validation=4)
    settings = ("training.epochs=1", "losses.similarity=0", "training.gradient_clip=1000")
    out, sizes = tmp_path / "model", {"chief": 1, "worker": 1}
    with clusters.Cluster(sizes, tmp_path / "logs", *words("multi-worker", data, out, *settings)) as cluster:
        assert [cluster.wait("chief"), cluster.wait("worker")] == [0, 0], cluster.said("chief")
    alone(data, tmp_path / "single", *settings)
    mine, other = weights(out), weights(tmp_path / "single")
    assert mine.keys() == other.keys() and len(mine) > 100
    gradients = [name for name in mine if "_momentums" in name or "optimizer/_variables" in name]
    assert any(np.abs(other[name]).max() > 1e-4 for name in gradients)
    for name, value in other.items():
        if not name.startswith("noise/"):  # each worker draws for its own lists
            np.testing.assert_allclose(mine[name], value, atol=1e-5, err_msg=name)


def test_training_goes_on_when_a_worker_dies_and_takes_it_back(prepared, tmp_path):
    out = tmp_path / "model"
    settings = ("training.epochs=12", "training.patience=12")
    with clusters.Cluster(SERVERS, tmp_path / "logs", *words("parameter-server", prepared, out, *settings)) as cluster:
        cluster.wait_until(lambda: epochs(out) >= 1, "chief")
        cluster.kill("worker", 1)
        cluster.wait_until(lambda: epochs(out) >= 4, "chief")
        cluster.start("worker", 1)
        assert cluster.wait("chief") == 0, cluster.said("chief")
    assert json.loads((out / "result.json").read_text())["epochs"] == 12


def test_a_new_coordinator_goes_on_from_the_last_checkpoint(prepared, tmp_path):
    out = tmp_path / "model"
    settings = ("training.epochs=5", "training.patience=5")
    with clusters.Cluster(SERVERS, tmp_path / "logs", *words("parameter-server", prepared, out, *settings)) as cluster:
        cluster.wait_until(lambda: epochs(out) >= 2, "chief")
        cluster.kill("chief")
        assert not (out / "result.json").exists()
        kept = [record for record in model_folder.read_metrics(out) if record["epoch"] == 1]
        cluster.start("chief", 0, "--resume")
        assert cluster.wait("chief") == 0, cluster.said("chief")
    assert json.loads((out / "result.json").read_text())["epochs"] == 5
    records = model_folder.read_metrics(out)
    assert records[: len(kept)] == kept
    assert [record["epoch"] for record in records if record["split"] == "train"] == [1, 2, 3, 4, 5]


def test_a_lost_server_is_told_and_training_goes_on_with_a_new_one(prepared, tmp_path):
    out = tmp_path / "model"
    settings = ("training.epochs=15", "training.patience=15")
    with clusters.Cluster(SERVERS, tmp_path / "logs", *words("parameter-server", prepared, out, *settings)) as cluster:
        cluster.wait_until(lambda: epochs(out) >= 1, "chief")
        cluster.kill("ps")
        assert cluster.wait("chief") == 1
        (line,) = [line for line in cluster.said("chief").splitlines() if line.startswith("hrlrec train:")]
        assert "a parameter server was lost" in line and "the chief with --resume" in line
        assert not (out / "result.json").exists()
        finished = epochs(out)
        cluster.start("ps")
        cluster.start("chief", 0, "--resume")
        assert cluster.wait("chief") == 0, cluster.said("chief")
    assert json.loads((out / "result.json").read_text())["epochs"] == 15 > finished >= 1
