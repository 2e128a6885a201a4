"""What is added to the specification that TFX compiles."""

import kfp.components
import pytest
import toy_components
import yaml
from tfx import v1 as tfx

from hrlrec_tf.errors import ConfigError
from tfx_pipeline import kubeflow_runner, kubeflow_spec
from tfx_pipeline.kubeflow_settings import Backoff, KubeflowSettings, Secret, TaskSettings
from tfx_pipeline.kubeflow_spec import CompileError

SETTINGS = KubeflowSettings(
    default=TaskSettings(retries=0, cache=False),
    tasks={"Repeat": TaskSettings(1.5, 3.0, 2.0, 8.0, retries=4)},
    backoff=Backoff(30, 3.0, 7200),
    secrets=(Secret("masking", {"KEY": "key"}, tasks=("Greet",)), Secret("storage", {"ID": "id"}, "/var/storage")),
    environment={"PLAIN": "1"},
    parameters={"who": "name"},
)


def compile_(folder, pipeline=None, settings=SETTINGS):
    output = folder / "toy.yaml"
    kubeflow_runner.compile_pipeline(pipeline or toy_components.pipeline(), output, "image:1", settings)
    return output


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    return compile_(tmp_path_factory.mktemp("spec"))


@pytest.fixture(scope="module")
def documents(compiled):
    return list(yaml.safe_load_all(compiled.read_text("utf-8")))


def test_kfp_loads_both_documents(compiled):
    loaded = kfp.components.load_component_from_file(str(compiled))
    executors = loaded.platform_spec.platforms["kubernetes"].deployment_spec.executors
    assert set(executors) == {"Greet_executor", "Repeat_executor"}
    policy = loaded.pipeline_spec.root.dag.tasks["Repeat"].retry_policy
    assert (policy.max_retry_count, policy.backoff_factor) == (4, 3.0)
    assert (policy.backoff_duration.seconds, policy.backoff_max_duration.seconds) == (30, 7200)


def test_every_container_has_its_resources_and_the_plain_variables(documents):
    containers = {name: each["container"] for name, each in documents[0]["deploymentSpec"]["executors"].items()}
    assert containers["Repeat_executor"]["resources"] == {
        "cpuRequest": 1.5,
        "cpuLimit": 3.0,
        "memoryRequest": 2.0,
        "memoryLimit": 8.0,
    }
    assert containers["Greet_executor"]["resources"]["cpuLimit"] == TaskSettings().cpu_limit
    assert all(each["env"] == [{"name": "PLAIN", "value": "1"}] for each in containers.values())


def test_retries_and_caching_are_each_tasks_own(documents):
    tasks = documents[0]["root"]["dag"]["tasks"]
    assert "retryPolicy" not in tasks["Greet"] and tasks["Greet"]["cachingOptions"] == {}
    assert tasks["Repeat"]["retryPolicy"]["maxRetryCount"] == 4
    assert tasks["Repeat"]["cachingOptions"] == {"enableCache": True}


def test_secrets_are_references_and_reach_the_tasks_that_are_named(documents):
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    by_secret = {each["secretName"]: each["keyToEnv"] for each in executors["Greet_executor"]["secretAsEnv"]}
    assert by_secret == {
        "masking": [{"envVar": "KEY", "secretKey": "key"}],
        "storage": [{"envVar": "ID", "secretKey": "id"}],
    }
    assert [each["secretName"] for each in executors["Repeat_executor"]["secretAsEnv"]] == ["storage"]
    (volume,) = executors["Repeat_executor"]["secretAsVolume"]
    assert volume["mountPath"] == "/var/storage"
    assert volume["secretNameParameter"] == {"runtimeValue": {"constant": "storage"}}


def test_without_secrets_there_is_one_document(tmp_path):
    assert len(list(yaml.safe_load_all(compile_(tmp_path, settings=KubeflowSettings()).read_text("utf-8")))) == 1


def test_an_execution_property_becomes_a_parameter_with_its_value_as_default(documents):
    root = documents[0]["root"]
    wanted = {"parameterType": "STRING", "defaultValue": "you", "isOptional": True}
    assert root["inputDefinitions"]["parameters"] == {"who": wanted}
    assert root["dag"]["tasks"]["Greet"]["inputs"]["parameters"]["name"] == {"componentInputParameter": "who"}


def test_a_runtime_parameter_of_tfx_is_a_parameter_too(tmp_path):
    name = tfx.dsl.experimental.RuntimeParameter("visitor", str)
    output = compile_(tmp_path, toy_components.pipeline(name), KubeflowSettings())
    root = yaml.safe_load(output.read_text("utf-8"))["root"]
    assert root["inputDefinitions"]["parameters"] == {"visitor": {"parameterType": "STRING"}}
    assert root["dag"]["tasks"]["Greet"]["inputs"]["parameters"]["name"] == {"componentInputParameter": "visitor"}


def test_a_value_names_its_producer_by_the_tasks_name(documents):
    """TFX writes `Greet_task`, which is no task."""
    given = documents[0]["root"]["dag"]["tasks"]["Repeat"]["inputs"]["parameters"]["again"]
    assert given == {"taskOutputParameter": {"producerTask": "Greet", "outputParameterKey": "greeting"}}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (KubeflowSettings(tasks={"Trainer": TaskSettings()}), "tasks.Trainer is no task of this pipeline"),
        (KubeflowSettings(secrets=(Secret("s", {"A": "a"}, tasks=("X",)),)), "secrets: s.tasks: X is no task"),
        (KubeflowSettings(parameters={"p": "nothing"}), "parameters.p: no task has the execution property nothing"),
        (KubeflowSettings(parameters={"p": "Repeat.name"}), "no task has the execution property Repeat.name"),
        (KubeflowSettings(parameters={"p": "again"}), "parameters.p: again is not one constant in Repeat"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused_and_nothing_written(tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        compile_(tmp_path, settings=settings)
    assert not list(tmp_path.iterdir())


def test_a_resolver_is_refused_by_name(tmp_path):
    resolver = tfx.dsl.Resolver(
        strategy_class=tfx.dsl.experimental.LatestArtifactStrategy,
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
    ).with_id("newest_model")
    pipeline = tfx.dsl.Pipeline("sneaky", "/root", components=[resolver])
    with pytest.raises(CompileError, match="newest_model is a Resolver, which open-source Kubeflow Pipelines refuses"):
        compile_(tmp_path, pipeline)
    assert not list(tmp_path.iterdir())


def test_a_file_based_example_gen_is_refused_by_name(tmp_path):
    pipeline = tfx.dsl.Pipeline("files", "/root", components=[tfx.components.CsvExampleGen("/csv")])
    with pytest.raises(CompileError, match="CsvExampleGen has a driver of its own"):
        compile_(tmp_path, pipeline)


def test_what_kfp_does_not_take_is_not_written(documents):
    spec = {**documents[0], "nonsense": 1}
    with pytest.raises(CompileError, match="kfp does not take the compiled pipeline: .*nonsense"):
        kubeflow_spec.to_yaml(spec, documents[1])
