"""`hrlrec convert`: a public data set becomes an impression log."""

import argparse
from collections.abc import Mapping
from typing import Any

from hrlrec_tf.cli import Verb
from hrlrec_tf.data import convert
from hrlrec_tf.data.adapters import ADAPTERS
from hrlrec_tf.data.adapters.base import Adapter


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    datasets = parser.add_subparsers(
        dest="dataset",
        metavar="DATASET",
        required=True,
        title="data sets",
        description="hrlrec convert DATASET --help says where to get one, how its columns map, and its traps",
    )
    for name, adapter in ADAPTERS.items():
        subparser = datasets.add_parser(
            name,
            help=f"{adapter.title}: {adapter.summary}",
            description=_describe(adapter),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        subparser.add_argument("--files", required=True, metavar="DIR", help="folder with the published files")
        subparser.add_argument("--out", required=True, metavar="LOG", help="folder to make; must be new or empty")
        subparser.add_argument(
            "--variant", choices=adapter.variants, help="which one, where the folder holds several or none is implied"
        )
        # The command line's own --json stands before DATASET; here it may stand behind it, too.
        subparser.add_argument("--json", metavar="FILE", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def _describe(adapter: Adapter) -> str:
    return (
        f"{adapter.title}: {adapter.summary}\n\nsource: {adapter.source}\nlicence: {adapter.licence}\n\n{adapter.about}"
    )


def _run(args: argparse.Namespace) -> Mapping[str, Any]:
    report = convert.convert(args.dataset, args.files, args.out, args.variant)
    print(convert.describe(report))
    print(f"log in {args.out}: {convert.LOG}, dataset.yaml")
    print(f"go on with: hrlrec prepare --log {args.out} --out SESSIONS")
    return report


VERB = Verb(
    help="make an impression log of a public data set",
    example="hrlrec convert movielens --files ml-1m --out log",
    add_arguments=_add_arguments,
    run=_run,
)
