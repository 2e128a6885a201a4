"""The verbs `hrlrec serve` and `hrlrec rank`.

TensorFlow and gRPC are imported when a verb runs, so that `hrlrec --help` stays quick.
"""

import argparse
import contextlib
import dataclasses
import logging
import signal
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hrlrec_tf.cli import Verb
from hrlrec_tf.errors import ConfigError
from serving.messages import RankRequest, RankResponse

if TYPE_CHECKING:
    from types import FrameType

    from serving.feedback import ImpressionLog
    from serving.server import EmbeddedServer

# One call by hand may be the first that a fresh server runs, long before a feed's own deadlines hold.
_RANK_DEADLINE_SECONDS = 60.0
_WAKES = 0.5  # seconds between looks at whether to stop

_COLUMNS = ("position", "item", "channel", "click probability", "q channel", "q item")
_EXPLORATION_COLUMNS = ("explored", "propensity channel", "propensity item")


def _add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    models = parser.add_argument_group("what is served: one model, or those of a config file")
    models.add_argument("--model-base", metavar="DIR", help="folder of numbered SavedModel versions")
    models.add_argument("--model-name", metavar="NAME", help="name of the model (hrlrec)")
    models.add_argument("--model-config-file", metavar="FILE", help="TensorFlow Serving's model config, as text")
    models.add_argument(
        "--model-config-file-poll-wait-seconds",
        type=_at_least_zero,
        default=0.0,
        metavar="S",
        help="pause between two looks at that file (0: read it only once)",
    )
    models.add_argument(
        "--allow-version-labels-for-unavailable-models",
        action="store_true",
        help="let a new label name a version that is not live yet",
    )
    models.add_argument(
        "--file-system-poll-wait-seconds",
        type=_at_least_zero,
        default=1.0,
        metavar="S",
        help="pause between two looks for new versions (1; 0 looks only at the start)",
    )
    ports = parser.add_argument_group("where")
    ports.add_argument("--port", type=int, default=8500, metavar="N", help="gRPC port; 0 takes a free one (8500)")
    ports.add_argument("--rest-port", type=int, metavar="N", help="REST port; 0 takes a free one (none)")
    ports.add_argument(
        "--host", default="127.0.0.1", help="interface to listen on (127.0.0.1; 0.0.0.0 opens it to the network)"
    )
    ports.add_argument("--ssl-config-file", metavar="FILE", help="TensorFlow Serving's TLS config, for both ports")
    how = parser.add_argument_group("how")
    how.add_argument("--enable-batching", action="store_true", help="join calls into batches")
    how.add_argument("--batching-parameters-file", metavar="FILE", help="TensorFlow Serving's batching parameters")
    how.add_argument(
        "--max-queued", type=_count, default=64, metavar="N", help="calls that may wait, further ones are refused (64)"
    )
    how.add_argument(
        "--rest-api-timeout-in-ms",
        type=_count,
        default=30_000,
        metavar="MS",
        help="how long a REST call may wait (30000)",
    )
    how.add_argument(
        "--monitoring-config-file", metavar="FILE", help="TensorFlow Serving's monitoring config: Prometheus metrics"
    )
    how.add_argument("--impression-log", metavar="DIR", help="write every answered list there, for `hrlrec join`")
    how.add_argument(
        "--mask",
        action="append",
        default=[],
        metavar="COLUMN",
        help="hash this column in it; user_id hashes request ids, too; repeatable",
    )
    how.add_argument(
        "--log-calls", type=_share, default=0.0, metavar="SHARE", help="share of calls logged as JSON, in [0, 1] (0)"
    )


def _count(text: str) -> int:
    if (value := int(text)) < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def _at_least_zero(text: str) -> float:
    if (value := float(text)) < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def _share(text: str) -> float:
    if not 0 <= (value := float(text)) <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not in [0, 1]")
    return value


def _serve(args: argparse.Namespace) -> Mapping[str, Any]:
    from serving.server import EmbeddedServer

    if args.model_config_file is not None and args.model_name is not None:
        raise ConfigError("--model-config-file names the models; leave out --model-name")
    if args.batching_parameters_file is not None and not args.enable_batching:
        raise ConfigError("--batching-parameters-file needs --enable-batching; add it")
    if args.mask and args.impression_log is None:
        raise ConfigError("--mask hashes columns of the impression log; add --impression-log DIR")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    with _impression_log(args) as impressions:
        return _serve_until_stopped(
            args,
            EmbeddedServer(
                args.model_base,
                args.port,
                host=args.host,
                model_name=args.model_name or "hrlrec",
                poll_seconds=args.file_system_poll_wait_seconds,
                max_queued=args.max_queued,
                rest_port=args.rest_port,
                rest_timeout_seconds=args.rest_api_timeout_in_ms / 1000,
                model_config_file=args.model_config_file,
                model_config_poll_seconds=args.model_config_file_poll_wait_seconds,
                allow_labels_for_unavailable=args.allow_version_labels_for_unavailable_models,
                enable_batching=args.enable_batching,
                batching_parameters_file=args.batching_parameters_file,
                monitoring_config_file=args.monitoring_config_file,
                ssl_config_file=args.ssl_config_file,
                log_calls=args.log_calls,
                impression_log=impressions,
            ),
        )


@contextlib.contextmanager
def _impression_log(args: argparse.Namespace) -> "Iterator[ImpressionLog | None]":
    """The impression log that was asked for; what the disk refuses is told and does not stop the server."""
    if args.impression_log is None:
        yield None
        return
    from hrlrec_tf.data.rules import Masking
    from serving.feedback import ImpressionLog

    mask = Masking(tuple(args.mask)) if args.mask else None
    log = ImpressionLog(args.impression_log, mask=mask, on_error="drop")
    with log:
        yield log


def _serve_until_stopped(args: argparse.Namespace, server: "EmbeddedServer") -> Mapping[str, Any]:
    with _stop_signals() as received, server:
        for name in server.model_names:
            numbers = server.versions(name)
            kind = "version" if len(numbers) == 1 else "versions"
            serving = f"serving {kind} {', '.join(map(str, numbers))} of {name} at {server.address}"
            print(f"{serving} (Ctrl-C stops)", flush=True)
        if args.rest_port is not None:
            print(f"REST at {server.rest_address}", flush=True)
        while not received:
            time.sleep(_WAKES)
        print("stopping: calls in progress may finish", flush=True)
        name = server.model_names[0]
        return {
            "address": server.address,
            "model_name": name,
            "version": server.version,
            "models": {name: server.versions(name) for name in server.model_names},
        } | ({} if args.rest_port is None else {"rest_address": server.rest_address})


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Gathers Ctrl-C and SIGTERM, for the time of the context.

    Look at the list now and then: Python runs a handler when the main thread does something, and a wait without end
    does not end for a signal that another thread was given; an Event would also be set while its own lock is held.
    """
    received = list[int]()

    def stop(number: int, frame: "FrameType | None") -> None:
        received.append(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
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
    with RankingClient(
        args.server, args.model_name, deadline_seconds=_RANK_DEADLINE_SECONDS, history_length=None
    ) as client:
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
