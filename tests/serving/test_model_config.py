"""TensorFlow Serving's configuration files: what is read, what is refused and how it is said."""

import pathlib

import pytest

from hrlrec_tf.errors import ConfigError
from serving import batch_parameters, metrics, model_config, text_protos
from serving.batch_parameters import BatchParameters
from serving.model_config import ModelConfig, VersionPolicy

TWO_MODELS = """
# As in TensorFlow Serving's documentation.
model_config_list {
  config {
    name: 'feed' base_path: '/models/feed' model_platform: 'tensorflow'
    model_version_policy { specific { versions: 42 versions: 43 } }
    version_labels { key: 'stable' value: 42 }
    version_labels { key: 'canary' value: 43 }
  }
  config { name: 'video' base_path: '/models/video' model_platform: 'tensorflow' }
}
"""


def file(folder: pathlib.Path, text: str) -> pathlib.Path:
    path = folder / "config.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_models(tmp_path):
    assert model_config.read(file(tmp_path, TWO_MODELS)) == [
        ModelConfig(
            "feed",
            pathlib.Path("/models/feed"),
            VersionPolicy(latest=None, specific=frozenset({42, 43})),
            {"stable": 42, "canary": 43},
        ),
        ModelConfig("video", pathlib.Path("/models/video")),
    ]


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        ("", {7}),
        ("latest {}", {7}),
        ("latest { num_versions: 2 }", {3, 7}),
        ("latest { num_versions: 9 }", {1, 3, 7}),
        ("all {}", {1, 3, 7}),
        ("specific { versions: 1 versions: 7 versions: 8 }", {1, 7}),
        ("specific {}", set()),
    ],
)
def test_policies(tmp_path, policy, wanted):
    config = f'name: "m" base_path: "/m" model_platform: "tensorflow" model_version_policy {{ {policy} }}'
    read = model_config.read(file(tmp_path, f"model_config_list {{ config {{ {config} }} }}"))
    assert read[0].policy.wanted([1, 3, 7]) == wanted


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no model_config_list"),
        ("model_config_list {}", "model_config_list is empty"),
        ("model_config_list { config { base_path: '/m' } }", "has no name"),
        ("model_config_list { config { name: 'm' base_path: 'm' } }", "base_path 'm'; give an absolute path"),
        ("model_config_list { config { name: 'm' base_path: '/m' } }", "model_platform ''; write 'tensorflow'"),
        (TWO_MODELS.replace("video", "feed"), "has the model 'feed' twice"),
        ("model_config_list { konfig {} }", "1:21.*konfig"),
    ],
)
def test_wrong_model_configs(tmp_path, text, sentence):
    path = file(tmp_path, text)
    with pytest.raises(ConfigError, match=f"^{path}: .*{sentence}"):
        model_config.read(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read .No such file"):
        model_config.read(tmp_path / "absent")
    (tmp_path / "bytes").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"is not UTF-8 \(byte 0\)"):
        model_config.read(tmp_path / "bytes")


def test_batching_parameters(tmp_path):
    text = """
    max_batch_size { value: 128 }
    batch_timeout_micros { value: 2000 }
    max_enqueued_batches { value: 1000 }
    num_batch_threads { value: 8 }
    thread_pool_name { value: "batches" }
    allowed_batch_sizes: 8
    allowed_batch_sizes: 128
    pad_variable_length_inputs: true
    """
    assert batch_parameters.read(file(tmp_path, text)) == BatchParameters(
        128, 2000, 1000, 8, "batches", (8, 128), True, False, None
    )
    assert batch_parameters.read(file(tmp_path, "")) == BatchParameters()
    split = "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 32 }"
    assert batch_parameters.read(file(tmp_path, split)).batch_rows == 32
    assert batch_parameters.read(file(tmp_path, "max_execution_batch_size { value: 32 }")).batch_rows == 1000


def test_padding_to_allowed_sizes():
    parameters = BatchParameters(max_batch_size=8, allowed_batch_sizes=(2, 8))
    assert [parameters.padded(rows) for rows in (1, 2, 3, 8)] == [2, 2, 8, 8]
    assert BatchParameters().padded(5) == 5


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("max_batch_size { value: 0 }", "max_batch_size is 0"),
        ("num_batch_threads { value: -1 }", "num_batch_threads is -1"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros is -1"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: 4", "end with the largest batch size .8."),
        ("max_batch_size { value: 8 } allowed_batch_sizes: [8, 4]", "must increase"),
        (
            "max_batch_size { value: 8 } enable_large_batch_splitting { value: true } "
            "max_execution_batch_size { value: 9 }",
            "max_execution_batch_size is 9",
        ),
        ("max_batch_size: 8", "max_batch_size|Expected"),
    ],
)
def test_wrong_batching_parameters(tmp_path, text, sentence):
    path = file(tmp_path, text)
    with pytest.raises(ConfigError, match=f"^{path}: .*({sentence})"):
        batch_parameters.read(path)


def test_monitoring_config(tmp_path):
    assert metrics.read_path(file(tmp_path, "")) is None
    assert metrics.read_path(file(tmp_path, "prometheus_config { path: '/m' }")) is None
    enabled = "prometheus_config { enable: true }"
    assert metrics.read_path(file(tmp_path, enabled)) == "/monitoring/prometheus/metrics"
    assert metrics.read_path(file(tmp_path, "prometheus_config { enable: true path: '/m' }")) == "/m"
    with pytest.raises(ConfigError, match="path 'm'; let it start with '/'"):
        metrics.read_path(file(tmp_path, "prometheus_config { enable: true path: 'm' }"))


def test_messages_are_declared_as_tensorflow_serving_does():
    """Field numbers, so that a message of one server can be read by the other."""
    message = text_protos.BatchingParameters()
    message.max_batch_size.value = 3
    message.allowed_batch_sizes.extend([1, 3])
    message.max_execution_batch_size.value = 2
    assert message.SerializeToString() == b"\x0a\x02\x08\x03\x32\x02\x01\x03\x4a\x02\x08\x02"
