"""`hrlrec forget`: a log, its sessions and the working folder of daily runs without some users."""

import argparse
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hrlrec_tf.cli import Verb
from hrlrec_tf.data import config
from hrlrec_tf.errors import ConfigError

if TYPE_CHECKING:
    from hrlrec_tf.data.forget import Users


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user-file", required=True, metavar="FILE", help="one user id per line; none is ever shown")
    parser.add_argument("--masked", action="store_true", help="the file holds masked ids, as sessions and models do")
    parser.add_argument("--log", metavar="DIR", help="the log to remove them from")
    parser.add_argument(
        "--config", metavar="YAML", help=f"of the log (default: {config.FILE_NAME} beside it); tells how ids are masked"
    )
    parser.add_argument("--out", metavar="DIR", help="folder to make with the log that is left")
    parser.add_argument("--in-place", action="store_true", help="rewrite the log's own files instead")
    parser.add_argument("--sessions", metavar="DIR", help="sessions to remove them from, in place")
    parser.add_argument("--workdir", metavar="DIR", help="working folder of hrlrec daily to remove them from, in place")


def _run(args: argparse.Namespace) -> Mapping[str, Any]:
    from hrlrec_tf.data import forget

    if args.log is None and args.sessions is None and args.workdir is None:
        raise ConfigError("there is nothing to forget in; give --log DIR, --sessions DIR or --workdir DIR")
    if args.log is not None and (args.out is None) != args.in_place:
        raise ConfigError("say where the log that is left goes: give --out DIR or --in-place, and not both")
    if args.workdir is not None and args.log is None and args.config is None and not args.masked:
        raise ConfigError(
            "whether the ids of --workdir are masked stands in dataset.yaml; give --config FILE, or --masked where the "
            "list holds ids as sessions do"
        )
    dataset = None
    if args.log is not None:
        dataset = config.find(args.log, args.config)
    elif args.config is not None:
        dataset = config.load(args.config)
    users = forget.read_users(args.user_file, args.masked, dataset)
    result: dict[str, Any] = {"users_asked": len(users.ids)}
    column = (dataset.source("user_id") or "user_id") if dataset else None
    if args.sessions is not None:
        result["sessions"] = _forget_sessions(args.sessions, users, column)
    if args.workdir is not None:
        result["workdir"] = _forget_workdir(args.workdir, users, column)
        if args.log is None:
            print("the next daily run reads the log again: forget them there too (--log DIR --in-place)")
    if args.log is not None and dataset is not None:  # last, since a folder that was made is not made again
        counts = forget.forget(dataset, users, args.out)
        result["log"] = counts
        print(
            f"log: {counts['users_found']:,} of {counts['users_asked']:,} users found, {counts['rows_removed']:,} rows "
            f"removed from {counts['files_changed']:,} of {counts['files']:,} files"
        )
        if counts["ignored_files"]:
            print(f"not looked at, for they are no part of the log: {', '.join(counts['ignored_files'])}")
    print("models trained before hold what they learnt of these users: see docs/privacy.md")
    return result


def _forget_sessions(folder: str, users: "Users", column: str | None) -> Mapping[str, Any]:
    from hrlrec_tf.data import forget_sessions

    counts = forget_sessions.forget(pathlib.Path(folder), users.in_sessions, column)
    found = len(counts.pop("users"))
    print(
        f"sessions: {found:,} of {len(users.ids):,} users found, {counts['sessions_removed']:,} sessions and "
        f"{counts['rejected_rows_removed']:,} rejected rows removed"
    )
    return {**counts, "users_found": found}


def _forget_workdir(folder: str, users: "Users", column: str | None) -> Mapping[str, Any]:
    from hrlrec_tf.data import forget_workdir

    counts = forget_workdir.forget(pathlib.Path(folder), users.in_sessions, column)
    print(f"working folder: {counts['users_found']:,} of {len(users.ids):,} users found; removed were")
    for what, places in counts.items():
        if isinstance(places, Mapping):
            where = f" in {len(places):,} places" if places else ""
            print(f"  {what.replace('_', ' ')}: {sum(places.values()):,}{where}")
    print(f"  leftovers of killed runs: {len(counts['leftovers']):,}")
    return counts


VERB = Verb(
    help="remove users from a log, from sessions and from daily runs",
    example="hrlrec forget --log log --user-file users.txt --out log-without --sessions sessions",
    add_arguments=_add_arguments,
    run=_run,
)
