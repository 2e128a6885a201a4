"""No raw id in any artifact, log or metric: whole runs on a masked log, then every byte they left is looked at."""

import os
import pathlib
import subprocess
import sys

import pytest
import sentinels
import small_feed

from hrlrec_tf.data import masking, requests, text_scan
from hrlrec_tf.simulator.config import WorldConfig
from serving.server import EmbeddedServer

pytestmark = pytest.mark.slow

SMALL = WorldConfig(users=60, items=120, days=4, requests_per_day=60)
LEARNABLE = WorldConfig(users=300, items=600, days=7, requests_per_day=150)  # a model of it passes the gates
SIZES = (
    "network.embedding_dim=8",
    "network.state_dim=12",
    "network.attention_heads=2",
    "network.user_id=true",
    "training.epochs=1",
)


def hrlrec(folder: pathlib.Path, *words: object) -> None:
    """Runs a verb in a process of its own, whose temporary files and output are kept to be looked at."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    name = f"{len(list(folder.glob('*.log')))}-{words[0]}"
    environment = {**os.environ, sentinels.KEY_ENV: sentinels.KEY, "TMPDIR": str(folder / "tmp")}
    done = subprocess.run(
        [sys.executable, "-m", "hrlrec_tf.cli", *map(str, words), "--json", str(folder / f"{name}.json")],
        capture_output=True,
        text=True,
        env=environment,
    )
    (folder / f"{name}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    assert done.returncode == 0, done.stderr


def test_the_verbs(tmp_path_factory, tmp_path):
    raw = tmp_path_factory.mktemp("raw")
    log, secrets = raw / "log", sentinels.write(raw / "log", SMALL)
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
        str(raw / "left"),
        "--sessions",
        sessions,
    )
    users.unlink()
    assert text_scan.find(tmp_path, secrets) == []


def test_the_pipeline(tmp_path_factory, tmp_path):
    log = tmp_path_factory.mktemp("raw") / "log"
    secrets = sentinels.write(log, LEARNABLE)
    words = ["quickstart", "--log", str(log), "--workdir", str(tmp_path / "run")]
    hrlrec(tmp_path, *words, "--set", "training.epochs=2")
    assert (tmp_path / "run" / "request.json").exists()
    assert text_scan.find(tmp_path, secrets) == []


def test_daily_runs(tmp_path_factory, tmp_path):
    """Two days, then a user is forgotten and a third day goes on without."""
    raw = tmp_path_factory.mktemp("raw")
    log, work, users = raw / "log", tmp_path / "feed", raw / "users.txt"
    secrets = sentinels.write(log, small_feed.WORLD)
    small_feed.write_limits(raw)
    daily = ["daily", "--log", log, "--workdir", work, "--catalogue", *small_feed.options(raw, *SIZES)]
    hrlrec(tmp_path, *daily, "--date", "2024-01-03", "--first")
    hrlrec(tmp_path, *daily, "--date", "2024-01-04")
    assert text_scan.find(tmp_path, secrets) == []
    gone = masking.mask_text(secrets[0], sentinels.KEY.encode())
    assert text_scan.find(work, [gone])
    users.write_text(secrets[0], encoding="utf-8")
    hrlrec(tmp_path, "forget", "--log", log, "--in-place", "--workdir", work, "--user-file", users)
    assert text_scan.find(tmp_path, [gone]) == []
    hrlrec(tmp_path, *daily, "--date", "2024-01-05")
    assert text_scan.find(tmp_path, [*secrets, gone]) == []
