"""The container's entry point: input artifacts get the types that the open-source driver leaves out."""

import json

import pytest
import toy_components
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor
from tfx.utils import name_utils

from tfx_pipeline import compiled, kubeflow_entrypoint, kubeflow_runner
from tfx_pipeline.kubeflow_settings import KubeflowSettings


@pytest.fixture
def arguments(tmp_path):
    """What the launcher of open-source Kubeflow Pipelines gives to Repeat's container: typeless inputs."""
    file = tmp_path / "toy.yaml"
    kubeflow_runner.compile_pipeline(toy_components.pipeline(), file, "image:1", KubeflowSettings())
    _, repeat = compiled.read(file).tasks()
    (tmp_path / "greeting").write_text("hello you")
    (tmp_path / "task").mkdir()
    artifact = {"name": "17", "uri": str(tmp_path / "greeting"), "type": {"instanceSchema": ""}}
    given = {
        "inputs": {
            "parameterValues": {"again": "hello you", "times": 2},
            "artifacts": {"given": {"artifacts": [{**artifact, "metadata": {"length": 3}}]}},
        },
        "outputs": compiled.outputs(repeat, tmp_path / "task"),
    }
    command = compiled.command(repeat, given)
    assert command[:3] == ["python", "-m", "tfx_pipeline.kubeflow_entrypoint"]
    return command[3:]


def run_tfx(arguments):
    kubeflow_v2_run_executor.main(kubeflow_v2_run_executor._parse_flags(["", *arguments][1:]))


def test_tfx_alone_cannot_read_an_input_without_a_type(arguments):
    with pytest.raises(AttributeError):
        run_tfx(arguments)


def test_with_the_declared_types_it_runs(arguments, tmp_path):
    place = arguments.index("--json_serialized_invocation_args") + 1
    declared = arguments[arguments.index("--json_serialized_inputs_spec_args") + 1]
    arguments[place] = kubeflow_entrypoint.with_types(arguments[place], declared)
    run_tfx(arguments)
    assert (tmp_path / "task" / "out").read_text() == "hello you hello you 3"
    recorded = json.loads((tmp_path / "task" / "output_metadata.json").read_text())
    assert recorded["artifacts"]["out"]["artifacts"][0]["uri"] == str(tmp_path / "task" / "out")


def test_it_names_the_entry_point_of_tfx():
    assert kubeflow_entrypoint.TFX_ENTRYPOINT == kubeflow_v2_run_executor.__name__
    assert (
        name_utils.get_full_name(toy_components.Greet.EXECUTOR_SPEC.executor_class) == "toy_components.Greet_Executor"
    )
