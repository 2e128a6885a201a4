import argparse
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import fakes
import pytest

from hrlrec_tf.cli import Verb
from hrlrec_tf.errors import ConfigError, HrlrecError, ModelError
from serving import verbs
from serving.messages import Candidate, RankedItem, RankRequest, RankResponse


def run(verb: Verb, *arguments: str) -> Any:
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    return verb.run(parser.parse_args(arguments))


@pytest.fixture
def request_file(tmp_path: pathlib.Path) -> str:
    request = RankRequest("u", 1, [Candidate(f"i{n}", "news") for n in range(20)])
    path = tmp_path / "request.json"
    path.write_text(json.dumps(request.to_dict()), encoding="utf-8")
    return str(path)


def test_rank_prints_the_list(embedded, request_file, capsys):
    result = run(verbs.RANK, "--server", embedded.address, "--request", request_file)
    lines = capsys.readouterr().out.splitlines()
    assert re.split(" {2,}", lines[0]) == ["position", "item", "channel", "click probability", "q channel", "q item"]
    assert len(lines) == 12 and lines[-1] == "ranked by version 1"
    scores = {f"i{n}": score for n, score in enumerate(fakes.click_probability([f"i{n}" for n in range(20)]))}
    best = max(scores, key=scores.get)
    assert lines[1].split() == ["1", best, "news", f"{scores[best]:.4f}", "0.0000", "0.0000"]
    assert result["model_version"] == 1 and len(result["items"]) == 10
    assert result["items"][0] | {"click_probability": None} == {
        "position": 1,
        "item_id": best,
        "channel": "news",
        "click_probability": None,
        "q_channel": 0.0,
        "q_item": 0.0,
        "propensity_channel": 1.0,
        "propensity_item": 1.0,
        "explored": False,
    }
    json.dumps(result)


def test_rank_shows_exploration(embedded, request_file, capsys):
    run(verbs.RANK, "--server", embedded.address, "--request", request_file, "--epsilon", "1")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("explored  propensity channel  propensity item")
    assert lines[1].split()[-3:] == ["yes", "0.5000", "1.0000"]


def test_table_is_aligned():
    item = RankedItem(1, "a-long-item-id", "c", 0.5, 1.0, 2.0, 1.0, 1.0, False)
    lines = verbs.table(RankResponse([item], 3), exploring=False).splitlines()
    assert lines[0].index("channel") == lines[1].index(" c ") + 1


@pytest.mark.parametrize(
    ("server", "change", "message"),
    [
        ("127.0.0.1:1", {}, "no server answers at 127.0.0.1:1; start one with `hrlrec serve`"),
        (None, {"epsilon": 2}, "hrlrec: epsilon must lie in"),
        (None, {"candidates": []}, "no candidates"),
        (None, {"candidats": []}, "request.json: request has the unknown field 'candidats'"),
    ],
)
def test_rank_fails_in_one_line(embedded, request_file, server, change, message):
    path = pathlib.Path(request_file)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(HrlrecError, match=message) as error:
        run(verbs.RANK, "--server", server or embedded.address, "--request", request_file)
    assert "\n" not in str(error.value)


def test_serve_needs_a_version_and_a_port(tmp_path, model_base, embedded):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ModelError, match="holds no version"):
        run(verbs.SERVE, "--model-base", str(tmp_path), "--port", "0")
    with pytest.raises(ConfigError, match="choose another"):
        run(verbs.SERVE, "--model-base", str(model_base), "--port", embedded.address.rpartition(":")[2])
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_until_told_to_stop(model_base, request_file, tmp_path, number):
    program = (
        "import argparse, json; from serving.verbs import SERVE; parser = argparse.ArgumentParser(); "
        "SERVE.add_arguments(parser); print(json.dumps(SERVE.run(parser.parse_args())))"
    )
    command = [sys.executable, "-c", program, "--model-base", str(model_base), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    log = tmp_path / "stderr"
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment)
    try:
        line = process.stdout.readline()
        started = re.fullmatch(r"serving version 1 of hrlrec at (\S+) \(Ctrl-C stops\)\n", line)
        assert started, log.read_text()
        address = started[1]
        assert run(verbs.RANK, "--server", address, "--request", request_file)["items"]
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, log.read_text()
    assert json.loads(output.splitlines()[-1]) == {
        "address": address,
        "model_name": "hrlrec",
        "version": 1,
        "models": {"hrlrec": [1]},
    }


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("", "give either the model's base folder or a model config file"),
        ("--model-base x --model-config-file y", "give either the model's base folder or a model config file"),
        ("--model-config-file x --model-name y", "--model-config-file names the models; leave out --model-name"),
        ("--model-base x --batching-parameters-file y", "--batching-parameters-file needs --enable-batching"),
        ("--model-config-file absent", "absent: cannot be read"),
        ("--model-base x --enable-batching --batching-parameters-file absent", "absent: cannot be read"),
        ("--model-base x --ssl-config-file absent", "absent: cannot be read"),
        ("--model-base x --monitoring-config-file absent", "absent: cannot be read"),
    ],
)
def test_serve_refuses_what_contradicts_itself(words, sentence):
    with pytest.raises(ConfigError, match=sentence):
        run(verbs.SERVE, *words.split(), "--port", "0")


@pytest.mark.parametrize("words", ["--log-calls 2", "--file-system-poll-wait-seconds -1", "--max-queued -1"])
def test_serve_refuses_what_is_out_of_range(words):
    with pytest.raises(SystemExit):
        run(verbs.SERVE, "--model-base", "x", *words.split())


def test_serve_takes_every_option(toy_versions, tmp_path, monkeypatch, capsys):
    """All of TensorFlow Serving's files at once; the server stops as soon as it serves."""
    files = {
        "model-config": f"model_config_list {{ config {{ name: 'toy' base_path: '{toy_versions}' "
        "model_platform: 'tensorflow' model_version_policy { latest { num_versions: 2 } } } }",
        "batching-parameters": "max_batch_size { value: 4 }",
        "monitoring-config": "prometheus_config { enable: true }",
    }
    words = ["--enable-batching", "--rest-port", "0", "--port", "0", "--log-calls", "0.5"]
    words += ["--model-config-file-poll-wait-seconds", "1", "--allow-version-labels-for-unavailable-models"]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        words += [f"--{name}-file", str(tmp_path / name)]
    monkeypatch.setattr(verbs, "_stop_signals", _stopped_at_once)
    result = run(verbs.SERVE, *words)
    assert result["models"] == {"toy": [2, 3]} and result["version"] == 3
    said = capsys.readouterr().out
    assert f"serving versions 2, 3 of toy at {result['address']} (Ctrl-C stops)" in said
    assert f"REST at {result['rest_address']}" in said


@contextlib.contextmanager
def _stopped_at_once() -> Iterator[list[int]]:
    yield [signal.SIGTERM]
