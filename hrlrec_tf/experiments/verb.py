"""The verb `report`."""

import argparse
import pathlib
from collections.abc import Mapping
from typing import Any

from hrlrec_tf.cli import Verb


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    subject = parser.add_mutually_exclusive_group(required=True)
    subject.add_argument("--runs", metavar="DIR", help="model folder of `hrlrec train`, or a folder of such folders")
    subject.add_argument(
        "--sessions", metavar="DIR", help="sessions of `hrlrec prepare`: what the log is like, as with prepare --report"
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="HTML page to write")


def _run(args: argparse.Namespace) -> Mapping[str, Any]:
    return _report_sessions(args) if args.sessions else _report_runs(args)


def _report_runs(args: argparse.Namespace) -> Mapping[str, Any]:
    from hrlrec_tf.experiments import report, runs_page

    folder = pathlib.Path(args.runs)
    runs = runs_page.find_runs(folder)
    page = report.write_page(args.out, runs_page.render(f"Training: {folder.resolve().name}", runs))
    print(f"report of {len(runs)} run{'s' if len(runs) > 1 else ''}: {page}")
    return {"out": str(page), "runs": [run.summary() for run in runs]}


def _report_sessions(args: argparse.Namespace) -> Mapping[str, Any]:
    from hrlrec_tf.log_health import page

    health = page.write(pathlib.Path(args.sessions), pathlib.Path(args.out))
    print(page.as_text(health))
    print(f"report: {args.out}")
    return health


VERB = Verb(
    help="one page about trained models, or about the log behind prepared sessions",
    example="hrlrec report --runs models/ --out report.html",
    add_arguments=_add_arguments,
    run=_run,
)
