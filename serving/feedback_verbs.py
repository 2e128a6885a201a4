"""The verb `hrlrec join`."""

import argparse
import time
from collections.abc import Mapping
from typing import Any

from hrlrec_tf.cli import Verb
from hrlrec_tf.data.user_states_verb import parse_time


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--served", required=True, metavar="DIR", help="folder of an ImpressionLog")
    parser.add_argument("--events", required=True, metavar="DIR", help="folder of an EventLog; may be the same")
    parser.add_argument("--out", required=True, metavar="LOG", help="impression log to make")
    parser.add_argument(
        "--maturity-hours", type=float, default=24.0, metavar="X", help="how long events of a list are waited for (24)"
    )
    parser.add_argument("--from", dest="first", type=parse_time, metavar="DAY", help="lists from this day (UTC) on")
    parser.add_argument("--until", type=parse_time, metavar="DAY", help="lists before this day (UTC)")
    parser.add_argument("--as-of", type=parse_time, metavar="TIME", help="join as at this time (now)")
    parser.add_argument(
        "--seen-only", action="store_true", help="leave out positions below the lowest that an event names"
    )
    parser.add_argument(
        "--items", metavar="FILE", help="tags and item_* columns by item_id, for lists ranked by ids alone"
    )
    parser.add_argument(
        "--mask",
        action="append",
        default=[],
        metavar="COLUMN",
        help="hash this column of events that were written unmasked, as the lists have it; repeatable",
    )


def _run(args: argparse.Namespace) -> Mapping[str, Any]:
    from hrlrec_tf.data.rules import Masking
    from serving import join, log_lines

    rule = join.JoinRule(
        as_of=round(time.time() * 1000) if args.as_of is None else args.as_of,
        maturity_hours=args.maturity_hours,
        first=args.first,
        until=args.until,
        seen_only=args.seen_only,
        items=log_lines.read_items(args.items) if args.items else {},
        mask=Masking(tuple(args.mask)) if args.mask else None,
    )
    summary = join.join(args.served, args.events, args.out, rule)
    print(describe(summary))
    print(f"impression log in {args.out}; make sessions of it with hrlrec prepare --log {args.out}")
    return summary


def describe(summary: Mapping[str, Any]) -> str:
    """A summary for people."""
    lines = [
        f"{summary['rows']:,} impressions of {summary['lists_joined']:,} lists, {summary['rows_clicked']:,} clicked",
        f"{summary['events_joined']:,} of {summary['events']:,} events joined",
    ]
    told = {
        "lists_immature": "lists are too young and left to a later join",
        "lists_outside": "lists are of other days",
        "lists_unseen": "lists nobody saw",
        "lists_repeated": "lists were logged twice and count once",
        "events_waiting": "events belong to lists left out",
        "events_repeated": "events came again and count once",
    }
    lines += [f"{summary[name]:,} {what}" for name, what in told.items() if summary[name]]
    lines += [f"  rejected: {count:,} {reason}" for reason, count in summary["rejected"].items()]
    if "no_impression" in summary["rejected"] and not summary["events_joined"]:
        lines.append("no event names a served list; where request ids are hashed on one side, hash the other (--mask)")
    return "\n".join(lines)


JOIN = Verb(
    help="make an impression log of served lists and later events",
    example="hrlrec join --served served --events events --out log --until 2026-01-31",
    add_arguments=_add_arguments,
    run=_run,
)
