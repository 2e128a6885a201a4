"""`hrlrec benchmark`: speed, with the machine's own limits beside it."""

import argparse
from collections.abc import Mapping
from typing import Any

from hrlrec_tf.cli import Verb
from hrlrec_tf.errors import ConfigError


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        choices=("train", "prepare"),
        help="train: a training step, next to stock Keras layers; prepare: the Beam job, over the size of a log",
    )
    parser.add_argument("--rounds", type=int, default=10, metavar="N", help="turns of each contestant (default: 10)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, only to see that it runs")
    parser.add_argument(
        "--rows", metavar="N,N", help="prepare: rows of the simulated logs (default: 100000,1000000,10000000)"
    )
    parser.add_argument("--data", metavar="DIR", help="prepared sessions for the input pipeline (default: random ones)")
    parser.add_argument("--charts", metavar="DIR", help="also draw step time over batch size and sequence length there")


def _run(args: argparse.Namespace) -> Mapping[str, Any]:
    return _run_prepare(args) if args.what == "prepare" else _run_train(args)


def _run_prepare(args: argparse.Namespace) -> Mapping[str, Any]:
    from hrlrec_tf.benchmark import prepare

    rows = args.rows or (prepare.QUICK_ROWS if args.quick else prepare.ROWS)
    result = prepare.run(prepare.parse_rows(rows))
    print(prepare.as_text(result))
    return result


def _run_train(args: argparse.Namespace) -> Mapping[str, Any]:
    from hrlrec_tf import verbs
    from hrlrec_tf.benchmark import report, train

    if not 1 <= args.rounds <= 1000:
        raise ConfigError(f"--rounds must be from 1 to 1000: got {args.rounds}")
    if args.data:
        verbs.session_folder(args.data)
    result = train.run(args.rounds, args.data, args.quick)
    print(report.as_text(result))
    for file in report.write_charts(args.charts, result) if args.charts else ():
        print(f"chart: {file}")
    return result


VERB = Verb(
    help="measure the speed of training and of prepare",
    example="hrlrec benchmark train --rounds 10 --json speed.json",
    add_arguments=_add_arguments,
    run=_run,
)
