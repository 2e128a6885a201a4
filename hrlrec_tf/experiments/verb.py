"""The verb `report`."""

import argparse
import pathlib
from collections.abc import Mapping
from typing import Any

from hrlrec_tf.cli import Verb


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs", required=True, metavar="DIR", help="model folder of `hrlrec train`, or a folder of such folders"
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="HTML page to write")


def _run(args: argparse.Namespace) -> Mapping[str, Any]:
    from hrlrec_tf.experiments import report, runs_page

    folder = pathlib.Path(args.runs)
    runs = runs_page.find_runs(folder)
    page = report.write_page(args.out, runs_page.render(f"Training: {folder.resolve().name}", runs))
    print(f"report of {len(runs)} run{'s' if len(runs) > 1 else ''}: {page}")
    return {"out": str(page), "runs": [run.summary() for run in runs]}


VERB = Verb(
    help="one page with the training curves of one or several models",
    example="hrlrec report --runs models/ --out report.html",
    add_arguments=_add_arguments,
    run=_run,
)
