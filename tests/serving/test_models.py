"""Several models, version policies, labels, and what a new model config changes."""

import pathlib
import shutil
import threading
import time
import types
from collections.abc import Callable, Iterator

import fakes
import grpc
import pytest
import toy
from google.protobuf import text_format
from tensorflow_serving.apis import get_model_status_pb2, model_management_pb2, model_service_pb2_grpc
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.config import model_server_config_pb2

from hrlrec_tf.errors import ConfigError, ModelError
from serving import json_tensors, version_folders, versions
from serving.loaded import ServedVersion
from serving.metrics import Metrics
from serving.model_config import VersionPolicy
from serving.models import Models
from serving.server import EmbeddedServer
from serving.versions import ModelVersions


@pytest.fixture
def base(tmp_path: pathlib.Path, toy_versions: pathlib.Path) -> pathlib.Path:
    """A base folder with versions 1 and 2."""
    for number in (1, 2):
        shutil.copytree(toy_versions / str(number), tmp_path / "toy" / str(number))
    return tmp_path / "toy"


def add(base: pathlib.Path, toy_versions: pathlib.Path, number: int) -> None:
    shutil.copytree(toy_versions / str(number), base / str(number))


def config(base: pathlib.Path, policy: str = "all {}", name: str = toy.NAME, **labels: int) -> str:
    text = "".join(f"version_labels {{ key: '{label}' value: {number} }}" for label, number in labels.items())
    return (
        f"config {{ name: '{name}' base_path: '{base}' model_platform: 'tensorflow' "
        f"model_version_policy {{ {policy} }} {text} }}"
    )


def write(path: pathlib.Path, *configs: str) -> pathlib.Path:
    path.write_text(f"model_config_list {{ {' '.join(configs)} }}")
    return path


@pytest.fixture
def serve(tmp_path: pathlib.Path) -> Iterator[Callable[..., EmbeddedServer]]:
    """Starts a server of model configs."""
    servers = []

    def start(*configs: str, poll_seconds: float = 0.05, **options) -> EmbeddedServer:
        path = write(tmp_path / "models.config", *configs)
        servers.append(EmbeddedServer(port=0, model_config_file=path, poll_seconds=poll_seconds, **options).start())
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def factor(server: EmbeddedServer, **spec) -> float:
    with grpc.insecure_channel(server.address) as channel:
        return toy.y(toy.stub(channel).Predict(toy.scaling([1.0], **spec)))[0][0]


def refusal(server: EmbeddedServer, **spec) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as refused:
        factor(server, **spec)
    return refused.value.code().name, refused.value.details()


def reload(server: EmbeddedServer, *configs: str) -> None:
    request = model_management_pb2.ReloadConfigRequest()
    text = f"model_config_list {{ {' '.join(configs)} }}"
    request.config.CopyFrom(text_format.Parse(text, model_server_config_pb2.ModelServerConfig()))
    with grpc.insecure_channel(server.address) as channel:
        model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(request)


def states(server: EmbeddedServer, label: str | None = None) -> dict[int, str]:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = toy.NAME
    if label is not None:
        request.model_spec.version_label = label
    with grpc.insecure_channel(server.address) as channel:
        answer = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request)
    return {s.version: ModelVersionStatus.State.Name(s.state) for s in answer.model_version_status}


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_versions_and_labels(base, serve):
    server = serve(config(base, stable=1, canary=2), rest_port=0)
    assert factor(server) == 2
    assert [factor(server, version=1), factor(server, version=2)] == [1, 2]
    assert [factor(server, label="stable"), factor(server, label="canary")] == [1, 2]
    assert refusal(server, version=3) == ("NOT_FOUND", "version 3 of 'toy' is not served; served are: 1, 2")
    assert refusal(server, label="x")[0] == "INVALID_ARGUMENT"
    assert states(server) == {1: "AVAILABLE", 2: "AVAILABLE"}
    body = {"instances": [[1]]}
    assert toy.http(server.rest_address, "/v1/models/toy/labels/stable:predict", body) == (200, {"predictions": [[1]]})
    status = toy.http(server.rest_address, "/v1/models/toy/labels/stable")[1]["model_version_status"]
    assert [version["version"] for version in status] == ["1"]
    assert states(server, label="canary") == {2: "AVAILABLE"}


