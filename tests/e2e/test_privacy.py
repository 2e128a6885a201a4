"""No raw id in any artifact, log or metric: whole runs on a masked log, then every byte they left is looked at."""

import os
import pathlib
import subprocess
import sys

import pytest
import sentinels

from hrlrec_tf.data import requests, text_scan
from hrlrec_tf.simulator.config import WorldConfig
from serving.server import EmbeddedServer

pytestmark = pytest.mark.slow

WORLD = WorldConfig(users=60, items=120, days=4, requests_per_day=60)
SIZES = (
    "network.embedding_dim=8",
    "network.state_dim=12",
    "network.attention_heads=2",
    "network.user_id=true",
    "training.epochs=1",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("privacy")
    return folder, sentinels.write(folder / "log", WORLD)


def hrlrec(folder: pathlib.Path, *words: str) -> None:
    """Runs a verb in a process of its own, whose temporary files and output are kept to be looked at."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, sentinels.KEY_ENV: sentinels.KEY, "TMPDIR": str(folder / "tmp")}
    done = subprocess.run(
        [sys.executable, "-m", "hrlrec_tf.cli", *words, "--json", str(folder / f"{words[0]}.json")],
        capture_output=True,
        text=True,
        env=environment,
    )
    (folder / f"{words[0]}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    assert done.returncode == 0, done.stderr


def test_the_verbs(place, tmp_path):
    log, secrets = place[0] / "log", place[1]
    sessions, model, served = (str(tmp_path / name) for name in ("sessions", "model", "served"))
    hrlrec(tmp_path, "prepare", "--log", str(log), "--out", sessions, "--report")
    hrlrec(tmp_path, "train", "--data", sessions, "--out", model, *(f"--set={each}" for each in SIZES))
    predictions = str(tmp_path / "rows.parquet")
    hrlrec(tmp_path, "evaluate", "--model", model, "--data", sessions, "--replicates=0", "--predictions", predictions)
    hrlrec(tmp_path, "report", "--runs", model, "--out", str(tmp_path / "report.html"))
    hrlrec(tmp_path, "export", "--model", model, "--out", served)
    (request,) = requests.sample_requests(sessions, count=1)
    (tmp_path / "request.json").write_text(requests.json.dumps(request))
    with EmbeddedServer(served, port=0) as server:
        hrlrec(tmp_path, "rank", "--server", server.address, "--request", str(tmp_path / "request.json"))
    users = tmp_path / "users.txt"
    users.write_text("\n".join(secrets[:2]), encoding="utf-8")
    hrlrec(
        tmp_path,
        "forget",
        "--log",
        str(log),
        "--user-file",
        str(users),
        "--out",
        str(place[0] / "left"),
        "--sessions",
        sessions,
    )
    users.unlink()
    assert text_scan.find(tmp_path, secrets) == []


def test_the_pipeline(place, tmp_path):
    words = ["quickstart", "--log", str(place[0] / "log"), "--workdir", str(tmp_path / "run")]
    hrlrec(tmp_path, *words, *(word for each in SIZES for word in ("--set", each)))
    assert (tmp_path / "run" / "request.json").exists()
    assert text_scan.find(tmp_path, place[1]) == []
