"""`hrlrec simulate`: an impression log from the feed simulator."""

import argparse
import pathlib
from collections.abc import Mapping
from typing import Any

from hrlrec_tf.cli import Verb
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.simulator import world_file
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.logs import write_log

_SIZES = {
    "users": "users in the world",
    "items": "items in the world",
    "days": "days of traffic",
    "requests_per_day": "lists asked for per day, by all users together",
    "seed": "the same seed gives the same log",
}


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    defaults = WorldConfig()
    parser.add_argument(
        "--out", required=True, type=pathlib.Path, metavar="DIR", help="folder to write; must be new or empty"
    )
    for name, what in _SIZES.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=int, metavar="N", help=f"{what} (default {getattr(defaults, name)})")
    parser.add_argument(
        "--world", metavar="YAML", help=f"the world: a file, or one that ships: {', '.join(world_file.bundled())}"
    )
    parser.add_argument(
        "--like",
        metavar="LOG",
        help="fit the world to this impression log; what a log does not say is that of --world, and sizes given here "
        "stand above the log's",
    )
    parser.add_argument(
        "--config", metavar="YAML", help="how the log behind --like maps to the standard columns: see hrlrec prepare"
    )


def _run(args: argparse.Namespace) -> Mapping[str, Any]:
    sizes = {name: getattr(args, name) for name in _SIZES if getattr(args, name) is not None}
    if args.like is not None:
        return _run_like(args, sizes)
    if args.config is not None:
        raise ConfigError("--config says how a log is read: name the log with --like as well")
    config = world_file.load(args.world, sizes) if args.world else WorldConfig(**sizes)
    result = write_log(config, args.out)
    _print_log(result, config.seed, args.out)
    return result


def _run_like(args: argparse.Namespace, sizes: Mapping[str, int]) -> Mapping[str, Any]:
    from hrlrec_tf.data import config
    from hrlrec_tf.simulator import fit_report, like

    seed: dict[str, Any] = {name: sizes[name] for name in sizes if name == "seed"}
    start = world_file.load(args.world, seed) if args.world else WorldConfig(**seed)
    result = like.write_log_like(config.find(args.like, args.config), start, args.out, sizes)
    print(fit_report.as_text(result["fit"]))
    for note in result["notes"]:
        print(f"note: {note}")
    _print_log(result, result["world"]["seed"], args.out)
    print(f"the fitted world: {args.out / like.WORLD_FILE}; hrlrec simulate --world takes it")
    return result


def _print_log(result: Mapping[str, Any], seed: int, out: pathlib.Path) -> None:
    shares = ", ".join(f"{channel} {share:.1%}" for channel, share in result["channel_shares"].items())
    print(f"{result['rows']:,} impressions over {result['days']} days in {out}")
    print(f"world: {result['users']:,} users, {result['items']:,} items, seed {seed}")
    print(f"click rate {result['ctr']:.1%}; channel shares: {shares}")


VERB = Verb(
    help="write an impression log from the feed simulator",
    example="hrlrec simulate --out log --users 1000 --items 2000 --days 14 --requests-per-day 715 --seed 0",
    add_arguments=_add_arguments,
    run=_run,
)
