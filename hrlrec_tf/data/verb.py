"""`hrlrec prepare`: an impression log becomes sessions."""

import argparse
import datetime
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

from hrlrec_tf.cli import Verb
from hrlrec_tf.data import beam_options, config, prepare
from hrlrec_tf.errors import ConfigError


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--log", metavar="DIR", help="folder of Parquet, CSV or JSONL files, or one such file")
    parser.add_argument(
        "--config",
        metavar="YAML",
        help=f"how the log maps to the standard columns (default: {config.FILE_NAME} beside the log, if there is one), "
        f"or the name of a known data set: {', '.join(config.bundled())}",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result in --out")
    parser.add_argument(
        "--report", action="store_true", help="also write report.html and health.json: what the log is like"
    )
    beam_options.add_arguments(parser)


def _run(args: argparse.Namespace) -> Mapping[str, Any]:
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # what fails is raised as well
    if args.report and "://" in args.out:
        raise ConfigError(
            f"--report needs sessions on this machine: got --out {args.out}; leave it out, or copy the sessions and "
            "run hrlrec report --sessions DIR"
        )
    dataset = config.find(args.log, args.config)
    summary = prepare.prepare(dataset, args.out, beam_options.beam_args(args), args.overwrite)
    print(describe(summary))
    print(f"sessions in {args.out}: train/, validation/, eval/, rejected/, schema.pbtxt, summary.json")
    if args.report:
        _report(pathlib.Path(args.out))
    return summary


def _report(sessions: pathlib.Path) -> None:
    from hrlrec_tf.log_health import page

    health = page.write(sessions, sessions / page.PAGE, sessions / page.NUMBERS)
    print(page.as_text(health))
    print(f"report: {sessions / page.PAGE}, its numbers: {sessions / page.NUMBERS}")


def describe(summary: Mapping[str, Any]) -> str:
    """A summary for people."""
    days = [
        datetime.datetime.fromtimestamp(summary[f"{end}_timestamp"] / 1000, datetime.timezone.utc).strftime("%Y-%m-%d")
        for end in ("first", "last")
    ]
    rejected = sum(summary["rejected"].values())
    lines = [
        f"{summary['read']:,} rows read = {summary['accepted']:,} accepted + {rejected:,} rejected",
        *(f"  rejected: {count:,} {reason}" for reason, count in summary["rejected"].items()),
        f"{summary['users']:,} users, {summary['items']:,} items, {len(summary['channels'])} channels",
        f"{' to '.join(days)} (UTC)",
        "lists: " + ", ".join(f"{count:,} {split}" for split, count in summary["requests"].items()),
    ]
    if unseen := [name for name, rows in summary["channels"].items() if rows["eval"] and not rows["train"]]:
        lines.append(f"channels without a row to train on: {', '.join(unseen)}")
    for key, what in {
        "lists_cut_at_length": "lists continue a longer request",
        "tags_dropped": "tags beyond the limit per row were left out",
    }.items():
        if summary[key]:
            lines.append(f"{summary[key]:,} {what}")
    for name, cut in summary.get("k_anonymity", {}).get("columns", {}).items():
        lines.append(f"{name}: {cut['values_cut']:,} rare values of {cut['users']:,} users were cut")
    if summary["ignored_files"]:
        lines.append(f"files that are no part of the log: {', '.join(summary['ignored_files'])}")
    return "\n".join(lines)


VERB = Verb(
    help="make sessions of an impression log",
    example="hrlrec prepare --log log --out sessions --report",
    add_arguments=_add_arguments,
    run=_run,
)
