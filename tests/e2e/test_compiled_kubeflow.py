"""The compiled pipeline, run task by task through the containers' own commands, ends as the local runner does."""

import json
import pathlib

import pytest
import tiny

from hrlrec_tf.config import preset
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.logs import write_log
from tfx_pipeline import compiled, evaluator, kubeflow_runner, local_runner
from tfx_pipeline.configs import Thresholds
from tfx_pipeline.local_cluster import LocalCluster, TaskError

pytestmark = pytest.mark.slow
_TOLERANCE = 1e-3
_SETTINGS = [*tiny.QUIET, "training.epochs=2"]
_ANY = Thresholds(auc=0.0, calibration=(0.0, 100.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("compiled")
    write_log(WorldConfig(users=60, items=80, days=4, requests_per_day=120), folder / "log", progress=False)
    return folder


@pytest.fixture(scope="module")
def local(folder) -> local_runner.PipelineResult:
    """The local runner's result."""
    config = local_runner.local_config(
        DatasetConfig(log=str(folder / "log")),
        str(folder / "local"),
        preset("best").override(_SETTINGS),
        thresholds=_ANY,
    )
    return local_runner.run(config)


@pytest.fixture(scope="module")
def pipeline(folder, local) -> compiled.CompiledPipeline:
    """The same pipeline, compiled by the command line; its log is to be given as a parameter."""
    settings = [word for setting in _SETTINGS for word in ("--set", setting)]
    places = ["--pipeline-root", "gs://bucket/root", "--schema", str(folder / "local/schema.pbtxt")]
    output, serving = folder / "pipeline.yaml", folder / "serving"
    limits = ["--min-auc", "0", "--calibration", "0", "100"]
    arguments = ["--output", str(output), *places, "--serving", str(serving), *limits, *settings]
    assert kubeflow_runner.main(arguments) == 0
    return compiled.read(output)


@pytest.fixture(scope="module")
def done(folder, pipeline):
    """Task -> what it did."""
    return LocalCluster(folder / "cluster").run(pipeline, {"log": str(folder / "log")})


def test_every_task_ran_once(done, local):
    assert {name: (run.state, run.attempts) for name, run in done.items()} == dict.fromkeys(local.runs, ("ran", 1))


def test_metrics_equal_those_of_the_local_runner(done, local):
    found = evaluator.read_metrics(done["Evaluator"].outputs.artifacts["evaluation"]["uri"])
    wanted = evaluator.read_metrics(local.evaluation)
    assert found.keys() == wanted.keys() and found[""][""]["example_count"] > 500
    for feature in wanted:
        assert found[feature].keys() == wanted[feature].keys()
        for value, metrics in wanted[feature].items():
            assert found[feature][value] == pytest.approx(metrics, abs=_TOLERANCE, nan_ok=True), (feature, value)


def test_the_blessing_and_the_push_equal_those_of_the_local_runner(done, local, folder):
    assert local.blessed
    assert done["Evaluator"].outputs.artifacts["blessing"]["metadata"]["blessed"] == 1
    pushed = done["Pusher"].outputs.artifacts["pushed_model"]["metadata"]
    version = pathlib.Path(pushed["pushed_destination"])
    assert pushed["pushed"] == 1 and version.parent == folder / "serving"
    assert sorted(file.name for file in version.iterdir()) == sorted(
        file.name for file in pathlib.Path(local.version).iterdir()
    )


def test_equal_inputs_come_from_the_cache(done, folder, pipeline):
    again = LocalCluster(folder / "cluster").run(pipeline, {"log": str(folder / "log")})
    assert {run.state for run in again.values()} == {"cached"}
    assert {name: run.outputs for name, run in again.items()} == {name: run.outputs for name, run in done.items()}


def test_a_gate_stops_the_run_with_its_reason(folder, pipeline, done):
    """Another schema arrives as a run-time parameter: the gate refuses the data, at its first and only attempt."""
    schema = folder / "strict.pbtxt"
    text = (folder / "local/schema.pbtxt").read_text("utf-8")
    schema.write_text(text + 'feature {\n  name: "missing"\n  type: BYTES\n  presence { min_count: 1 }\n}\n', "utf-8")
    with pytest.raises(TaskError, match="task AnomalyGate failed 1 times.*GateError: .*'missing'"):
        LocalCluster(folder / "cluster").run(pipeline, {"log": str(folder / "log"), "schema_file": str(schema)})


def test_input_artifacts_were_handed_over_without_types_as_the_open_source_driver_does(done, folder):
    (written,) = folder.glob("cluster/hrlrec/*/Evaluator/executor_input.json")
    given = json.loads(written.read_text())["inputs"]["artifacts"]
    assert set(given) >= {"examples", "model"}
    assert all(each["artifacts"][0]["type"] == {"instanceSchema": ""} for each in given.values())
