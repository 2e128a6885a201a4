"""The compiled Kubeflow pipeline: kfp loads it, and it is the local DAG."""

import json

import kfp.components
import pipeline_fakes as fakes
import pytest
import yaml
from tfx.dsl.compiler import compiler
from tfx.dsl.components.base import base_executor
from tfx.utils import import_utils

from tfx_pipeline import kubeflow_runner, kubeflow_settings
from tfx_pipeline.configs import IN_PROCESS, Daily
from tfx_pipeline.data_faults import DataLimits
from tfx_pipeline.pipeline import DIGEST, READS, create_pipeline
from tfx_pipeline.window import Window

IMAGE = "registry.example/hrlrec:1"
SERIES = Daily(Window("2024-03-31"), "gs://bucket/blessed")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    output = tmp_path_factory.mktemp("kubeflow") / "deep" / "pipeline.yaml"
    pipeline = create_pipeline(fakes.pipeline_config(root="gs://bucket/root", daily=SERIES))
    kubeflow_runner.compile_pipeline(pipeline, output, IMAGE, kubeflow_settings.load(kubeflow_settings.DAILY))
    return output


def test_a_daily_run_is_told_its_date(tmp_path):
    output = tmp_path / "pipeline.yaml"
    arguments = ["--output", str(output), "--pipeline-root", "gs://bucket/root", "--log", "gs://bucket/log"]
    days = ["--date", "2024-03-31", "--train-days", "3", "--without", "2024-03-29"]
    assert kubeflow_runner.main([*arguments, *days]) == 0
    spec = yaml.safe_load(output.read_text("utf-8"))
    tasks, parameters = spec["root"]["dag"]["tasks"], spec["root"]["inputDefinitions"]["parameters"]
    assert parameters["date"]["defaultValue"] == "2024-03-31" and parameters["first"]["defaultValue"] == 0
    for task in ("SessionExampleGen", "DataGate", "ReleaseGate"):
        assert tasks[task]["inputs"]["parameters"]["date"] == {"componentInputParameter": "date"}
        told = constant(tasks[task], "days").replace("\\", "")
        assert '"train_days": 3' in told and '"without": ["2024-03-29"]' in told
    for task in ("LastBlessed", "DataGate"):  # what was blessed changes behind the registry's name
        assert constant(tasks[task], "registry").strip('"') == "gs://bucket/root/blessed"
        assert not tasks[task].get("cachingOptions", {}).get("enableCache")


LIMITS = (
    "data: {hours: 0.5}\nmodel: {auc_change: -0.1, max_share_change: 0.75}\n"
    "thresholds: {auc: 0.6, calibration: [0.8, 1.25], latency_seconds: 0.5}\n"
)


def compile_with_limits(folder, text, *more):
    (folder / "limits.yaml").write_text(text, "utf-8")
    arguments = ["--output", str(folder / "pipeline.yaml"), "--log", "gs://bucket/log", *more]
    return kubeflow_runner.main([*arguments, "--limits", str(folder / "limits.yaml")])


def test_the_gates_are_told_their_limits(tmp_path):
    assert compile_with_limits(tmp_path, LIMITS, "--date", "2024-03-31") == 0
    spec = yaml.safe_load((tmp_path / "pipeline.yaml").read_text("utf-8"))
    tasks = spec["root"]["dag"]["tasks"]
    data, quality, stability = (
        json.loads(constant(tasks[gate], "limits")) for gate in ("DataGate", "QualityGate", "StabilityGate")
    )
    assert (data["hours"], data["rejected"]) == (0.5, DataLimits().rejected)
    assert quality == stability and (quality["auc_change"], quality["max_share_change"]) == (-0.1, 0.75)
    assert spec["root"]["inputDefinitions"]["parameters"]["latency_seconds"]["defaultValue"] == 0.5
    assert '"lower_bound": 0.6' in constant(tasks["Evaluator"], "eval_config")


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("data: {hour: 0.5}", ["--date", "2024-03-31"], "limits.yaml: data.hour is unknown"),
        ("model: {auc_change: low}", ["--date", "2024-03-31"], "limits.yaml: model.auc_change"),
        ("data: {hours: 0.5}", [], "limits.yaml: `data` and `model` are limits of a daily run's gates"),
        ("thresholds: {auc: 0.6}", ["--min-auc", "0.5"], "write --min-auc and --calibration under its `thresholds:`"),
    ],
)
def test_limits_that_no_gate_has_are_refused(tmp_path, capsys, text, more, message):
    assert compile_with_limits(tmp_path, text, *more) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "pipeline.yaml").exists()


def test_a_run_that_stands_alone_takes_thresholds(tmp_path):
    assert compile_with_limits(tmp_path, "thresholds: {latency_seconds: 0.25}") == 0
    spec = yaml.safe_load((tmp_path / "pipeline.yaml").read_text("utf-8"))
    assert spec["root"]["inputDefinitions"]["parameters"]["latency_seconds"]["defaultValue"] == 0.25


def test_what_the_export_carries_is_compiled_in(tmp_path):
    (tmp_path / "quotas.yaml").write_text("news: {at_most: 3}\n", "utf-8")
    arguments = ["--output", str(tmp_path / "pipeline.yaml"), "--log", "gs://bucket/log", "--date", "2024-03-31"]
    assert kubeflow_runner.main([*arguments, "--catalogue", "--quotas", str(tmp_path / "quotas.yaml")]) == 0
    tasks = yaml.safe_load((tmp_path / "pipeline.yaml").read_text("utf-8"))["root"]["dag"]["tasks"]
    settings = json.loads(constant(tasks["Trainer"], "custom_config"))
    assert settings["catalogue"] is True and settings["quotas"] == "news: {at_most: 3}\n"
    assert constant(tasks["ServingCheck"], "quotas") == "news: {at_most: 3}\n"


