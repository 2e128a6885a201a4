"""`hrlrec forget`: a log and its sessions without some users."""

import argparse
import pathlib
from collections.abc import Mapping
from typing import Any

from hrlrec_tf.cli import Verb
from hrlrec_tf.data import config
from hrlrec_tf.errors import ConfigError


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user-file", required=True, metavar="FILE", help="one user id per line; none is ever shown")
    parser.add_argument("--masked", action="store_true", help="the file holds masked ids, as sessions and models do")
    parser.add_argument("--log", metavar="DIR", help="the log to remove them from")
    parser.add_argument("--config", metavar="YAML", help=f"of the log (default: {config.FILE_NAME} beside it)")
    parser.add_argument("--out", metavar="DIR", help="folder to make with the log that is left")
    parser.add_argument("--in-place", action="store_true", help="rewrite the log's own files instead")
    parser.add_argument("--sessions", metavar="DIR", help="sessions to remove them from, in place")


def _run(args: argparse.Namespace) -> Mapping[str, Any]:
    from hrlrec_tf.data import forget, forget_sessions

    if args.log is None and args.sessions is None:
        raise ConfigError("there is nothing to forget in; give --log DIR, --sessions DIR or both")
    if args.log is not None and (args.out is None) != args.in_place:
        raise ConfigError("say where the log that is left goes: give --out DIR or --in-place, and not both")
    dataset = config.find(args.log, args.config) if args.log or args.config else None
    users = forget.read_users(args.user_file, args.masked, dataset)
    result: dict[str, Any] = {"users_asked": len(users.ids)}
    if args.log is not None and dataset is not None:
        counts = forget.forget(dataset, users, args.out)
        result["log"] = counts
        print(
            f"log: {counts['users_found']:,} of {counts['users_asked']:,} users found, {counts['rows_removed']:,} rows "
            f"removed from {counts['files_changed']:,} of {counts['files']:,} files"
        )
        if counts["ignored_files"]:
            print(f"not looked at, for they are no part of the log: {', '.join(counts['ignored_files'])}")
    if args.sessions is not None:
        column = (dataset.source("user_id") if dataset else None) or "user_id"
        counts = forget_sessions.forget(pathlib.Path(args.sessions), users.in_sessions, column)
        result["sessions"] = counts
        print(
            f"sessions: {counts['sessions_removed']:,} sessions and {counts['rejected_rows_removed']:,} rejected rows "
            "removed"
        )
    print("models trained before hold what they learnt of these users: see docs/privacy.md")
    return result


VERB = Verb(
    help="remove users from a log and from sessions",
    example="hrlrec forget --log log --user-file users.txt --out log-without --sessions sessions",
    add_arguments=_add_arguments,
    run=_run,
)
