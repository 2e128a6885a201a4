"""Settings of the compiled pipeline, from YAML."""

import pytest

from hrlrec_tf.errors import ConfigError
from tfx_pipeline import kubeflow_settings
from tfx_pipeline.kubeflow_settings import Backoff, KubeflowSettings, Secret, TaskSettings
from tfx_pipeline.pipeline import READS


def load(folder, text):
    file = folder / "settings.yaml"
    file.write_text(text, "utf-8")
    return kubeflow_settings.load(file)


def test_the_defaults_name_tasks_of_the_pipeline_and_retry_no_gate():
    settings = kubeflow_settings.load()
    assert set(settings.tasks) <= set(READS)
    assert settings.of("Trainer").memory_limit_gb > settings.of("StatisticsGen").memory_limit_gb
    assert settings.of("AnomalyGate").retries == settings.of("ServingCheck").retries == 0
    assert settings.of("StatisticsGen") == settings.default and settings.default.retries > 0
    assert settings.secrets == ()


def test_a_task_takes_what_it_does_not_name_from_the_default(tmp_path):
    settings = load(tmp_path, "default: {cpu_limit: 3, retries: 5}\ntasks: {Trainer: {retries: 1}, Pusher: null}\n")
    assert settings.of("Trainer") == TaskSettings(cpu_limit=3.0, retries=1)
    assert settings.of("Pusher") == settings.of("Anything") == TaskSettings(cpu_limit=3.0, retries=5)


def test_a_secret_reaches_the_tasks_it_names_or_all(tmp_path):
    settings = load(tmp_path, "secrets: [{secret: a, env: {KEY: k}, tasks: [Trainer]}, {secret: b, mount: /b}]\n")
    assert settings.secrets_of("Trainer") == [Secret("a", {"KEY": "k"}, None, ("Trainer",)), Secret("b", mount="/b")]
    assert [secret.secret for secret in settings.secrets_of("Pusher")] == ["b"]


def test_an_empty_file_is_all_defaults(tmp_path):
    assert load(tmp_path, "") == KubeflowSettings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: {}", "task is unknown"),
        ("tasks: {Trainer: {cpus: 1}}", r"tasks\.Trainer\.cpus is unknown"),
        ("default: {cpu_request: 4}", "default: cpu_request must be above 0 and at most cpu_limit: got 4 and 2"),
        ("default: {memory_request_gb: 0}", "memory_request_gb must be above 0"),
        ("default: {retries: -1}", "retries must be 0 or more"),
        ("backoff: {factor: 0.5}", "a factor of 1 or more"),
        ("secrets: [{secret: a}]", "secret a needs env or mount"),
        ("secrets: [{secret: a, env: {A-B: k}}]", "'A-B' is no name of an environment variable"),
        ("{secrets: [{secret: a, env: {A: k}}], environment: {A: x}}", "A comes from a secret already"),
        ("secrets: {", "cannot be read as YAML"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as refused:
        load(tmp_path, text)
    assert "settings.yaml" in str(refused.value) and "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="none.yaml cannot be read"):
        kubeflow_settings.load(tmp_path / "none.yaml")


def test_backoff_outlasts_a_long_training():
    assert Backoff().within_seconds >= 12 * 3600