def test_latest_two_slide(base, serve, toy_versions):
    server = serve(config(base, "latest { num_versions: 2 }"))
    add(base, toy_versions, 3)
    until(lambda: states(server) == {1: "END", 2: "AVAILABLE", 3: "AVAILABLE"})
    shutil.rmtree(base / "3")
    until(lambda: server.versions(toy.NAME) == [1, 2])
    assert factor(server) == 2


def test_a_refused_version_lets_the_one_before_serve(base, serve, toy_versions):
    server = serve(config(base, "latest { num_versions: 2 }"))
    add(base, toy_versions, 3)
    (base / "3" / "saved_model.pb").write_bytes(b"broken")
    until(lambda: states(server).get(3) == "END")
    assert server.versions(toy.NAME) == [1, 2]
    assert server.metrics.value("hrlrec_serving_loads_total", model="toy", outcome="refused") == 1


def test_specific_versions(base, serve, toy_versions):
    server = serve(config(base, "specific { versions: 1 }"))
    assert states(server) == {1: "AVAILABLE"} and factor(server) == 1
    with pytest.raises(ModelError, match=r"holds none of the specific versions \[9\].*it holds \[1, 2\]"):
        serve(config(base, "specific { versions: 9 }"))


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("specific { versions: 2 versions: 3 }", "3: cannot be served: "),
        (
            "specific { versions: 9 }",
            r"holds none of the specific versions \[9\] that its policy wants; it holds \[1, 2, 3\]",
        ),
    ],
)
def test_a_policy_that_names_what_cannot_be_served_is_refused(base, serve, toy_versions, policy, reason):
    server = serve(config(base, "specific { versions: 1 }"))
    add(base, toy_versions, 3)
    (base / "3" / "saved_model.pb").write_bytes(b"broken")
    with pytest.raises(grpc.RpcError, match=reason) as refused:
        reload(server, config(base, policy))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert server.versions(toy.NAME) == [1] and factor(server) == 1


def test_a_model_that_moves_keeps_its_metric(base, serve, toy_versions):
    server = serve(config(base, "specific { versions: 2 }"))
    reload(server, config(toy_versions, "specific { versions: 2 }"))
    assert server.metrics.value("hrlrec_serving_live_version", model=toy.NAME, version="2") == 1


def test_a_version_taken_again_while_it_is_unloaded_does_not_end(base):
    versions = ModelVersions(base, 0, name="toy", policy=VersionPolicy(specific=frozenset({2})), metrics=Metrics())
    versions.start()
    with versions.lease(2):
        versions.adopt(VersionPolicy(specific=frozenset({1})))
        versions.go_live()
        versions.retire_unwanted()
        unloading = {status.version: status.state for status in versions.statuses()}
        assert unloading == {1: ModelVersionStatus.AVAILABLE, 2: ModelVersionStatus.UNLOADING}
        versions.adopt(VersionPolicy(specific=frozenset({2})))
    until(lambda: not any("unload-toy" in thread.name for thread in threading.enumerate()))
    assert {status.version: status.state for status in versions.statuses()}[2] == ModelVersionStatus.LOADING
    versions.abandon(VersionPolicy(specific=frozenset({1})))
    assert {status.version: status.state for status in versions.statuses()}[2] == ModelVersionStatus.END


def test_several_models(base, serve, toy_versions):
    server = serve(config(base, "latest {}"), config(toy_versions, "specific { versions: 3 }", "other"))
    assert server.model_names == ["toy", "other"]
    with grpc.insecure_channel(server.address) as channel:
        request = toy.scaling([1.0])
        request.model_spec.name = "other"
        assert toy.y(toy.stub(channel).Predict(request)) == [[3.0]]
        request.model_spec.name = "third"
        with pytest.raises(grpc.RpcError, match="there is no model 'third'; this server has 'toy', 'other'"):
            toy.stub(channel).Predict(request)


