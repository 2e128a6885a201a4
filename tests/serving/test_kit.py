"""Files of the TensorFlow Serving kit: read with the real messages, compared with each other, used by the server."""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import time
import types
import urllib.request

import fakes
import grpc
import pytest
import yaml
from conformance import OTHER, call_of, predict
from kubernetes import client as kubernetes
from tensorflow_serving.config import model_server_config_pb2

from serving import server, text_protos, verbs
from serving.client import RankingClient
from serving.server import EmbeddedServer

KIT = pathlib.Path(server.__file__).parent / "kit"
# Of tensorflow_model_server, model_servers/main.cc.
FLAGS = {
    *("port", "rest_api_port", "model_config_file", "model_config_file_poll_wait_seconds", "enable_model_warmup"),
    *("allow_version_labels_for_unavailable_models", "enable_batching", "batching_parameters_file"),
    *("monitoring_config_file", "ssl_config_file"),
}
MESSAGES = {
    "models.config": model_server_config_pb2.ModelServerConfig,
    "batching.config": text_protos.BatchingParameters,
    "monitoring.config": text_protos.MonitoringConfig,
    "ssl.config": text_protos.SSLConfig,
}


def read(name):
    return text_protos.read(KIT / name, MESSAGES[name]())


def manifests(name):
    return list(yaml.safe_load_all((KIT / name).read_text()))


def arguments():
    """The server's arguments in compose and on Kubernetes: name -> value."""
    compose = manifests("docker-compose.yaml")[0]["services"]["hrlrec"]
    deployment = manifests("kubernetes.yaml")[0]["spec"]["template"]["spec"]["containers"][0]
    assert compose["entrypoint"] == deployment["command"] == ["tensorflow_model_server"]
    assert compose["image"] == deployment["image"]
    both = [
        dict(word.removeprefix("--").split("=", 1) for word in words)
        for words in (compose["command"], deployment["args"])
    ]
    assert both[0] == both[1]
    return both[0]


def test_every_file_is_listed_in_the_readme():
    readme = (KIT / "README.md").read_text()
    files = {file.name for file in KIT.iterdir()} - {"README.md"}
    assert files == set(re.findall(r"^\| `([^`]+)` \|", readme, re.MULTILINE))


def test_the_models():
    (model,) = read("models.config").model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == (server.MODEL_NAME, "/models/hrlrec", "tensorflow")
    assert set(model.version_labels) == {"stable", "canary"}
    assert set(model.version_labels.values()) <= set(model.model_version_policy.specific.versions)


def test_batching_monitoring_and_tls():
    batching, monitoring, ssl = (read(f"{name}.config") for name in ("batching", "monitoring", "ssl"))
    assert batching.pad_variable_length_inputs and not batching.allowed_batch_sizes
    assert (
        batching.max_batch_size.value >= 2 and batching.max_enqueued_batches.value and batching.num_batch_threads.value
    )
    assert monitoring.prometheus_config.enable
    assert ssl.client_verify and all("..." in getattr(ssl, name) for name in ("server_key", "server_cert", "custom_ca"))


def test_arguments_name_flags_files_and_ports_that_exist():
    given = arguments()
    assert set(given) <= FLAGS
    mounted = {name: value for name, value in given.items() if name.endswith("_file")}
    assert all(
        value.startswith("/config/") and (KIT / value.removeprefix("/config/")).is_file() for value in mounted.values()
    )
    assert given["port"] == str(server.PORT) and given["rest_api_port"] == "8501"


def test_hrlrec_serve_has_the_same_flags():
    parser = argparse.ArgumentParser()
    verbs.SERVE.add_arguments(parser)
    known = set(re.findall(r"--([a-z-]+)", parser.format_help()))
    own = {"rest_api_port": "rest-port", "enable_model_warmup": "help"}  # warm-up is always on
    assert {own.get(name, name.replace("_", "-")) for name in FLAGS} <= known