@pytest.fixture(scope="module")
def spec(compiled):
    return yaml.safe_load(compiled.read_text("utf-8"))


def test_kfp_loads_it(compiled):
    assert kfp.components.load_component_from_file(str(compiled)).pipeline_spec.schema_version == "2.1.0"
    assert [file.name for file in compiled.parent.iterdir()] == ["pipeline.yaml"]


def test_its_tasks_are_the_local_nodes_with_the_same_order(spec):
    local = compiler.Compiler().compile(create_pipeline(fakes.pipeline_config(daily=SERIES))).nodes
    tasks = spec["root"]["dag"]["tasks"]
    assert set(tasks) == {node.pipeline_node.node_info.id for node in local} == set(READS)
    for node in local:
        node = node.pipeline_node
        assert set(tasks[node.node_info.id].get("dependentTasks", [])) == set(node.upstream_nodes)


def test_every_task_runs_a_container_of_the_image_and_there_is_no_resolver(spec):
    executors = spec["deploymentSpec"]["executors"]
    assert {executor["container"]["image"] for executor in executors.values()} == {IMAGE}
    assert len(executors) == len(READS)


def test_every_task_carries_its_digest(spec):
    tasks = spec["root"]["dag"]["tasks"]
    assert all(len(constant(task, DIGEST)) == 64 for task in tasks.values())


def test_every_container_names_an_executor_that_its_entrypoint_can_load(spec):
    for executor in spec["deploymentSpec"]["executors"].values():
        arguments = executor["container"]["args"]
        path = arguments[arguments.index("--executor_class_path") + 1]
        assert issubclass(import_utils.import_class_by_path(path), base_executor.BaseExecutor)


def test_the_command_line_writes_the_file_and_says_so(tmp_path, capsys):
    output = tmp_path / "pipeline.yaml"
    arguments = ["--output", str(output), "--pipeline-root", "gs://bucket/root", "--image", IMAGE]
    assert kubeflow_runner.main([*arguments, "--log", "gs://bucket/log", "--set", "losses.gamma=0.25"]) == 0
    assert capsys.readouterr().out == f"compiled: {output}\n"
    spec = yaml.safe_load(output.read_text("utf-8"))
    tasks, parameters = spec["root"]["dag"]["tasks"], spec["root"]["inputDefinitions"]["parameters"]
    assert '\\"gamma\\": 0.25' in constant(tasks["Trainer"], "custom_config")
    assert parameters["log"]["defaultValue"] == "gs://bucket/log"
    assert parameters["schema_file"]["defaultValue"] == "gs://bucket/root/schema.pbtxt"
    for task in ("ImportSchemaGen", "AnomalyGate"):
        assert tasks[task]["inputs"]["parameters"]["schema_file"] == {"componentInputParameter": "schema_file"}
    # Without Beam arguments Beam stays inside the container and downloads no runner.
    assert set(IN_PROCESS) <= words_of_example_gen(output)


def words_of_example_gen(compiled):
    executors = yaml.safe_load(compiled.read_text("utf-8"))["deploymentSpec"]["executors"]
    return set(executors["SessionExampleGen_executor"]["container"]["args"])


def test_the_command_line_passes_on_the_options_of_a_runner(tmp_path):
    output = tmp_path / "pipeline.yaml"
    arguments = ["--output", str(output), "--image", IMAGE, "--log", "gs://bucket/log", "--runner-options", "flink"]
    beam_args = ["--flink_master=flink:8081", "--environment_config=image"]
    assert kubeflow_runner.main([*arguments, "--", *beam_args]) == 0
    words = words_of_example_gen(output)
    assert {"--runner=FlinkRunner", *beam_args} <= words and not set(IN_PROCESS) & words


def masked_log(folder):
    file = folder / "dataset.yaml"
    file.write_text("log: gs://bucket/log\nmasking: {columns: [user_id], key_env: MY_KEY}\n", "utf-8")
    return ["--output", str(folder / "p.yaml"), "--image", IMAGE, "--config", str(file)]


def test_a_masked_log_needs_a_secret_with_its_key(tmp_path, capsys):
    assert kubeflow_runner.main(masked_log(tmp_path)) == 1
    assert "the log is masked with the key in MY_KEY, which no secret" in capsys.readouterr().err
    assert not (tmp_path / "p.yaml").exists()


def test_the_masking_key_is_compiled_as_a_reference(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "never-to-be-seen")
    settings = tmp_path / "settings.yaml"
    settings.write_text("secrets: [{secret: masking, env: {MY_KEY: key}, tasks: [SessionExampleGen]}]\n", "utf-8")
    assert kubeflow_runner.main([*masked_log(tmp_path), "--settings", str(settings)]) == 0
    text = (tmp_path / "p.yaml").read_text("utf-8")
    assert "secretName: masking" in text and "never-to-be-seen" not in text


def test_the_command_line_refuses_an_unknown_setting(tmp_path, capsys):
    assert kubeflow_runner.main(["--output", str(tmp_path / "x.yaml"), "--set", "no.such=1"]) == 1
    assert capsys.readouterr().err.startswith("kubeflow_runner: ")
    assert not list(tmp_path.iterdir())


def constant(task, parameter):
    return task["inputs"]["parameters"][parameter]["runtimeValue"]["constant"]
