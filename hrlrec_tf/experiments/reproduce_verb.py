"""`hrlrec reproduce`: the paper's exhibits on a user's data."""

import argparse
import pathlib
from collections.abc import Mapping
from typing import Any

from hrlrec_tf.cli import Verb, write_json
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.evaluation.options import COMPARE_REPLICATES

EXHIBITS = ("table2", "table4", "fig3")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("exhibit", choices=EXHIBITS, help="what to reproduce")
    parser.add_argument("--data", required=True, metavar="DIR", help="sessions, as `hrlrec prepare` wrote them")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of runs and results; exhibits may share it")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="seeds 0 to N - 1 of every row (default 5)")
    parser.add_argument("--preset", default="best", choices=("paper", "best"), help="of HRL-Rec")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting of HRL-Rec in all rows; repeatable"
    )
    parser.add_argument("--history", action="store_true", help="table2: baselines get pooled as-of history too")
    parser.add_argument("--jobs", type=int, metavar="N", help="runs side by side (default: as cores and memory allow)")
    parser.add_argument(
        "--replicates", type=int, default=COMPARE_REPLICATES, metavar="N", help="of the bootstrap over users"
    )


def _run(args: argparse.Namespace) -> Mapping[str, Any]:
    if not 1 <= args.seeds <= 1000:
        raise ConfigError(f"--seeds must be from 1 to 1000: got {args.seeds}")
    if args.jobs is not None and not 1 <= args.jobs <= 256:
        raise ConfigError(f"--jobs must be from 1 to 256: got {args.jobs}")
    if args.history and args.exhibit != "table2":
        raise ConfigError(
            f"--history gives the baselines of table2 pooled history; {args.exhibit} has none: leave it out"
        )

    from hrlrec_tf.experiments import cells, exhibit_page, exhibit_text, report, reproduce

    sessions, out = cells.Sessions.open(args.data), pathlib.Path(args.out)
    exhibit = _exhibit(args, sessions)
    jobs = args.jobs or cells.fitting_jobs()
    result = reproduce.reproduce(exhibit, sessions, out, range(args.seeds), jobs, args.replicates)
    write_json(out / f"{exhibit.name}.json", result)
    report.write_page(out / f"{exhibit.name}.md", exhibit_text.markdown(result) + "\n")
    page = report.write_page(out / f"{exhibit.name}.html", exhibit_page.render(result))
    print(
        f"\n{exhibit_text.markdown(result, exhibit_text.WIDE)}\n\npage: {page}; numbers: {out / f'{exhibit.name}.json'}"
    )
    return result


def _exhibit(args: argparse.Namespace, sessions: Any) -> Any:
    from hrlrec_tf.data import schema
    from hrlrec_tf.experiments import fig3, table2, table4

    if args.exhibit == "table2":
        return table2.exhibit(args.preset, args.set, args.history)
    if args.exhibit == "table4":
        return table4.exhibit(args.preset, args.set)
    spec = schema.from_schema(schema.read(str(sessions.folder / "schema.pbtxt")))
    return fig3.exhibit(args.preset, spec, args.set)


VERB = Verb(
    help="reproduce a table or figure of the paper on prepared sessions",
    example="hrlrec reproduce table2 --data sessions --out exhibits --seeds 3\n"
    "  hrlrec reproduce table4 --data sessions --out exhibits --seeds 3",
    add_arguments=_add_arguments,
    run=_run,
)
