"""The compiled Kubeflow pipeline: kfp loads it, and it is the local DAG."""

import kfp.components
import pipeline_fakes as fakes
import pytest
import yaml
from tfx.dsl.compiler import compiler
from tfx.dsl.components.base import base_executor
from tfx.utils import import_utils

from tfx_pipeline import kubeflow_runner, kubeflow_settings
from tfx_pipeline.configs import IN_PROCESS
from tfx_pipeline.pipeline import DIGEST, READS, create_pipeline

IMAGE = "registry.example/hrlrec:1"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    output = tmp_path_factory.mktemp("kubeflow") / "deep" / "pipeline.yaml"
    pipeline = create_pipeline(fakes.pipeline_config(root="gs://bucket/root"))
    kubeflow_runner.compile_pipeline(pipeline, output, IMAGE, kubeflow_settings.load())
    return output


@pytest.fixture(scope="module")
def spec(compiled):
    return yaml.safe_load(compiled.read_text("utf-8"))


def test_kfp_loads_it(compiled):
    assert kfp.components.load_component_from_file(str(compiled)).pipeline_spec.schema_version == "2.1.0"
    assert [file.name for file in compiled.parent.iterdir()] == ["pipeline.yaml"]


def test_its_tasks_are_the_local_nodes_with_the_same_order(spec):
    local = compiler.Compiler().compile(create_pipeline(fakes.pipeline_config())).nodes
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
    assert set(IN_PROCESS) <= set(
        spec["deploymentSpec"]["executors"]["SessionExampleGen_executor"]["container"]["args"]
    )


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
