import argparse
import json
import signal
import subprocess
import sys
import time

import pytest

from hrlrec_tf import cli
from hrlrec_tf.data import verb
from hrlrec_tf.errors import ConfigError

from .logs import IN_MEMORY, random_rows, read_bytes, write_parquet
from .test_rejections import GOOD, good_rows, write_csv


def parse(*arguments):
    parser = argparse.ArgumentParser()
    verb.VERB.add_arguments(parser)
    return parser.parse_args(arguments)


def test_the_verb_prints_what_became_of_the_rows(tmp_path, capsys):
    rows = [*good_rows(), GOOD | {"request_id": "b", "clicks": -1}]
    rows += [GOOD | {"request_id": "late", "timestamp": GOOD["timestamp"] + 10**9, "channel": "fresh"}]
    write_csv(rows, tmp_path / "log" / "a.csv")
    args = parse("--log", str(tmp_path / "log"), "--out", str(tmp_path / "out"), "--", *IN_MEMORY)
    summary = verb.VERB.run(args)
    assert summary == json.loads((tmp_path / "out" / "summary.json").read_text())
    text = capsys.readouterr().out
    for line in ("182 rows read = 181 accepted + 1 rejected", "1 negative_clicks", "to train on: fresh", "lists: "):
        assert line in text


def test_beam_options_are_checked_before_anything_is_written(tmp_path):
    write_csv(good_rows(), tmp_path / "log" / "a.csv")
    args = parse("--log", str(tmp_path / "log"), "--out", str(tmp_path / "out"), "--runner-options", "dataflow")
    with pytest.raises(ConfigError, match="DataflowRunner needs project, region, temp_location"):
        verb.VERB.run(args)
    given = ("project=p", "region=r", "temp_location=gs://b/t", "sdk_container_image=i")
    args.beam_args = [f"--{each}" for each in given]
    with pytest.raises(ConfigError, match="Dataflow's machines cannot reach --log .*; name a gs:// folder"):
        verb.VERB.run(args)
    assert not (tmp_path / "out").exists()


def test_a_killed_run_leaves_nothing_that_looks_finished(tmp_path):
    log = write_parquet(random_rows(0, requests=300), tmp_path / "log", files=60)
    code = (
        "import sys; from hrlrec_tf.data import config, prepare;"
        f"prepare.prepare(config.DatasetConfig(log={log!r}), sys.argv[1], {list(IN_MEMORY)!r}, show_progress=False)"
    )
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "out")])
    units = tmp_path / ".out.partial" / "work" / "units"
    deadline = time.monotonic() + 60
    while not (units.is_dir() and len(list(units.iterdir())) > 5) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    for name in ("out", "other"):
        verb.VERB.run(parse("--log", log, "--out", str(tmp_path / name), "--", *IN_MEMORY))
    assert read_bytes(tmp_path / "out") == read_bytes(tmp_path / "other")
    assert not (tmp_path / ".out.partial").exists()


def test_the_verb_is_one_of_the_command_line():
    assert isinstance(verb.VERB, cli.Verb) and verb.VERB.example.startswith("hrlrec prepare")
