"""Which process of a cluster this is."""

import json

import pytest

from hrlrec_tf.cli import main
from hrlrec_tf.distribution import cluster
from hrlrec_tf.errors import ConfigError

WHOLE = {"chief": ["c:1"], "worker": ["w:1", "w:2"], "ps": ["p:1"]}


def task(strategy: str, addresses: dict, role: str = "chief", index: object = 0) -> cluster.Task:
    config = {"cluster": addresses, "task": {"type": role, "index": index}, "environment": "cloud"}
    return cluster.read_task(strategy, {"TF_CONFIG": json.dumps(config)})


def test_a_single_machine_needs_nothing():
    alone = cluster.read_task("single", {})
    assert (alone.chief, alone.serves, alone.workers, alone.place) == (True, False, 1, 0)
    assert task("single", {"chief": ["c:1"]}).chief  # as platforms set it for one process


@pytest.mark.parametrize(
    "role, index, chief, serves", [("chief", 0, True, False), ("worker", 1, False, True), ("ps", 0, False, True)]
)
def test_roles_under_parameter_servers(role, index, chief, serves):
    found = task("parameter-server", WHOLE, role, index)
    assert (found.chief, found.serves, found.workers) == (chief, serves, 2)


def test_every_synchronous_process_trains():
    two = {"chief": ["c:1"], "worker": ["w:1"]}
    found = [task("multi-worker", two, role) for role in ("chief", "worker")]
    assert [(each.chief, each.serves, each.workers, each.place) for each in found] == [
        (True, False, 2, 0),
        (False, False, 2, 1),
    ]
    workers = {"worker": ["w:1", "w:2"]}
    assert [task("multi-worker", workers, "worker", place).chief for place in (0, 1)] == [True, False]


@pytest.mark.parametrize("strategy", ["multi-worker", "parameter-server"])
def test_no_cluster(strategy):
    with pytest.raises(ConfigError, match=f"--strategy {strategy} needs a cluster, but .* TF_CONFIG is not set; set"):
        cluster.read_task(strategy, {})


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"cluster": {"worker": 3}, "task": {"type": "worker"}}'])
def test_no_json_of_a_cluster(text):
    with pytest.raises(ConfigError, match='TF_CONFIG is no JSON of the form {"cluster": {"worker": .*HOST:PORT'):
        cluster.read_task("multi-worker", {"TF_CONFIG": text})


@pytest.mark.parametrize(
    "strategy, addresses, role, index, message",
    [
        ("single", WHOLE, "chief", 0, "cluster of 4 processes, but --strategy is single, .* --strategy parameter-serv"),
        ("single", {"worker": ["a", "b"]}, "worker", 0, "would train alone; choose --strategy multi-worker"),
        ("parameter-server", {"chief": ["c"], "worker": ["w"]}, "chief", 0, "no process of role ps, which --strategy"),
        ("parameter-server", {"worker": ["w"], "ps": ["p"]}, "worker", 0, "no process of role chief"),
        ("multi-worker", WHOLE, "worker", 0, "role ps, which --strategy multi-worker does not know; it takes chief, w"),
        ("multi-worker", {}, "worker", 0, "no process of role worker"),
        ("parameter-server", {**WHOLE, "evaluator": ["e"]}, "chief", 0, "processes of role evaluator"),
        ("parameter-server", {**WHOLE, "chief": ["c:1", "c:2"]}, "chief", 0, "2 processes of role chief; there must"),
        ("parameter-server", WHOLE, "worker", 2, "this process is worker 2, but its cluster has 1 chief, 1 ps, 2 work"),
        ("parameter-server", WHOLE, "master", 0, "this process is master 0, but its cluster"),
        ("multi-worker", {"worker": ["w:1", "w:1"]}, "worker", 0, "gives the address w:1 to two processes"),
    ],
)
def test_contradictions(strategy, addresses, role, index, message):
    with pytest.raises(ConfigError, match=message):
        task(strategy, addresses, role, index)


def test_the_command_line_tells_it_in_one_sentence(prepared, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    words = ["train", f"--data={prepared}", f"--out={tmp_path / 'model'}", "--strategy=parameter-server"]
    assert main(words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hrlrec train: --strategy parameter-server needs a cluster")
    assert not (tmp_path / "model").exists()
