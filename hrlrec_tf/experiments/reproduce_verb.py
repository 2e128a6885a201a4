"""`hrlrec reproduce`: the paper's exhibits, offline ones on a user's data, online ones in the simulator."""

import argparse
import contextlib
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from hrlrec_tf.cli import Verb, write_json
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.evaluation.options import COMPARE_REPLICATES
from hrlrec_tf.folder_lock import FolderLock

OFFLINE = ("table2", "table4", "fig3")
ONLINE = ("table3", "fig4")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("exhibit", choices=(*OFFLINE, *ONLINE), help="what to reproduce")
    parser.add_argument("--data", metavar="DIR", help="table2, table4, fig3: sessions, as `hrlrec prepare` wrote them")
    parser.add_argument(
        "--world", metavar="FILE", help="table3, fig4: the simulated world (default: one that comes along)"
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="folder of runs and results; exhibits may share it, one after another",
    )
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="seeds 0 to N - 1 of every row (default 5)")
    parser.add_argument(
        "--preset", choices=("paper", "best"), help="table2, table4, fig3: of HRL-Rec (default best, as online)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting of HRL-Rec in all rows; repeatable"
    )
    parser.add_argument(
        "--warm",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="fig4: settings of nightly updates, instead of training.epochs=1; repeatable",
    )
    parser.add_argument("--history", action="store_true", help="table2: baselines get pooled as-of history too")
    parser.add_argument("--jobs", type=int, metavar="N", help="runs side by side (default: as cores and memory allow)")
    parser.add_argument("--replicates", type=int, metavar="N", help="of the bootstrap over users (all but fig4)")


def _run(args: argparse.Namespace) -> Mapping[str, Any]:
    if not 1 <= args.seeds <= 1000:
        raise ConfigError(f"--seeds must be from 1 to 1000: got {args.seeds}")
    if args.jobs is not None and not 1 <= args.jobs <= 256:
        raise ConfigError(f"--jobs must be from 1 to 256: got {args.jobs}")
    if args.warm and args.exhibit != "fig4":
        raise ConfigError(f"--warm is of fig4's nightly updates; {args.exhibit} has none: leave it out")
    return _online(args) if args.exhibit in ONLINE else _offline(args)


def _offline(args: argparse.Namespace) -> Mapping[str, Any]:
    if args.data is None:
        raise ConfigError(f"{args.exhibit} needs --data DIR, sessions as `hrlrec prepare` wrote them")
    if args.world is not None:
        raise ConfigError(f"--world is for {', '.join(ONLINE)}; {args.exhibit} is made from --data: leave it out")
    if args.history and args.exhibit != "table2":
        raise ConfigError(
            f"--history gives the baselines of table2 pooled history; {args.exhibit} has none: leave it out"
        )

    from hrlrec_tf.experiments import cells, exhibit_page, exhibit_text, reproduce

    sessions, out = cells.Sessions.open(args.data), pathlib.Path(args.out)
    exhibit = _exhibit(args, sessions)
    jobs, replicates = args.jobs or cells.fitting_jobs(), args.replicates or COMPARE_REPLICATES
    with _held(out):
        result = reproduce.reproduce(exhibit, sessions, out, range(args.seeds), jobs, replicates)
        shown = exhibit_text.markdown(result, exhibit_text.WIDE)
        return _write(out, exhibit.name, result, exhibit_text.markdown(result), exhibit_page.render(result), shown)


def _online(args: argparse.Namespace) -> Mapping[str, Any]:
    for option in ("data", "history", "preset"):
        if getattr(args, option):
            raise ConfigError(f"{args.exhibit} runs in the simulator: leave --{option} out")
    if args.replicates and args.exhibit == "fig4":
        raise ConfigError("fig4 compares versions on one panel, without a bootstrap: leave --replicates out")

    from hrlrec_tf.config import WARM
    from hrlrec_tf.evaluation import ab_test
    from hrlrec_tf.experiments import cells, fig4, fig4_page, fig4_text, table3, table3_page, table3_text
    from hrlrec_tf.simulator import world_file

    world = world_file.load(args.world or args.exhibit)
    if args.exhibit == "fig4":
        chains = fig4.Experiment(world, pathlib.Path(args.out), range(args.seeds), args.set, args.warm or WARM)
        with _held(chains.out):
            result = fig4.reproduce(chains, args.jobs or cells.fitting_jobs())
            text = fig4_text.markdown(result)
            return _write(chains.out, args.exhibit, result, text, fig4_page.render(result), text)
    experiment = table3.Experiment(world, pathlib.Path(args.out), range(args.seeds), args.set)
    jobs, replicates = args.jobs or cells.fitting_jobs(), args.replicates or ab_test.REPLICATES
    with _held(experiment.out):
        result = table3.reproduce(experiment, jobs, replicates)
        text = table3_text.markdown(result)
        return _write(experiment.out, args.exhibit, result, text, table3_page.render(result), text)


@contextlib.contextmanager
def _held(out: pathlib.Path) -> Iterator[None]:
    """Keeps a folder of runs to this process, and to the verbs that `cells` starts, which may outlive it."""
    out.mkdir(parents=True, exist_ok=True)
    with FolderLock(out) as lock:
        os.set_inheritable(lock, True)
        yield


def _write(
    out: pathlib.Path, name: str, result: Mapping[str, Any], text: str, page: str, shown: str
) -> Mapping[str, Any]:
    """Writes an exhibit as numbers, text and page, and prints it."""
    from hrlrec_tf.experiments import report

    write_json(out / f"{name}.json", result)
    report.write_page(out / f"{name}.md", text + "\n")
    written = report.write_page(out / f"{name}.html", page)
    print(f"\n{shown}\n\npage: {written}; numbers: {out / f'{name}.json'}")
    return result


def _exhibit(args: argparse.Namespace, sessions: Any) -> Any:
    from hrlrec_tf.data import schema
    from hrlrec_tf.experiments import fig3, table2, table4

    preset = args.preset or "best"
    if args.exhibit == "table2":
        return table2.exhibit(preset, args.set, args.history)
    if args.exhibit == "table4":
        return table4.exhibit(preset, args.set)
    spec = schema.from_schema(schema.read(str(sessions.folder / "schema.pbtxt")))
    return fig3.exhibit(preset, spec, args.set)


VERB = Verb(
    help="reproduce a table or figure of the paper, on prepared sessions or in the simulator",
    example="hrlrec reproduce table2 --data sessions --out exhibits --seeds 3\n"
    "  hrlrec reproduce table4 --data sessions --out exhibits --seeds 3\n"
    "  hrlrec reproduce table3 --out online --seeds 5",
    add_arguments=_add_arguments,
    run=_run,
)
