import contextlib
import json
import pathlib

import pytest
import tensorflow as tf
import tiny

from hrlrec_tf import cli
from hrlrec_tf.benchmark import report, train, verb, worker
from hrlrec_tf.benchmark.processes import BenchmarkError, Contestant
from hrlrec_tf.benchmark.workload import QUICK
from hrlrec_tf.errors import ConfigError, DataError


def turn(plain, tuned, package, matmul):
    """One round's seconds; CPU time is twice as long."""
    walls = {worker.PLAIN: plain, worker.PLAIN_TUNED: tuned, worker.PACKAGE: package, worker.MATMUL: matmul}
    return {kind: {"wall": wall, "cpu": 2 * wall} for kind, wall in walls.items()}


class InThisProcess(contextlib.AbstractContextManager):
    """A contestant that needs no process, and no second import of TensorFlow."""

    def __init__(self, kind, folder, sessions, quick):
        self._known = worker.questions(kind, str(sessions), quick)

    def ask(self, do, **options):
        return json.loads(json.dumps(self._known[do](**options)))

    def __exit__(self, *_):
        return None


@pytest.fixture(scope="module")
def measured(tmp_path_factory, prepared):
    """Everything once, at tiny sizes and untraced, as the command line runs it; and what it wrote."""
    folder = tmp_path_factory.mktemp("benchmark")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "Contestant", InThisProcess)
        patch.setattr(train, "_REPEAT", 1)
        tf.config.run_functions_eagerly(True)
        try:
            words = f"train --quick --rounds=2 --data={prepared} --charts={folder / 'charts'}"
            return tiny.run_verb(verb.VERB, words), folder
        finally:
            tf.config.run_functions_eagerly(False)


def test_the_verb_measures_everything(measured):
    result, folder = measured
    cli.write_json(folder / "speed.json", result)
    assert json.loads((folder / "speed.json").read_text())["speedup_over_plain_keras"] > 0
    assert len(result["rounds"]) == 2 and result["impressions_per_second"] > 0 and 0 < result["matmul_share"] < 1
    assert [point["batch"] for point in result["batch_curve"]] == [4, 8]
    assert [point["rows"] for point in result["rows_curve"]] == [6]
    assert {part["part"] for part in result["parts"]} >= {"embeddings", "field interaction", "gru", "optimizer"}
    assert all(part["cpu_ms"] > 0 and part["wall_ms"] > 0 for part in result["parts"])
    assert result["input"]["files_wall_ms"] > 0


def test_the_charts_are_pictures_of_their_own(measured):
    for field in ("batch", "rows"):
        svg = (measured[1] / "charts" / f"step-by-{field}.svg").read_text()
        assert svg.startswith("<svg ") and "--first: #" in svg and "http://www.w3.org/2000/svg" in svg


def test_the_text_says_what_was_found(measured):
    text = report.as_text({**measured[0], "speedup_over_plain_keras": 1.5, "matmul_share": 0.25})
    assert "1.50 times as fast as plain Keras" in text and "25.0 % of the" in text and "field interaction" in text


def test_figures_are_medians_of_what_each_round_gave():
    # The machine is twice as slow in the second round and ten times as slow in the third: the ratios stay.
    turns = [turn(2.0, 1.5, 1.0, 0.1), turn(4.0, 3.0, 2.0, 0.2), turn(20.0, 15.0, 10.0, 1.0)]
    found = train.summarise(turns, QUICK, matmul_size=100)
    assert found["speedup_over_plain_keras"] == found["cpu_ratio"] == 2.0
    assert found["speedup_with_equal_threads_and_memory"] == 1.5
    assert found["impressions_per_second"] == QUICK.batch * QUICK.list_length / 2.0
    assert found["matmul_gflops"] == pytest.approx(2 * 100**3 / 0.2 / 1e9)
    assert found["matmul_share"] == pytest.approx(sum(found["flops"].values()) / 1.0 / (2 * 100**3 / 0.1))
    assert found["wall_ms"][worker.PACKAGE] == 2000.0 and found["cpu_ms"][worker.PACKAGE] == 4000.0


def test_a_step_is_traced_anew_for_another_length_and_no_other_batch(monkeypatch):
    made = []

    class Step:
        def __init__(self, workload, plain):
            self.workload = workload
            made.append([workload.rows])

        def resize(self, batch):
            made[-1].append(batch)

        def run(self):
            return 0.0

    monkeypatch.setattr("hrlrec_tf.benchmark.steps.TrainingStep", Step)
    contestant = worker.Steps(QUICK, plain=False)
    for sizes in ({}, {"batch": 4}, {"batch": 8, "rows": 9}, {"batch": 16, "rows": 9}):
        assert len(contestant.run(repeat=2, **sizes)) == 2
    assert made == [[6, 4], [9, 8, 16]]


def test_a_process_answers_until_it_is_left(tmp_path):
    with Contestant(worker.MATMUL, tmp_path, tmp_path, quick=True) as contestant:
        assert [len(contestant.ask("run", repeat=repeat)) for repeat in (0, 2)] == [0, 2]
        assert contestant.ask("run", repeat=1)[0].keys() == {"wall", "cpu"}
    assert contestant._process.returncode is not None


def test_a_process_that_dies_is_an_error(tmp_path):
    with Contestant("no-such-kind", tmp_path, pathlib.Path("/nowhere"), quick=True) as contestant:
        contestant._process.kill()
        with pytest.raises(BenchmarkError, match="'no-such-kind' ended with exit code -9.*try --quick"):
            contestant.ask("run", repeat=1)


def test_bad_usage(tmp_path):
    with pytest.raises(ConfigError, match="--rounds must be from 1 to 1000: got 0"):
        tiny.run_verb(verb.VERB, "train --rounds=0")
    with pytest.raises(DataError, match="no finished sessions"):
        tiny.run_verb(verb.VERB, f"train --data={tmp_path}")
