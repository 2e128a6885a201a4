"""The server under test: the embedded one, or TensorFlow Serving where there is one.

Conformance tests run against `$TENSORFLOW_SERVING_ADDRESS` (`$TENSORFLOW_SERVING_REST_ADDRESS` for REST) if set, else
against a `tensorflow_model_server` on PATH, else against the embedded server; these two start from one model config.
"""

import dataclasses
import os
import pathlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import fakes
import grpc
import pytest
import toy
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.client import RankingClient, RankingError
from serving.messages import Candidate, RankRequest
from serving.server import EmbeddedServer

START_SECONDS = 60


@pytest.fixture(scope="session")
def model_base(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A base folder with the fake model as version 1; tests must not change it."""
    base = tmp_path_factory.mktemp("models")
    fakes.write_saved_model(base / "1")
    return base


@pytest.fixture(scope="session")
def embedded(model_base: pathlib.Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(model_base, port=0) as server:
        yield server


@pytest.fixture
def client(embedded: EmbeddedServer) -> Iterator[RankingClient]:
    with RankingClient(embedded.address) as client:
        yield client


@dataclasses.dataclass(frozen=True)
class Served:
    """The server that conformance tests call.

    Attributes:
      address: of its gRPC port.
      rest_address: of its REST port, None where it has none.
      config: its model config, where the tests started it: versions 1 (`stable`) and 2 (`canary`).
    """

    address: str
    rest_address: str | None
    config: model_server_config_pb2.ModelServerConfig | None = None


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """See the module docstring."""
    given = os.environ.get("TENSORFLOW_SERVING_ADDRESS")
    if given:
        yield Served(given, os.environ.get("TENSORFLOW_SERVING_REST_ADDRESS"))
        return
    folder = tmp_path_factory.mktemp("conformance")
    for version, scale in ((1, 1.0), (2, 0.5)):
        fakes.write_saved_model(folder / "hrlrec" / str(version), scale=scale)
    config = _config(folder / "hrlrec")
    file = folder / "models.config"
    file.write_text(text_format.MessageToString(config))
    binary = shutil.which("tensorflow_model_server")
    if binary:
        yield from _tensorflow_serving(binary, file, config)
        return
    with EmbeddedServer(port=0, rest_port=0, model_config_file=file, allow_labels_for_unavailable=True) as server:
        yield Served(server.address, server.rest_address, config)


@pytest.fixture(scope="session")
def serving_address(served: Served) -> str:
    """The gRPC address of the server that conformance tests call."""
    return served.address


def _config(base: pathlib.Path) -> model_server_config_pb2.ModelServerConfig:
    config = model_server_config_pb2.ModelServerConfig()
    model = config.model_config_list.config.add(name="hrlrec", base_path=str(base), model_platform="tensorflow")
    model.model_version_policy.specific.versions.extend([1, 2])
    model.version_labels.update({"stable": 1, "canary": 2})
    return config


def _tensorflow_serving(
    binary: str, file: pathlib.Path, config: model_server_config_pb2.ModelServerConfig
) -> Iterator[Served]:
    port, rest_port = _free_port(), _free_port()
    ports = [f"--port={port}", f"--rest_api_port={rest_port}"]
    models = [f"--model_config_file={file}", "--allow_version_labels_for_unavailable_models=true"]
    process = subprocess.Popen([binary, *ports, *models, "--enable_grpc_healthcheck_service=true"])
    try:
        _wait_until_it_ranks(f"127.0.0.1:{port}")
        yield Served(f"127.0.0.1:{port}", f"127.0.0.1:{rest_port}", config)
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_until_it_ranks(address: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    with RankingClient(address) as client:
        while True:
            try:
                client.rank(RankRequest("u", 1, [Candidate("a", "news")]))
                return
            except RankingError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)


@pytest.fixture(scope="session")
def toy_versions(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the toy model as versions 1, 2 and 3, whose factor is the version; tests copy from it."""
    folder = tmp_path_factory.mktemp("toys")
    for number in (1, 2, 3):
        toy.write(folder / str(number), factor=number)
    return folder


@pytest.fixture(scope="session")
def toy_server(toy_versions: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """Version 3 of the toy model over gRPC and REST, with metrics and a log of all calls; tests must not change it."""
    monitoring = tmp_path_factory.mktemp("toy") / "monitoring.txt"
    monitoring.write_text("prometheus_config { enable: true }")
    with EmbeddedServer(
        toy_versions, 0, model_name=toy.NAME, rest_port=0, monitoring_config_file=monitoring, log_calls=1.0
    ) as server:
        yield server


@pytest.fixture
def toy_channel(toy_server: EmbeddedServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(toy_server.address) as channel:
        yield channel