def test_compose_and_kubernetes_mount_what_the_server_reads():
    compose = manifests("docker-compose.yaml")[0]["services"]["hrlrec"]
    assert [volume.rsplit(":", 2)[1:] for volume in compose["volumes"]] == [["/models", "ro"], ["/config", "ro"]]
    assert {port.split(":", 1)[1] for port in compose["ports"]} == {"8500:8500", "8501:8501"}
    assert all(port.startswith("127.0.0.1:") for port in compose["ports"]), "a trial is not open to the network"
    deployment, service, scaler, budget = manifests("kubernetes.yaml")
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {"models": "/models", "config": "/config"}
    assert {volume["name"] for volume in pod["spec"]["volumes"]} == set(mounts)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": int(arguments()["port"]), "http": int(arguments()["rest_api_port"])}
    assert {port["targetPort"]: port["port"] for port in service["spec"]["ports"]} == ports
    labels = pod["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] == labels
    assert budget["spec"]["selector"]["matchLabels"] == labels
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": f"/v1/models/{server.MODEL_NAME}/metadata", "port": "http"}
    annotations = pod["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == read("monitoring.config").prometheus_config.path
    assert int(annotations["prometheus.io/port"]) == ports["http"]


def round_trip(content, model):
    """What the Kubernetes client's model keeps of a manifest: fields that it does not know are lost."""
    api = kubernetes.ApiClient()
    return api.sanitize_for_serialization(api.deserialize(types.SimpleNamespace(data=json.dumps(content)), model))


def test_kubernetes_knows_every_field():
    kinds = {
        "Deployment": "V1Deployment",
        "Service": "V1Service",
        "HorizontalPodAutoscaler": "V2HorizontalPodAutoscaler",
        "PodDisruptionBudget": "V1PodDisruptionBudget",
    }
    found = manifests("kubernetes.yaml")
    assert [each["kind"] for each in found] == list(kinds)
    for content in found:
        assert round_trip(content, kinds[content["kind"]]) == content
        assert content["metadata"]["name"] == "hrlrec"
    wrong = {**found[1], "spec": {**found[1]["spec"], "clusterIp": "None"}}
    assert round_trip(wrong, "V1Service") != wrong


def test_kserve():
    (service,) = manifests("kserve.yaml")
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert service["metadata"]["name"] == server.MODEL_NAME, "KServe's runtime takes it for the model's name"
    predictor = dict(service["spec"]["predictor"])
    model = predictor.pop("model")
    assert set(predictor) == {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget"}
    assert model.pop("modelFormat") == {"name": "tensorflow"}
    claim = manifests("kubernetes.yaml")[0]["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]
    assert model.pop("storageUri") == f"pvc://{claim['claimName']}/hrlrec"
    assert {word.removeprefix("--").split("=")[0] for word in model["args"]} <= FLAGS
    container = {"name": "", **model}  # the rest of a model is a container
    assert round_trip(container, "V1Container") == container


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kit") / "models" / "hrlrec"
    folder.mkdir(parents=True)
    fakes.write_saved_model(folder / "1", scale=1.0)
    return folder


def placed(config, base, file):
    """Writes the kit's model config with this base folder."""
    config.model_config_list.config[0].base_path = str(base)
    scratch = file.with_suffix(".partial")
    scratch.write_text(str(config))
    scratch.replace(file)


def test_the_embedded_server_reads_the_same_files(base, tmp_path):
    config = read("models.config")
    placed(config, base, tmp_path / "models.config")
    with (
        EmbeddedServer(
            port=0,
            rest_port=0,
            model_config_file=tmp_path / "models.config",
            allow_labels_for_unavailable=True,
            batching_parameters_file=KIT / "batching.config",
            monitoring_config_file=KIT / "monitoring.config",
        ) as embedded,
        RankingClient(embedded.address) as client,
    ):
        assert len(client.rank(OTHER).items) == 10
        path = read("monitoring.config").prometheus_config.path
        with urllib.request.urlopen(f"http://{embedded.rest_address}{path}") as page:
            assert b"hrlrec" in page.read()


def test_canary_and_rollback_as_the_readme_says(base, tmp_path):
    file, config = tmp_path / "models.config", read("models.config")
    placed(config, base, file)
    model = config.model_config_list.config[0]
    with (
        EmbeddedServer(
            port=0,
            model_config_file=file,
            model_config_poll_seconds=0.05,
            poll_seconds=0.05,
            allow_labels_for_unavailable=True,
        ) as embedded,
        grpc.insecure_channel(embedded.address) as channel,
    ):

        def serves() -> dict[str, int]:
            """Label -> version that answers."""
            found = {}
            for label in ("stable", "canary"):
                call = call_of([OTHER], channel)
                call.model_spec.version_label = label
                found[label] = predict(channel, call).model_spec.version.value
            return found

        def step(expected: dict[str, int]) -> None:
            placed(config, base, file)
            deadline = time.monotonic() + 20
            while serves() != expected and time.monotonic() < deadline:
                time.sleep(0.02)
            assert serves() == expected

        fakes.write_saved_model(base / "2", scale=0.5)
        step({"stable": 1, "canary": 1})
        model.model_version_policy.specific.versions.append(2)
        placed(config, base, file)
        deadline = time.monotonic() + 20
        while embedded.versions("hrlrec") != [1, 2] and time.monotonic() < deadline:
            time.sleep(0.02)
        assert serves() == {"stable": 1, "canary": 1}
        model.version_labels["canary"] = 2
        step({"stable": 1, "canary": 2})
        model.version_labels["stable"] = 2
        step({"stable": 2, "canary": 2})
        model.version_labels.update({"stable": 1, "canary": 1})
        step({"stable": 1, "canary": 1})


def test_the_tls_template_is_filled_as_the_readme_says(tmp_path):
    texts = {
        name: f"-----BEGIN {name.upper()}-----\nab+/c\n-----END-----\n"
        for name in ("server.key", "server.crt", "clients-ca.crt")
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    block = re.search(r"```bash\n(quoted\(\).*?)kubectl", (KIT / "README.md").read_text(), re.DOTALL)[1]
    path = f"{pathlib.Path(sys.executable).parent}:/usr/bin:/bin"
    subprocess.run(["bash", "-euc", block], cwd=tmp_path, env={"PATH": path}, check=True)
    filled = text_protos.read(tmp_path / "ssl-filled.config", text_protos.SSLConfig())
    assert [filled.server_key, filled.server_cert, filled.custom_ca] == list(texts.values()) and filled.client_verify
    assert (tmp_path / "ssl-filled.config").stat().st_mode & 0o077 == 0, "a key is for its owner alone"
