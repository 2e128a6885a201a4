"""SessionExampleGen's executor, where a run is told apart from its compilation, and a retry from a first attempt."""

import json
import pathlib

import pytest
from tfx import v1 as tfx
from tfx.dsl.components.base import base_beam_executor

from hrlrec_tf.data.prepare import read_summary
from hrlrec_tf.errors import LogError
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.logs import write_log
from tfx_pipeline.configs import IN_PROCESS
from tfx_pipeline.example_gen import Executor, SessionExampleGen
from tfx_pipeline.window import Window


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("example_gen") / "log"
    write_log(WorldConfig(users=10, items=40, days=3, requests_per_day=20), folder, progress=False)
    return folder


@pytest.fixture
def run(tmp_path, log):
    """Runs the executor, into the same folder each time."""
    examples = tfx.types.standard_artifacts.Examples()
    examples.uri = str(tmp_path / "examples")
    pathlib.Path(examples.uri).mkdir()
    context = base_beam_executor.BaseBeamExecutor.Context(
        list(IN_PROCESS), tmp_dir=str(tmp_path / "tmp"), unique_id="1"
    )

    def once(date="", days=""):
        # As compiled, the log's place is another one than the one that the run is given.
        dataset = SessionExampleGen(dataset='{"log": "/compiled"}').spec.exec_properties["dataset"]
        properties = {"dataset": dataset, "log": str(log), "date": date, "days": days}
        Executor(context).Do({}, {"examples": [examples]}, properties)
        return pathlib.Path(examples.uri)

    return once


def test_a_newest_day_that_is_not_there_is_named(run):
    with pytest.raises(LogError, match="no rows of 2024-01-04, the newest day"):
        run("2024-01-04", Window("2024-01-04", train_days=2).days)


def test_the_log_is_a_property_of_its_own():
    properties = SessionExampleGen(dataset='{"log": "/log", "max_tags": 4}').spec.exec_properties
    assert properties["log"] == "/log" and json.loads(properties["dataset"]) == {"max_tags": 4}


def test_the_date_of_a_daily_run_is_a_property_of_its_own():
    window = Window("2024-03-31", train_days=3)
    properties = SessionExampleGen('{"log": "/log"}', window).spec.exec_properties
    assert properties["date"] == "2024-03-31" and Window.of("2024-03-31", properties["days"]) == window


def test_a_retry_replaces_what_a_failed_attempt_left(run):
    examples = run()
    wanted = sorted(file.relative_to(examples) for file in examples.rglob("*"))
    read = read_summary(str(examples))
    (examples / "Split-train" / "left-over.tfrecord.gz").write_bytes(b"half a file")
    assert run() == examples
    assert sorted(file.relative_to(examples) for file in examples.rglob("*")) == wanted
    assert read_summary(str(examples)) == read
