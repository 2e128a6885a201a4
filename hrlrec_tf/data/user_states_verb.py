"""`hrlrec user-states`: what ranking requests say of their users, out of an impression log."""

import argparse
import datetime
import logging
import time
from collections.abc import Mapping
from typing import Any

from hrlrec_tf.cli import Verb
from hrlrec_tf.data import config


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--log", metavar="DIR", help="impression log, for instance of hrlrec join")
    parser.add_argument("--config", metavar="YAML", help="how the log maps to the standard columns, as for prepare")
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON lines to write, one user each")
    parser.add_argument("--at", type=parse_time, metavar="TIME", help="what came before (UTC) is known (now)")
    parser.add_argument("beam_args", nargs="*", metavar="-- BEAM_ARG", help="Beam pipeline arguments")


def _run(args: argparse.Namespace) -> Mapping[str, Any]:
    from hrlrec_tf.data import user_states

    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # what fails is raised as well
    timestamp = round(time.time() * 1000) if args.at is None else args.at
    summary = user_states.export(config.find(args.log, args.config), args.out, timestamp, args.beam_args)
    print(f"states of {summary['users']:,} users in {args.out}, of {summary['accepted']:,} impressions")
    if summary["rejected"]:
        print(f"{summary['rejected']:,} rows rejected; hrlrec prepare tells why")
    return {**summary, "timestamp": timestamp}


def parse_time(text: str) -> int:
    """The time (ms UTC) of an ISO 8601 date or time; without a zone it is UTC."""
    try:
        parsed = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date; write 2026-01-31 or 2026-01-31T12:00:00") from None
    zoned = parsed.replace(tzinfo=datetime.timezone.utc) if parsed.tzinfo is None else parsed
    return round(zoned.timestamp() * 1000)


VERB = Verb(
    help="write the users' histories and profiles that ranking requests carry",
    example="hrlrec user-states --log log --out states.jsonl",
    add_arguments=_add_arguments,
    run=_run,
)