def test_a_label_moves_only_to_a_live_version(base, serve, toy_versions):
    server = serve(config(base, "specific { versions: 1 }", stable=1))
    with pytest.raises(grpc.RpcError) as refused:
        reload(server, config(base, "specific { versions: 1 }", stable=2))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert refused.value.details() == (
        "the label 'stable' of 'toy' names version 2, which is not live (live: 1); move it to one that is"
    )
    assert factor(server, label="stable") == 1
    reload(server, config(base, "specific { versions: 1 versions: 2 }", stable=1, canary=2))
    assert factor(server, label="canary") == 2
    reload(server, config(base, "specific { versions: 2 }", stable=2))
    assert factor(server, label="stable") == 2 and refusal(server, label="canary")[0] == "INVALID_ARGUMENT"
    assert states(server) == {1: "END", 2: "AVAILABLE"}


def test_a_refused_config_changes_nothing(base, serve, toy_versions, tmp_path):
    server = serve(config(base, "specific { versions: 1 }", stable=1))
    wrong = config(tmp_path / "absent", name="new")
    for configs in (
        [config(base, "specific { versions: 2 }", stable=2), wrong],
        [config(base, "specific { versions: 2 }", stable=1)],
    ):
        with pytest.raises(grpc.RpcError) as refused:
            reload(server, *configs)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert server.model_names == ["toy"] and factor(server, label="stable") == 1
    with pytest.raises(grpc.RpcError, match="twice"):
        reload(server, config(base), config(base))


def test_a_refused_config_gives_back_at_once_what_it_loaded(base, serve, toy_versions, monkeypatch):
    """Nothing of it answers in between, and no later look is needed."""
    server = serve(config(base, "specific { versions: 1 }", stable=1), poll_seconds=0)
    live: list[list[int]] = []
    closed: list[int] = []
    check, close = Models._check_labels, ServedVersion.close
    monkeypatch.setattr(Models, "_check_labels", lambda *args: live.append(server.versions(toy.NAME)) or check(*args))
    monkeypatch.setattr(ServedVersion, "close", lambda self: closed.append(self.number) or close(self))
    wrong = config(base, stable=9)
    for configs, loaded in (
        ([wrong], [2]),
        ([config(toy_versions, "latest { num_versions: 3 }", stable=9)], [1, 2, 3]),
        ([wrong, config(toy_versions, "specific { versions: 3 }", "new")], [2, 3]),
    ):
        with pytest.raises(grpc.RpcError, match="names version 9"):
            reload(server, *configs)
        assert live.pop() == [1] == server.versions(toy.NAME) and factor(server) == 1
        assert sorted(closed) == loaded
        closed.clear()
        assert server.metrics.value("hrlrec_serving_live_version", model=toy.NAME, version="1") == 1
    assert states(server) == {1: "AVAILABLE", 2: "END"}
    assert server.metrics.value("hrlrec_serving_swaps_total", model=toy.NAME) is None
    reload(server, config(base, "specific { versions: 2 }", stable=2))
    assert states(server) == {1: "END", 2: "AVAILABLE"} and closed == [1]


def test_an_unforeseen_error_in_a_reload_changes_nothing(base, serve, monkeypatch):
    server = serve(config(base, "specific { versions: 1 }"), poll_seconds=0)
    looks = []

    def look(folder):
        if folder == base:  # other tests' servers go on looking at theirs
            looks.append(folder)
            if len(looks) == 2:
                raise PermissionError("no")
        return version_folders.look(folder)

    monkeypatch.setattr(versions, "version_folders", types.SimpleNamespace(look=look))
    with pytest.raises(grpc.RpcError, match="the server's log says why"):
        reload(server, config(base, "latest {}"))
    assert server.versions(toy.NAME) == [1] and factor(server) == 1
    reload(server, config(base, "latest {}"))
    assert server.versions(toy.NAME) == [2]


