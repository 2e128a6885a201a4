"""The manifest of distributed training says what the command accepts."""

import argparse
import json
import pathlib

import pytest
import yaml

import tfx_pipeline
from hrlrec_tf import models, verbs
from hrlrec_tf.distribution import cluster

JOB = yaml.safe_load((pathlib.Path(tfx_pipeline.__file__).parent / "kubernetes" / "tfjob.yaml").read_text())
REPLICAS = JOB["spec"]["tfReplicaSpecs"]


def container(role: str) -> dict:
    (only,) = REPLICAS[role]["template"]["spec"]["containers"]
    return only


def arguments(role: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    verbs.TRAIN.add_arguments(parser)
    program, verb, *words = container(role)["command"]
    assert (program, verb) == ("hrlrec", "train")
    return parser.parse_args(words)


def told(role: str, index: int) -> dict[str, str]:
    """The environment that the training operator gives to a pod."""
    addresses = {
        name.lower(): [
            f"{JOB['metadata']['name']}-{name.lower()}-{i}.default.svc:2222" for i in range(spec["replicas"])
        ]
        for name, spec in REPLICAS.items()
    }
    task = {"type": role.lower(), "index": index}
    return {"TF_CONFIG": json.dumps({"cluster": addresses, "task": task, "environment": "cloud"})}


def test_kind():
    assert (JOB["apiVersion"], JOB["kind"]) == ("kubeflow.org/v1", "TFJob")
    assert JOB["spec"]["runPolicy"]["cleanPodPolicy"] == "Running"


@pytest.mark.parametrize("role, chief, serves", [("Chief", True, False), ("Worker", False, True), ("PS", False, True)])
def test_every_pod_finds_its_role(role, chief, serves):
    for index in range(REPLICAS[role]["replicas"]):
        task = cluster.read_task(arguments(role).strategy, told(role, index))
        assert (task.chief, task.serves, task.workers) == (chief, serves, REPLICAS["Worker"]["replicas"])


@pytest.mark.parametrize("role", REPLICAS)
def test_pods(role):
    assert container(role)["name"] == "tensorflow"
    assert container(role)["command"] == container("Chief")["command"]
    assert REPLICAS[role]["restartPolicy"] == "OnFailure" and arguments(role).resume
    assert set(container(role)["resources"]["requests"]) == {"cpu", "memory"}
    assert "memory" in container(role)["resources"]["limits"]
    mounted = {mount["name"]: mount["mountPath"] for mount in container(role)["volumeMounts"]}
    (volume,) = REPLICAS[role]["template"]["spec"]["volumes"]
    assert volume["name"] in mounted and "persistentVolumeClaim" in volume
    for folder in (arguments(role).data, arguments(role).out):
        assert folder.startswith(f"{mounted[volume['name']]}/")


def test_its_settings_are_known():
    words = arguments("Chief")
    models.settings(words.model, words.preset).override(words.set)
