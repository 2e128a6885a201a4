"""The `hrlrec` console script: finds the verbs, parses, runs, reports.

A verb is a `Verb` object that a package registers under the entry-point group `hrlrec.verbs` (see setup.py). That keeps
imports pointing one way: `tfx_pipeline` and `serving` bring their own verbs and `hrlrec_tf` never imports them. A
verb's module is imported only when the verb is named or listed in `hrlrec --help`.

Exit codes: 0 fine, 1 failed (one line on stderr says why), 2 bad usage.
"""

import argparse
import contextlib
import dataclasses
import importlib
import importlib.metadata
import json
import logging
import math
import os
import pathlib
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hrlrec_tf.errors import HrlrecError

VERB_GROUP = "hrlrec.verbs"


@dataclasses.dataclass(frozen=True)
class Verb:
    """One `hrlrec` sub-command.

    Attributes:
      help: one line for `hrlrec --help`.
      example: one complete command line, shown by `hrlrec VERB --help`.
      add_arguments: adds the verb's own arguments to its parser.
      run: does the work; returns the machine-readable result for `--json` (or None). Raises `HrlrecError` to fail.
    """

    help: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], Mapping[str, Any] | None]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the exit code."""
    quieten_libraries()
    argv = list(sys.argv[1:] if argv is None else argv)
    entry_points = {entry.name: entry for entry in importlib.metadata.entry_points(group=VERB_GROUP)}
    named = next((word for word in argv if not word.startswith("-")), None)
    wanted = {named: entry_points[named]} if named in entry_points else entry_points
    args = _parser({name: entry.load() for name, entry in sorted(wanted.items())}).parse_args(argv)
    try:
        result = args.verb.run(args)
        if args.json is not None:
            write_json(args.json, result or {})
    except HrlrecError as error:
        print(f"hrlrec {args.verb_name}: {error}", file=sys.stderr)
        # Of a checkpoint that was not read to its end TensorFlow would complain below that sentence.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        return 1
    except OSError as error:
        print(f"hrlrec {args.verb_name}: {error}; check the path, its permissions and the free space", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            f"hrlrec {args.verb_name}: interrupted; the same command starts again where it safely can", file=sys.stderr
        )
        return 1
    return 0


def quieten_libraries() -> None:
    """Keeps other libraries' start-up notices out of the user's terminal."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    with contextlib.suppress(ImportError):
        importlib.import_module("gym_notices.notices").notices.clear()


def _parser(verbs: Mapping[str, Verb]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hrlrec", description="Hierarchical reinforcement learning for integrated recommendation (HRL-Rec)."
    )
    subparsers = parser.add_subparsers(dest="verb_name", metavar="VERB", required=True)
    for name, verb in verbs.items():
        subparser = subparsers.add_parser(
            name,
            help=verb.help,
            description=verb.help,
            epilog=f"example:\n  {verb.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.add_arguments(subparser)
        subparser.add_argument("--json", metavar="FILE", help="also write the result here, machine-readable")
        subparser.set_defaults(verb=verb)
    return parser


def write_json(path: str | os.PathLike[str], result: Mapping[str, Any]) -> None:
    """Writes `result` to `path`, NaN as null: first under a temporary name, then renamed."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(
        json.dumps(_without_nan(result), indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8"
    )
    temporary.replace(path)


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    sys.exit(main())
