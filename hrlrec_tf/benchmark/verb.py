"""`hrlrec benchmark`: speed, with the machine's own limits beside it."""

import argparse
import importlib
from collections.abc import Mapping
from typing import Any

from hrlrec_tf.cli import Verb
from hrlrec_tf.errors import ConfigError

# `serving` uses this package, never the reverse: its part of the verb is named, and looked up when the verb runs.
_SERVE = "serving.benchmark.verb"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        choices=("train", "serve"),
        help="train: a training step, next to stock Keras layers; serve: ranking calls, next to DeepFM's",
    )
    parser.add_argument("--rounds", type=int, default=10, metavar="N", help="turns of each contestant (default: 10)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, only to see that it runs")
    parser.add_argument(
        "--data", metavar="DIR", help="prepared sessions for the input pipeline or the requests (default: random ones)"
    )
    parser.add_argument("--charts", metavar="DIR", help="also draw the curves, such as time over batch size, there")
    importlib.import_module(_SERVE).add_arguments(parser)


def _run(args: argparse.Namespace) -> Mapping[str, Any]:
    from hrlrec_tf import verbs

    if not 1 <= args.rounds <= 1000:
        raise ConfigError(f"--rounds must be from 1 to 1000: got {args.rounds}")
    if args.data:
        verbs.session_folder(args.data)
    return _run_train(args) if args.what == "train" else importlib.import_module(_SERVE).run(args)


def _run_train(args: argparse.Namespace) -> Mapping[str, Any]:
    from hrlrec_tf.benchmark import report, train

    result = train.run(args.rounds, args.data, args.quick)
    print(report.as_text(result))
    for file in report.write_charts(args.charts, result) if args.charts else ():
        print(f"chart: {file}")
    return result


VERB = Verb(
    help="measure the speed of training or serving",
    example="hrlrec benchmark serve --rounds 10 --json speed.json --charts charts",
    add_arguments=_add_arguments,
    run=_run,
)
