"""The versions below a model base folder: which one is live, how a newer one takes over.

A version is a folder with an integer name that holds `saved_model.pb`. It is taken once two looks at it found the same
files, so that a folder still being copied is left alone. It is loaded and warmed up beside the live version and swapped
in only when all of that worked; a version that failed is refused until its files change. As with TensorFlow Serving,
the newest version serves, and removing it brings the one before back.
"""

import dataclasses
import logging
import os
import pathlib
import threading
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_log_pb2
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus

from hrlrec_tf.errors import ModelError
from serving import signatures

SAVED_MODEL = "saved_model.pb"
WARMUP_REQUESTS = "assets.extra/tf_serving_warmup_requests"
FIRST_LOOKS_SECONDS = 0.2

_LOG = logging.getLogger(__name__)
_DEFAULT_SIGNATURE = "serving_default"

Listing = frozenset[tuple[str, int, int]]


@dataclasses.dataclass(frozen=True)
class ServedVersion:
    """One SavedModel, loaded and ready.

    Attributes:
      number: the version.
      functions: its signatures' concrete functions.
      signature_defs: its signatures as GetModelMetadata reports them.
      model: the loaded object; it keeps the variables alive that the functions read.
    """

    number: int
    functions: Mapping[str, Any]
    signature_defs: get_model_metadata_pb2.SignatureDefMap
    model: Any

    @classmethod
    def load(cls, folder: pathlib.Path) -> "ServedVersion":
        """Loads the SavedModel in `folder` and replays its warm-up requests; raises whatever goes wrong."""
        saved_model = saved_model_pb2.SavedModel.FromString((folder / SAVED_MODEL).read_bytes())
        graph = next((graph for graph in saved_model.meta_graphs if "serve" in graph.meta_info_def.tags), None)
        if graph is None:
            raise ModelError("it has no graph with the tag 'serve'; export it with tf.saved_model.save")
        model = tf.saved_model.load(str(folder))
        defs = get_model_metadata_pb2.SignatureDefMap(signature_def=graph.signature_def)
        version = cls(int(folder.name), dict(model.signatures), defs, model)
        version._warm_up(folder / WARMUP_REQUESTS)
        return version

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Answers a Predict call; raises `signatures.Refusal` when the request does not fit or the graph refuses it."""
        name = request.model_spec.signature_name or _DEFAULT_SIGNATURE
        if name not in self.functions:
            known = ", ".join(sorted(self.functions))
            raise signatures.invalid(f"the model has no signature {name!r}; it has: {known}")
        function = self.functions[name]
        inputs = signatures.read_inputs(function, name, request.inputs)
        try:
            outputs = function(**inputs)
        except tf.errors.OpError as error:
            raise signatures.of_error(error) from error
        unknown = sorted(set(request.output_filter) - set(outputs))
        if unknown:
            known = ", ".join(sorted(outputs))
            raise signatures.invalid(f"the signature {name!r} has no output {unknown[0]!r}; it has: {known}")
        response = predict_pb2.PredictResponse()
        response.model_spec.CopyFrom(request.model_spec)
        response.model_spec.version.value = self.number
        response.model_spec.signature_name = name
        for output in request.output_filter or outputs:
            response.outputs[output].CopyFrom(tf.make_tensor_proto(outputs[output].numpy()))
        return response

    def _warm_up(self, path: pathlib.Path) -> None:
        if not path.is_file():
            return
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            log = prediction_log_pb2.PredictionLog.FromString(record)
            if not log.HasField("predict_log"):
                kind = log.WhichOneof("log_type")
                raise ModelError(f"{WARMUP_REQUESTS} holds a {kind}; only predict_log can be replayed")
            self.predict(log.predict_log.request)


class ModelVersions:
    """Keeps the newest good version below `model_base` live.

    Args:
      model_base: the folder of version folders.
      poll_seconds: pause between two looks at it.
    """

    def __init__(self, model_base: str | os.PathLike[str], poll_seconds: float) -> None:
        self._base = pathlib.Path(model_base)
        self._poll_seconds = poll_seconds
        self._live: ServedVersion | None = None
        self._seen: dict[int, Listing] = {}
        self._refused: dict[int, Listing] = {}
        self._statuses: dict[int, ModelVersionStatus] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="model-versions", daemon=True)

    @property
    def live(self) -> ServedVersion:
        """The version that answers now."""
        if self._live is None:
            raise ModelError(f"no version of {self._base} is loaded; call start() first")
        return self._live

    def statuses(self) -> list[ModelVersionStatus]:
        """What became of each version seen so far, newest first."""
        return [status for _, status in sorted(dict(self._statuses).items(), reverse=True)]

    def start(self) -> None:
        """Loads the newest version and begins to watch for others; raises `ModelError` when there is none to serve."""
        if not self._base.is_dir():
            raise ModelError(f"{self._base}: no such folder; give the folder that `hrlrec export` wrote a version into")
        self._seen = self._look()
        if not self._seen:
            raise ModelError(
                f"{self._base}: holds no version, a folder named by an integer with {SAVED_MODEL} inside; "
                f"write one with `hrlrec export --model DIR --out {self._base}`"
            )
        self._stop.wait(FIRST_LOOKS_SECONDS)
        self.refresh()
        if self._live is None:
            newest = max(self._seen)
            reason = self._statuses[newest].status.error_message if newest in self._statuses else "it is being written"
            raise ModelError(f"{self._base / str(newest)}: cannot be served: {reason}")
        self._thread.start()

    def stop(self) -> None:
        """Stops watching; the live version goes on answering."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def refresh(self) -> None:
        """Looks once: swaps to the newest version that is complete, loads and warms up."""
        before, self._seen = self._seen, self._look()
        for number, listing in sorted(self._seen.items(), reverse=True):
            if self._live is not None and number == self._live.number:
                return
            if before.get(number) == listing != self._refused.get(number) and self._take(number, listing):
                return

    def _poll(self) -> None:
        while not self._stop.wait(self._poll_seconds):
            try:
                self.refresh()
            except Exception:
                _LOG.exception("cannot look for versions in %s; version %d stays", self._base, self.live.number)

    def _look(self) -> dict[int, Listing]:
        folders = [folder for folder in self._base.glob("*") if _is_version(folder)]
        return {int(folder.name): _listing(folder) for folder in folders}

    def _take(self, number: int, listing: Listing) -> bool:
        folder = self._base / str(number)
        self._report(number, ModelVersionStatus.LOADING)
        try:
            version = ServedVersion.load(folder)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            self._refused[number] = listing
            self._report(number, ModelVersionStatus.END, reason)
            _LOG.warning("version %d is refused: %s", number, reason)
            return False
        before, self._live = self._live, version
        self._report(number, ModelVersionStatus.AVAILABLE)
        if before is not None:
            self._report(before.number, ModelVersionStatus.END)
        _LOG.info("version %d serves%s", number, "" if before is None else f" in place of {before.number}")
        return True

    def _report(self, number: int, state: int, error: str = "") -> None:
        status = ModelVersionStatus(version=number, state=state)
        if error:
            status.status.error_code = tf.errors.UNKNOWN
            status.status.error_message = error
        self._statuses[number] = status


def _is_version(folder: pathlib.Path) -> bool:
    name = folder.name
    return name.isdecimal() and name == str(int(name)) and (folder / SAVED_MODEL).is_file()


def _listing(folder: pathlib.Path) -> Listing:
    """Path, size and time of every file in `folder`: what changes while it is being written."""
    try:
        stats = [(str(path.relative_to(folder)), path.stat()) for path in folder.rglob("*") if path.is_file()]
    except FileNotFoundError:
        return frozenset()  # files vanished meanwhile; the next look tells more
    return frozenset((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
