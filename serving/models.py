"""The served models: which there are, which version a request means, how a new model config takes over.

A new config takes over as a whole or not at all. Models that are new in it and versions that a changed policy wants are
loaded beside the live ones and answer nothing yet; a label moves only to a version that is live then. When all is ready
it goes live together; where anything is refused, all that was loaded is given back at once.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence

import grpc
from tensorflow_serving.apis import model_pb2
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus

from hrlrec_tf.errors import ConfigError
from serving.loaded import ServedVersion
from serving.metrics import Metrics
from serving.model_config import ModelConfig
from serving.signatures import Refusal, invalid
from serving.versions import ModelVersions


class Models:
    """Serves the models of a config until another config takes over.

    Args:
      configs: the models to begin with.
      poll_seconds: pause between two looks for new versions.
      metrics: where loads and swaps are counted.
      allow_unavailable: lets a new label name a version that is not live, as TensorFlow Serving's
        `--allow_version_labels_for_unavailable_models`; one that is in use still moves only to a live version.
    """

    def __init__(
        self,
        configs: Sequence[ModelConfig],
        poll_seconds: float,
        metrics: Metrics,
        *,
        allow_unavailable: bool = False,
    ) -> None:
        self._poll_seconds = poll_seconds
        self._metrics = metrics
        self._allow_unavailable = allow_unavailable
        self._first = list(configs)
        self._models: dict[str, ModelVersions] = {}
        self._labels: dict[str, Mapping[str, int]] = {}
        self._reloading = threading.Lock()

    @property
    def names(self) -> list[str]:
        """The models' names, in the config's order."""
        return list(self._models)

    def numbers(self, name: str) -> list[int]:
        """The live versions of a model, oldest first."""
        return self._models[name].numbers

    def start(self) -> None:
        """Loads every model; raises `ModelError` or `ConfigError` when one cannot be served as configured."""
        self.reload(self._first)

    def stop(self) -> None:
        """Stops watching for versions; what is live goes on answering."""
        for model in self._models.values():
            model.stop()

    def model(self, spec: model_pb2.ModelSpec) -> ModelVersions:
        """The model that `spec` names; raises `Refusal`."""
        known = ", ".join(map(repr, self.names)) or "no model"
        if not spec.name:
            raise invalid(f"the request names no model; this server has {known}")
        model = self._models.get(spec.name)
        if model is None:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"there is no model {spec.name!r}; this server has {known}")
        return model

    @contextlib.contextmanager
    def lease(self, spec: model_pb2.ModelSpec) -> Iterator[ServedVersion]:
        """The version that `spec` asks for by number, by label or as the newest; it stays loaded meanwhile.

        Raises:
          Refusal: INVALID_ARGUMENT, no model named or no such label; NOT_FOUND, no such model or version.
        """
        with contextlib.ExitStack() as stack:
            yield self._enter(stack, spec)

    def statuses(self, spec: model_pb2.ModelSpec) -> list[ModelVersionStatus]:
        """What became of each version, newest first, or of the one that `spec` asks for; raises `Refusal`."""
        model, number = self._meant(spec)
        statuses = [status for status in model.statuses() if number in (None, status.version)]
        if not statuses:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"version {number} of {spec.name!r} was never seen")
        return statuses

    def reload(self, configs: Sequence[ModelConfig]) -> None:
        """Takes over a new config, or changes nothing.

        Raises:
          ModelError: a new model has no version that can be served, or a changed policy names one that cannot.
          ConfigError: a label names a version that is not live.
        """
        with self._reloading:
            with contextlib.ExitStack() as stack:
                for model in self._models.values():
                    stack.enter_context(model.paused())
                models = self._changed(configs)
                for model in models.values():
                    model.go_live()
                before, self._models = self._models, models
                self._labels = {config.name: dict(config.labels) for config in configs}
                for model in self._models.values():
                    model.retire_unwanted()
            for name, model in before.items():
                if self._models.get(name) is not model:
                    model.retire_all()
            for model in self._models.values():
                model.report_live()

    def _enter(self, stack: contextlib.ExitStack, spec: model_pb2.ModelSpec) -> ServedVersion:
        meant = self._meant(spec)
        while True:
            model, number = meant
            try:
                return stack.enter_context(model.lease(number))
            except Refusal:
                # A new config may have taken over between the two steps: then its version is meant.
                before, meant = meant, self._meant(spec)
                if meant == before:
                    raise

    def _meant(self, spec: model_pb2.ModelSpec) -> tuple[ModelVersions, int | None]:
        model = self.model(spec)
        if spec.HasField("version"):
            return model, spec.version.value
        if not spec.HasField("version_label"):
            return model, None
        number = self._labels.get(spec.name, {}).get(spec.version_label)
        if number is None:
            label = spec.version_label
            raise invalid(f"there is no version label {label!r}; leave it out for the newest version")
        return model, number

    def _changed(self, configs: Sequence[ModelConfig]) -> dict[str, ModelVersions]:
        """The models of `configs`, ready to take over; on an error everything is as before."""
        models: dict[str, ModelVersions] = {}
        with contextlib.ExitStack() as undo:
            for config in configs:
                models[config.name] = self._prepared(config, undo)
            self._check_labels(configs, models)
            undo.pop_all()
        return models

    def _prepared(self, config: ModelConfig, undo: contextlib.ExitStack) -> ModelVersions:
        """The model as configured, its wanted versions loaded; `undo` learns how to give them back."""
        model = self._models.get(config.name)
        if model is None or model.base != config.base_path:
            model = ModelVersions(
                config.base_path, self._poll_seconds, name=config.name, policy=config.policy, metrics=self._metrics
            )
            undo.callback(model.abandon, model.policy)
            model.load()
        elif model.policy != config.policy:
            undo.callback(model.abandon, model.policy)
            model.adopt(config.policy)
        return model

    def _check_labels(self, configs: Sequence[ModelConfig], models: Mapping[str, ModelVersions]) -> None:
        for config in configs:
            will_live = models[config.name].will_live
            for label, version in config.labels.items():
                now = self._labels.get(config.name, {}).get(label, version)
                if version in will_live or (self._allow_unavailable and now == version):
                    continue
                live = ", ".join(map(str, sorted(will_live))) or "none"
                raise ConfigError(
                    f"the label {label!r} of {config.name!r} names version {version}, which is not live "
                    f"(live: {live}); move it to one that is"
                )
