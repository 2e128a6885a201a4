"""One SavedModel, loaded, warmed up and ready to answer."""

import dataclasses
import pathlib
import time
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_log_pb2

from hrlrec_tf.errors import ModelError
from serving import saved_model, signatures
from serving.saved_model import Function

WARMUP_REQUESTS = "assets.extra/tf_serving_warmup_requests"
DEFAULT_SIGNATURE = "serving_default"

_RECORD_FRAME = 16  # bytes that a TFRecord has around its data: length, two checksums


@dataclasses.dataclass(frozen=True)
class Call:
    """A Predict request that fits the signature it names.

    Attributes:
      signature: the signature's name.
      inputs: its inputs.
      outputs: the names of the outputs to answer with.
    """

    signature: str
    inputs: Mapping[str, np.ndarray]
    outputs: Sequence[str]

    @property
    def rows(self) -> int | None:
        """Size of the first dimension, which all inputs must share to be batched; None where they do not."""
        sizes = {values.shape[0] if values.ndim else None for values in self.inputs.values()}
        return sizes.pop() if len(sizes) == 1 else None


@dataclasses.dataclass(frozen=True)
class ServedVersion:
    """One SavedModel, loaded and ready.

    Attributes:
      number: the version.
      input_specs: the inputs of each signature.
      signature_defs: its signatures as GetModelMetadata reports them.
      session: holds its graph, variables and tables.
      functions: of the signatures; see `saved_model.functions`.
      warmup_requests: how many requests were replayed.
      warmup_seconds: how long that took.
    """

    number: int
    input_specs: Mapping[str, Mapping[str, signatures.InputSpec]]
    signature_defs: get_model_metadata_pb2.SignatureDefMap
    session: tf.compat.v1.Session
    functions: Mapping[str, Function]
    warmup_requests: int = 0
    warmup_seconds: float = 0.0

    @classmethod
    def load(cls, folder: pathlib.Path, number: int | None = None, rest: float = 0.0) -> "ServedVersion":
        """Loads the SavedModel in `folder` and replays its warm-up requests; raises whatever goes wrong.

        Args:
          folder: of the SavedModel.
          number: the version, by default the folder's name.
          rest: see `saved_model.opened`.
        """
        graph = saved_model.read(folder)
        named = saved_model.signatures(graph)
        defs = get_model_metadata_pb2.SignatureDefMap(signature_def=named)
        specs = {name: signatures.input_specs(each) for name, each in named.items()}
        with saved_model.opened(folder, graph, rest) as session, saved_model.background() as background:
            functions = background.submit(saved_model.functions, session, graph).result()
            version = cls(int(folder.name) if number is None else number, specs, defs, session, functions)
            start = time.perf_counter()
            requests = background.submit(version._warm_up, folder / WARMUP_REQUESTS).result()
        return dataclasses.replace(
            version, warmup_requests=requests, warmup_seconds=time.perf_counter() - start if requests else 0.0
        )

    def close(self) -> None:
        """Gives the memory back; no call may be running."""
        self.session.close()

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Answers a Predict call; raises `signatures.Refusal` when the request does not fit or the graph refuses it."""
        call = self.read(request)
        return self.respond(request, call, self.run(call.signature, call.inputs))

    def signature_inputs(self, name: str) -> Mapping[str, meta_graph_pb2.TensorInfo]:
        """The inputs of a signature ("" is the default one); raises `signatures.Refusal` when there is none."""
        return self.signature_defs.signature_def[self._known(name)].inputs

    def read(self, request: predict_pb2.PredictRequest) -> Call:
        """The call that a request makes; raises `signatures.Refusal` when it does not fit the signature."""
        name = self._known(request.model_spec.signature_name)
        outputs = sorted(self.signature_defs.signature_def[name].outputs)
        unknown = sorted(set(request.output_filter) - set(outputs))
        if unknown:
            known = ", ".join(outputs)
            raise signatures.invalid(f"the signature {name!r} has no output {unknown[0]!r}; it has: {known}")
        inputs = signatures.read_inputs(self.input_specs[name], name, request.inputs)
        return Call(name, inputs, list(request.output_filter) or outputs)

    def run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All outputs of a signature; raises `signatures.Refusal` when the graph refuses the inputs."""
        definition = self.signature_defs.signature_def[signature]
        try:
            outputs = self.functions[signature](*(inputs[name] for name in sorted(definition.inputs)))
        except tf.errors.OpError as error:
            raise signatures.of_error(error) from error
        return dict(zip(sorted(definition.outputs), outputs, strict=True))

    def respond(
        self, request: predict_pb2.PredictRequest, call: Call, outputs: Mapping[str, np.ndarray]
    ) -> predict_pb2.PredictResponse:
        """The answer to `request`, of the outputs it asks for."""
        response = predict_pb2.PredictResponse()
        response.model_spec.CopyFrom(request.model_spec)
        response.model_spec.version.value = self.number
        response.model_spec.signature_name = call.signature
        for name in call.outputs:
            response.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
        return response

    def _known(self, name: str) -> str:
        name = name or DEFAULT_SIGNATURE
        if name not in self.functions:
            known = ", ".join(sorted(self.functions))
            raise signatures.invalid(f"the model has no signature {name!r}; it has: {known}")
        return name

    def _warm_up(self, path: pathlib.Path) -> int:
        if not path.is_file():
            return 0
        requests, read = 0, 0
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            log = prediction_log_pb2.PredictionLog.FromString(record)
            if not log.HasField("predict_log"):
                kind = log.WhichOneof("log_type")
                raise ModelError(f"{WARMUP_REQUESTS} holds a {kind}; only predict_log can be replayed")
            self.predict(log.predict_log.request)
            requests += 1
            read += len(record) + _RECORD_FRAME
        if read != path.stat().st_size:  # TensorFlow takes a cut record's head for the end of the file
            raise ModelError(f"{WARMUP_REQUESTS} is cut short after {requests} requests; copy the version again")
        return requests
