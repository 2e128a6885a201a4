"""TensorFlow Serving's model config: which models, from which folders, which versions, under which labels.

model_config_list {
  config {
    name: "hrlrec" base_path: "/models/hrlrec" model_platform: "tensorflow"
    model_version_policy { latest { num_versions: 2 } }
    version_labels { key: "stable" value: 1 }
  }
}
"""

import dataclasses
import logging
import os
import pathlib
from collections.abc import Collection, Mapping

from tensorflow_serving.config import model_server_config_pb2

from hrlrec_tf.errors import ConfigError
from serving import text_protos

PLATFORM = "tensorflow"

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class VersionPolicy:
    """Which versions of a base folder serve.

    Attributes:
      latest: the newest so many; None for every version.
      specific: only these, or None for any.
    """

    latest: int | None = 1
    specific: frozenset[int] | None = None

    def wanted(self, usable: Collection[int]) -> set[int]:
        """Those of the usable versions that should serve."""
        chosen = sorted(usable if self.specific is None else self.specific & set(usable), reverse=True)
        return set(chosen[: self.latest])


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """One served model.

    Attributes:
      name: what requests call it.
      base_path: the folder of version folders.
      policy: which of them serve.
      labels: label -> version, as requests may name one.
    """

    name: str
    base_path: pathlib.Path
    policy: VersionPolicy = VersionPolicy()
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)


def read(path: str | os.PathLike[str]) -> list[ModelConfig]:
    """Reads a model config file; raises `ConfigError` naming the file and what is wrong."""
    message = text_protos.read(path, model_server_config_pb2.ModelServerConfig())
    try:
        return from_proto(message)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def from_proto(message: model_server_config_pb2.ModelServerConfig) -> list[ModelConfig]:
    """The models of a config message; raises `ConfigError` where TensorFlow Serving would refuse it."""
    if message.WhichOneof("config") != "model_config_list":
        raise ConfigError("has no model_config_list, the only kind of model config that is served; write one")
    configs = [_model(config) for config in message.model_config_list.config]
    if not configs:
        raise ConfigError("model_config_list is empty; name at least one model")
    names = [config.name for config in configs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"model_config_list has the model {twice!r} twice; give each its own name")
    return configs


def _model(config: model_server_config_pb2.ModelConfig) -> ModelConfig:
    if not config.name:
        raise ConfigError("a model in model_config_list has no name; give it one")
    base = pathlib.Path(config.base_path)
    if not base.is_absolute():
        raise ConfigError(f"the model {config.name!r} has base_path {config.base_path!r}; give an absolute path")
    if config.model_platform != PLATFORM:
        raise ConfigError(f"the model {config.name!r} has model_platform {config.model_platform!r}; write {PLATFORM!r}")
    if config.HasField("logging_config"):
        _LOG.warning("the logging_config of the model %r is left out: only tensorflow_model_server has it", config.name)
    return ModelConfig(config.name, base, _policy(config), dict(config.version_labels))


def _policy(config: model_server_config_pb2.ModelConfig) -> VersionPolicy:
    policy = config.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return VersionPolicy(latest=None)
    if choice == "specific":
        return VersionPolicy(latest=None, specific=frozenset(policy.specific.versions))
    return VersionPolicy(latest=max(policy.latest.num_versions, 1))
