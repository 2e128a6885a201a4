import argparse

import pyarrow.parquet as pq
import pytest

from hrlrec_tf.errors import ConfigError
from hrlrec_tf.simulator.verb import VERB


def parse(*words):
    parser = argparse.ArgumentParser()
    VERB.add_arguments(parser)
    return parser.parse_args(words)


def test_simulate_writes_a_log_and_reports_it(tmp_path, capsys):
    args = parse(
        *("--out", str(tmp_path / "log"), "--users", "50", "--items", "100"),
        *("--days", "2", "--requests-per-day", "30", "--seed", "5"),
    )
    result = VERB.run(args)
    assert {"rows", "users", "items", "days", "ctr", "channel_shares", "files"} <= set(result)
    assert result["rows"] == 600 == pq.read_table(tmp_path / "log").num_rows
    printed = capsys.readouterr()
    assert "600 impressions over 2 days" in printed.out and "seed 5" in printed.out
    assert "simulate" in printed.err and "2/2" in printed.err  # the progress bar


def test_bad_size_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match="^requests_per_day must be from 1"):
        VERB.run(parse("--out", str(tmp_path / "log"), "--requests-per-day", "0"))
    assert list(tmp_path.iterdir()) == []


def test_out_is_required(capsys):
    with pytest.raises(SystemExit) as exit_info:
        parse("--users", "5")
    assert exit_info.value.code == 2
    assert "--out" in capsys.readouterr().err


def test_example_parses():
    assert parse(*VERB.example.split()[2:]).requests_per_day == 715
