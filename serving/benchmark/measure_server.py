"""Load on a server that somebody else runs, TensorFlow Serving included."""

from typing import Any

import grpc

from hrlrec_tf.benchmark.timing import percentiles
from serving.batches import RANK
from serving.benchmark import load
from serving.benchmark.sweep import sweep
from serving.client import RankingError
from serving.messages import RankRequest

_CALLS, _QUICK_CALLS = 500, 5


def run(address: str, model: str, request: RankRequest, quick: bool = False) -> dict[str, Any]:
    """Latency of one caller, then rates until the server falls behind; one request, over and over.

    Raises:
      RankingError: the server does not answer, or its model has no signature `rank`.
      RequestError: the request does not fit the model.
    """
    try:
        inputs = load.signature_inputs(address, model, RANK)
    except grpc.RpcError as error:
        raise RankingError(error.code(), f"{address} does not say what {model!r} takes: {error.details()}") from error
    if inputs is None:
        raise RankingError(grpc.StatusCode.INVALID_ARGUMENT, f"the model {model!r} at {address} has no {RANK!r}")
    with load.LoadGenerator(address, [load.message([request], model, RANK, inputs)]) as generator:
        generator.closed_loop(1, calls=1)
        alone = generator.closed_loop(1, calls=_QUICK_CALLS if quick else _CALLS)
        result = {
            "grpc": percentiles((alone.done - alone.due)[alone.answered]),
            "errors": alone.summary()["errors"],
            **sweep({"": generator}, quick),
        }
    return {**result, "note": f"Figures of the server at {address}, which this package did not start.", "quick": quick}
