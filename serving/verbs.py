"""The verbs `hrlrec serve` and `hrlrec rank`.

TensorFlow and gRPC are imported when a verb runs, so that `hrlrec --help` stays quick.
"""

import argparse
import contextlib
import dataclasses
import logging
import signal
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hrlrec_tf.cli import Verb
from serving.messages import RankRequest, RankResponse

if TYPE_CHECKING:
    from types import FrameType

# One call by hand may be the first that a fresh server runs, long before a feed's own deadlines hold.
_RANK_DEADLINE_SECONDS = 60.0

_COLUMNS = ("position", "item", "channel", "click probability", "q channel", "q item")
_EXPLORATION_COLUMNS = ("explored", "propensity channel", "propensity item")


def _add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model-base", required=True, metavar="DIR", help="folder of numbered SavedModel versions")
    parser.add_argument("--port", type=int, default=8500, metavar="N", help="gRPC port; 0 takes a free one (8500)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="interface to listen on (127.0.0.1; 0.0.0.0 opens it to the network)"
    )
    parser.add_argument("--model-name", default="hrlrec", metavar="NAME", help="name of the model (hrlrec)")


def _serve(args: argparse.Namespace) -> Mapping[str, Any]:
    from serving.server import EmbeddedServer

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    server = EmbeddedServer(args.model_base, args.port, host=args.host, model_name=args.model_name)
    with _stop_signal() as stopped, server:
        print(f"serving version {server.version} of {args.model_name} at {server.address} (Ctrl-C stops)", flush=True)
        stopped.wait()
        print("stopping: calls in progress may finish", flush=True)
        return {"address": server.address, "model_name": args.model_name, "version": server.version}


@contextlib.contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, for the time of the context."""
    stopped = threading.Event()

    def stop(number: int, frame: "FrameType | None") -> None:
        stopped.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _add_rank_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--server", required=True, metavar="HOST:PORT", help="the server's gRPC address")
    parser.add_argument("--request", required=True, metavar="FILE", help="one ranking request as JSON")
    parser.add_argument("--epsilon", type=float, metavar="X", help="probability of exploring (the request's)")
    parser.add_argument("--model-name", default="hrlrec", metavar="NAME", help="name of the model (hrlrec)")


def _rank(args: argparse.Namespace) -> Mapping[str, Any]:
    from serving.client import RankingClient

    request = RankRequest.from_json(args.request)
    if args.epsilon is not None:
        request = dataclasses.replace(request, epsilon=args.epsilon)
    with RankingClient(args.server, args.model_name, deadline_seconds=_RANK_DEADLINE_SECONDS) as client:
        response = client.rank(request)
    print(table(response, exploring=request.epsilon > 0))
    return response.to_dict()


def table(response: RankResponse, exploring: bool) -> str:
    """The ranked list as aligned text, with each choice's propensity when the request explored."""
    rows = [_COLUMNS + (_EXPLORATION_COLUMNS if exploring else ())]
    for item in response.items:
        values = (item.click_probability, item.q_channel, item.q_item)
        row: tuple[str, ...] = (str(item.position), item.item_id, item.channel, *(f"{x:.4f}" for x in values))
        if exploring:
            row += ("yes" if item.explored else "no", f"{item.propensity_channel:.4f}", f"{item.propensity_item:.4f}")
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, f"ranked by version {response.model_version}"])


SERVE = Verb(
    help="serve a model over gRPC as TensorFlow Serving does, newest version first, until stopped",
    example="hrlrec serve --model-base models/hrlrec --port 8500",
    add_arguments=_add_serve_arguments,
    run=_serve,
)
RANK = Verb(
    help="rank one request through a server and print the list",
    example="hrlrec rank --server localhost:8500 --request request.json",
    add_arguments=_add_rank_arguments,
    run=_rank,
)
