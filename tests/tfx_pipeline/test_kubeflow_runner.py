"""The compiled Kubeflow pipeline: kfp loads it, and it is the local DAG."""

import kfp.components
import pipeline_fakes as fakes
import pytest
import yaml
from tfx.dsl.compiler import compiler
from tfx.dsl.components.base import base_executor
from tfx.utils import import_utils

from tfx_pipeline import kubeflow_runner
from tfx_pipeline.pipeline import DIGEST, READS, create_pipeline

IMAGE = "registry.example/hrlrec:1"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    output = tmp_path_factory.mktemp("kubeflow") / "deep" / "pipeline.yaml"
    kubeflow_runner.compile_pipeline(fakes.pipeline_config(root="gs://bucket/root"), output, IMAGE)
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
    arguments += ["--runner-options", "flink", "--", "--flink_master=flink:8081", "--environment_config=image"]
    assert kubeflow_runner.main(["--log", "gs://bucket/log", "--set", "losses.gamma=0.25", *arguments]) == 0
    assert capsys.readouterr().out == f"compiled: {output}\n"
    compiled = yaml.safe_load(output.read_text("utf-8"))
    words = compiled["deploymentSpec"]["executors"]["SessionExampleGen_executor"]["container"]["args"]
    assert {"--runner=FlinkRunner", "--flink_master=flink:8081"} <= set(words)
    tasks = compiled["root"]["dag"]["tasks"]
    assert "gs://bucket/log" in constant(tasks["SessionExampleGen"], "dataset")
    assert '\\"gamma\\": 0.25' in constant(tasks["Trainer"], "custom_config")
    assert constant(tasks["ImportSchemaGen"], "schema_file") == "gs://bucket/root/schema.pbtxt"


def test_the_command_line_refuses_an_unknown_setting(tmp_path, capsys):
    assert kubeflow_runner.main(["--output", str(tmp_path / "x.yaml"), "--set", "no.such=1"]) == 1
    assert capsys.readouterr().err.startswith("kubeflow_runner: ")
    assert not list(tmp_path.iterdir())


def constant(task, parameter):
    return task["inputs"]["parameters"][parameter]["runtimeValue"]["constant"]
