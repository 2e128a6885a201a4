"""The options of `hrlrec benchmark serve`, and what it does."""

import argparse
from collections.abc import Mapping
from typing import Any

from hrlrec_tf.errors import ConfigError

_ALONE = ("model_base", "data", "soak", "swaps", "charts")  # say nothing about a server that somebody else runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that belong to `serve` alone."""
    group = parser.add_argument_group("serve")
    group.add_argument("--model-base", metavar="DIR", help="served versions to measure (default: a model built for it)")
    group.add_argument("--soak", type=float, metavar="MINUTES", help="instead: half of peak load for so long")
    group.add_argument("--swaps", type=int, metavar="N", help="new versions during a soak (default: 3)")
    group.add_argument("--address", metavar="HOST:PORT", help="instead: only load on this running server")
    group.add_argument("--request", metavar="FILE", help="request file to send to --address")
    group.add_argument("--model-name", default="hrlrec", metavar="NAME", help="of the model at --address (hrlrec)")


def run(args: argparse.Namespace) -> Mapping[str, Any]:
    """Measures what the options ask for, and prints it."""
    from serving.benchmark import measure, report

    if (args.address is None) != (args.request is None):
        raise ConfigError("--address and --request belong together: the server to load, and the request to send")
    if args.address is not None:
        return _run_against(args)
    if args.swaps is not None and args.soak is None:
        raise ConfigError(f"--swaps {args.swaps} belongs to a soak; add --soak MINUTES")
    if (args.model_base is None) != (args.data is None):
        raise ConfigError("--model-base and --data belong together: a model, and sessions like those it was trained on")
    inputs = (args.model_base, args.data, args.quick)
    if args.soak is not None:
        swaps = 3 if args.swaps is None else args.swaps
        if not 0 < args.soak <= 24 * 60 or not 0 <= swaps <= 1000:
            raise ConfigError(f"--soak takes up to 1440 minutes and --swaps up to 1000: got {args.soak} and {swaps}")
        result = measure.soak(args.soak, swaps, *inputs)
        print(report.soak_text(result))
        return result
    result = measure.run(args.rounds, *inputs)
    print(report.as_text(result))
    for file in report.write_charts(args.charts, result) if args.charts else ():
        print(f"chart: {file}")
    return result


def _run_against(args: argparse.Namespace) -> Mapping[str, Any]:
    from serving.benchmark import measure_server, report
    from serving.messages import RankRequest

    given = [name for name in _ALONE if getattr(args, name) is not None]
    if given:
        raise ConfigError(f"--{given[0].replace('_', '-')} does not go with --address; leave one of them out")
    request = RankRequest.from_json(args.request)
    result = measure_server.run(args.address, args.model_name, request, args.quick)
    print(report.as_text(result))
    return result
