"""`hrlrec simulate`: an impression log from the feed simulator."""

import argparse
import pathlib
from collections.abc import Mapping
from typing import Any

from hrlrec_tf.cli import Verb
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
        default = getattr(defaults, name)
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=int, default=default, metavar="N", help=f"{what} (default {default})")


def _run(args: argparse.Namespace) -> Mapping[str, Any]:
    config = WorldConfig(**{name: getattr(args, name) for name in _SIZES})
    result = write_log(config, args.out)
    shares = ", ".join(f"{channel} {share:.1%}" for channel, share in result["channel_shares"].items())
    print(f"{result['rows']:,} impressions over {result['days']} days in {args.out}")
    print(f"world: {result['users']:,} users, {result['items']:,} items, seed {config.seed}")
    print(f"click rate {result['ctr']:.1%}; channel shares: {shares}")
    return result


VERB = Verb(
    help="write an impression log from the feed simulator",
    example="hrlrec simulate --out log --users 1000 --items 2000 --days 14 --requests-per-day 715 --seed 0",
    add_arguments=_add_arguments,
    run=_run,
)
