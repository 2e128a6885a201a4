"""Signatures called without a server: what a call costs by itself."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from hrlrec_tf.benchmark.timing import Times, measure
from serving import tensors
from serving.benchmark.plan import CALLS, Plan, base_of, newest_version
from serving.benchmark.requests import Requests
from serving.loaded import ServedVersion


class Opened(Protocol):
    """A model whose signatures can be called."""

    @property
    def functions(self) -> Mapping[str, Any]:
        """By the signatures' names."""
        ...

    def signature_inputs(self, name: str) -> Mapping[str, meta_graph_pb2.TensorInfo]:
        """The inputs of a signature."""
        ...

    def run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """All outputs of a signature."""
        ...


class StockModel:
    """`Opened` by `tf.saved_model.load`."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._model = tf.saved_model.load(str(folder))
        self.functions = self._model.signatures

    def signature_inputs(self, name: str) -> Mapping[str, meta_graph_pb2.TensorInfo]:
        """The inputs of a signature."""
        return {
            key: meta_graph_pb2.TensorInfo(dtype=spec.dtype.as_datatype_enum, tensor_shape=spec.shape.as_proto())
            for key, spec in self.functions[name].structured_input_signature[1].items()
        }

    def run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """All outputs of a signature."""
        outputs = self.functions[signature](**{name: tf.constant(values) for name, values in inputs.items()})
        return {name: values.numpy() for name, values in outputs.items()}


class InProcess:
    """Calls of the models' signatures without a server, from NumPy arrays to NumPy arrays, on one core."""

    def __init__(self, folder: pathlib.Path, plan: Plan, stock: bool) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        load: Callable[[pathlib.Path], Opened] = StockModel if stock else ServedVersion.load
        self._requests = Requests(plan)
        newest = {call.model: newest_version(base_of(folder, call.model)) for call in CALLS.values()}
        self._models = {model: load(version) for model, version in newest.items() if version is not None}

    def known(self) -> list[str]:
        """The calls that the models answer."""
        return [
            name
            for name, call in CALLS.items()
            if call.model in self._models and call.signature in self._models[call.model].functions
        ]

    def sizes(self) -> dict[str, int]:
        """`candidates` and `history` of the first request."""
        (request,) = self._requests.make(1)
        return {"candidates": len(request.candidates), "history": len(request.history)}

    def run(
        self, call: str, repeat: int, candidates: int | None = None, history: int | None = None, batch: int = 1
    ) -> Times:
        """Times of `repeat` calls, each of another batch of requests as far as there are."""
        model, signature = self._models[CALLS[call].model], CALLS[call].signature
        inputs = model.signature_inputs(signature)
        requests = self._requests.make(batch * min(repeat, 8), candidates, history, call)
        batches = [
            {name: tf.make_ndarray(values) for name, values in tensors.to_tensors(several, inputs).items()}
            for several in (requests[n : n + batch] for n in range(0, len(requests), batch))
        ]
        turn = iter(range(repeat + 1))
        return measure(lambda: model.run(signature, batches[next(turn) % len(batches)]), repeat)