def test_labels_for_unavailable_versions(base, serve, toy_versions):
    only_one = "specific { versions: 1 versions: 3 }"
    with pytest.raises(ConfigError, match="'canary' of 'toy' names version 3, which is not live"):
        serve(config(base, only_one, canary=3))
    server = serve(config(base, only_one, canary=3), allow_labels_for_unavailable=True)
    assert refusal(server, label="canary")[0] == "NOT_FOUND"
    add(base, toy_versions, 3)
    until(lambda: 3 in server.versions(toy.NAME))
    assert factor(server, label="canary") == 3
    with pytest.raises(grpc.RpcError, match="'canary'.*not live"):  # in use: it moves only to a live version
        reload(server, config(base, only_one, canary=2))


def test_the_config_file_is_read_again(base, serve, toy_versions, tmp_path, caplog):
    server = serve(config(base, stable=1), model_config_poll_seconds=0.05)
    path = tmp_path / "models.config"
    write(path, config(base, stable=9))
    until(lambda: "names version 9" in caplog.text)
    assert factor(server, label="stable") == 1
    path.write_text("nonsense")
    until(lambda: "is no tensorflow.serving.ModelServerConfig" in caplog.text)
    write(path, config(base, stable=2), config(toy_versions, "all {}", "new"))
    until(lambda: server.model_names == ["toy", "new"])
    assert factor(server, label="stable") == 2
    assert caplog.text.count("names version 9") == 1


def test_a_removed_model_is_unloaded_when_its_calls_have_ended(toy_versions):
    versions = ModelVersions(toy_versions, 0, name="toy", policy=VersionPolicy(latest=2), metrics=Metrics())
    versions.start()
    with versions.lease(2) as version:
        versions.retire_all()
        number = {s.version: ModelVersionStatus.State.Name(s.state) for s in versions.statuses()}
        assert number == {2: "UNLOADING", 3: "END"}
        assert toy.y(version.predict(toy.scaling([1.0]))) == [[2.0]]
    until(lambda: versions.statuses()[1].state == ModelVersionStatus.END)


def test_a_rest_call_is_read_and_run_by_one_version(base, serve, monkeypatch):
    """A version with another signature takes over between the two; the one that read the call is kept for it."""
    server = serve(config(base, "latest {}"), rest_port=0)
    fill = json_tensors.fill

    def fill_before_a_swap(*args):
        filled = fill(*args)
        fakes.write_saved_model(base / "3")
        until(lambda: server.versions(toy.NAME) == [3])
        return filled

    monkeypatch.setattr(json_tensors, "fill", fill_before_a_swap)
    body = {"instances": [[1]]}
    assert toy.http(server.rest_address, "/v1/models/toy:predict", body) == (200, {"predictions": [[2.0]]})
    until(lambda: states(server) == {2: "END", 3: "AVAILABLE"})


def test_no_call_fails_while_versions_and_labels_change(base, serve, toy_versions):
    """Callers ask by label, by model and over REST while everything that can change does."""
    server = serve(config(base, "specific { versions: 1 }", live=1), rest_port=0)
    wrong: list[object] = []
    answers: list[float] = []
    stop = threading.Event()

    def ask(call: Callable[[], float]) -> None:
        while not stop.is_set():
            try:
                answers.append(call())
            except Exception as error:
                wrong.append(error)

    channel = grpc.insecure_channel(server.address)
    stub = toy.stub(channel)
    callers = [
        lambda: toy.y(stub.Predict(toy.scaling([1.0], label="live")))[0][0],
        lambda: toy.y(stub.Predict(toy.scaling([1.0])))[0][0],
        lambda: toy.http(server.rest_address, "/v1/models/toy/labels/live:predict", {"instances": [[1]]})[1][
            "predictions"
        ][0][0],
    ]
    threads = [threading.Thread(target=ask, args=(call,)) for call in callers]
    for thread in threads:
        thread.start()
    add(base, toy_versions, 3)
    for number in (2, 3, 1, 2):
        reload(server, config(base, f"specific {{ versions: {number} }}", live=number))
    reload(server, config(toy_versions, "specific { versions: 3 }", live=3))  # another base folder
    time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    channel.close()
    assert not wrong
    assert set(answers) == {1.0, 2.0, 3.0}
