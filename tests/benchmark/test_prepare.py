import math
import sys

import pytest
import tiny

from hrlrec_tf.benchmark import prepare, verb, watch
from hrlrec_tf.benchmark.processes import BenchmarkError
from hrlrec_tf.errors import ConfigError


def size(rows, seconds, memory=500.0):
    """What a log of so many rows took; half of the wall time is CPU time."""
    return {
        "rows": rows,
        "seconds": seconds,
        "cpu_seconds": seconds / 2,
        "peak_memory_mb": memory,
        "peak_process_mb": memory / 2,
        "peak_disk_mb": rows / 1e4,
        "processes": 3,
    }


STARTUP = size(200, 4.0)


def test_figures_leave_start_up_out_and_are_those_of_the_largest_log():
    sizes = [size(100_000, 4 + 2), size(1_000_000, 4 + 20, 800.0)]
    result = prepare.summarise(STARTUP, sizes, cores=2)
    assert (result["rows"], result["rows_per_second"], result["peak_memory_mb"]) == (1_000_000, 50_000, 800)
    assert result["startup_seconds"] == 4 and result["linear"] and result["within_memory"]
    assert result["exponent"] == pytest.approx(1) and result["cpu_exponent"] == pytest.approx(1)
    text = prepare.as_text(result)
    for words in ("50,000 rows per second on 2 cores", "start-up 4.0 s", "wall time with the 1.00th: linear"):
        assert words in text


def test_what_grows_faster_than_the_rows_is_told():
    sizes = [size(rows, 4 + 2e-10 * rows**1.5) for rows in (100_000, 1_000_000, 10_000_000)]
    result = prepare.summarise(STARTUP, sizes, cores=2)
    assert result["cpu_exponent"] == pytest.approx(1.5) and not result["linear"]
    assert "more than linear" in prepare.as_text(result)


def test_memory_beyond_the_limit_is_told_whichever_log_took_it():
    sizes = [size(100_000, 6.0, 3_100.0), size(1_000_000, 24.0)]
    result = prepare.summarise(STARTUP, sizes, cores=2)
    assert not result["within_memory"] and "beyond 3,072 MiB" in prepare.as_text(result)


def test_the_projection_is_the_arithmetic_it_says():
    paper = prepare.summarise(STARTUP, [size(1_000_000, 4 + 20)], cores=2)["projection"]
    assert (paper["rows"], paper["workers"]) == (4_000_000_000, 64)
    assert paper["hours"] == pytest.approx(4e9 / (25_000 * 64) / 3600)  # 25,000 rows per second and core
    assert paper["cpu_hours"] == pytest.approx(10 * 4000 / 3600)
    assert paper["disk_gb"] == pytest.approx(2 * 100 * 4000 / 1024)
    assert paper["memory_mb"] == pytest.approx(250 + 4e9 / 65_536 * 512 * 2 / 2**20)


def test_a_single_or_tiny_size_has_no_exponent():
    result = prepare.summarise(STARTUP, [size(1_000, 4.1), size(2_000, 9.0)], cores=2)
    assert result["exponent"] is None and result["linear"] and "CPU time grows" not in prepare.as_text(result)


@pytest.mark.parametrize("text", ["", "many", "10,", "1000,999", "2000000000"])
def test_sizes_must_be_numbers_in_range(text):
    with pytest.raises(ConfigError, match="--rows must be numbers from 1000"):
        prepare.parse_rows(text)


def test_sizes_are_sorted():
    assert prepare.parse_rows("3000,1000,3000") == (1_000, 3_000)


def test_worlds_have_about_as_many_rows_as_asked_for():
    for rows in (200, 20_000, 10_000_000):
        world = prepare.world(rows)
        assert world.days * world.requests_per_day * world.positions == rows


def test_the_verb_measures_real_runs(capsys):
    result = tiny.run_verb(verb.VERB, "prepare --rows 1000")
    assert result["rows"] == 1_000 and result["peak_memory_mb"] > 100 and math.isfinite(result["rows_per_second"])
    assert result["sizes"][0]["processes"] >= 1 and result["sizes"][0]["cpu_seconds"] > 0.5
    assert "on paper, 4,000,000,000 rows" in capsys.readouterr().out


def test_memory_of_child_processes_counts(tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "child = 'import time; held = bytes(range(256)) * 2**18; time.sleep(2)'\n"
        "pair = [subprocess.Popen([sys.executable, '-S', '-c', child]) for _ in range(2)]\n"
        "open(sys.argv[1], 'wb').write(bytes(2**20))\n"
        "[each.wait() for each in pair]\n"
    )
    usage = watch.watch([sys.executable, "-S", "-c", code, str(tmp_path / "file")], [tmp_path])
    assert 130 < usage.peak_memory_mb < 300 and 64 < usage.peak_process_mb < 110
    assert usage.processes == 3 and usage.peak_disk_mb == 1 and usage.seconds > 1


def test_a_command_that_fails_is_told_with_its_last_word():
    with pytest.raises(BenchmarkError, match="failed: out of luck"):
        watch.watch([sys.executable, "-c", "print('first'); raise SystemExit('out of luck')"])
