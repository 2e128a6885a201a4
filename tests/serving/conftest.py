"""The server under test: the embedded one, or TensorFlow Serving where there is one.

Conformance tests run against `$TENSORFLOW_SERVING_ADDRESS` if set, else against a `tensorflow_model_server` on PATH,
else against the embedded server.
"""

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


@pytest.fixture(scope="session")
def serving_address(model_base: pathlib.Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Address of the server that conformance tests call; see the module docstring."""
    given = os.environ.get("TENSORFLOW_SERVING_ADDRESS")
    binary = shutil.which("tensorflow_model_server")
    if given:
        yield given
    elif binary:
        yield from _tensorflow_serving(binary, model_base)
    else:
        yield request.getfixturevalue("embedded").address


def _tensorflow_serving(binary: str, model_base: pathlib.Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [binary, f"--port={port}", "--model_name=hrlrec", f"--model_base_path={model_base}"]
    process = subprocess.Popen(command)
    try:
        _wait_until_it_ranks(f"127.0.0.1:{port}")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


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
