"""`hrlrec tune`: hyper-parameter search on the validation slice."""

import argparse
import pathlib
from collections.abc import Mapping
from typing import Any

from hrlrec_tf import models, verbs
from hrlrec_tf.cli import Verb
from hrlrec_tf.errors import ConfigError, DataError
from hrlrec_tf.tuning import space_file


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, metavar="DIR", help="sessions, as `hrlrec prepare` wrote them")
    parser.add_argument("--model", default="hrl-rec", choices=models.NAMES)
    parser.add_argument(
        "--space",
        required=True,
        metavar="FILE",
        help=f"YAML of what is searched and how, or one of the package's own: {', '.join(space_file.bundled())}",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="search folder to make; the same command goes on with it",
    )
    parser.add_argument("--parallel", type=int, default=1, metavar="N", help="trials at a time, which share the cores")


def _run(args: argparse.Namespace) -> Mapping[str, Any]:
    wanted = space_file.load(args.space, args.model)
    if not 1 <= args.parallel <= 256:
        raise ConfigError(f"--parallel must be from 1 to 256: got {args.parallel}")
    data = verbs.session_folder(args.data)
    sessions = {split: verbs.session_files(data, split) for split in ("train", "validation")}
    if not sessions["validation"]:
        raise DataError(f"{data} holds no validation sessions to choose by; run hrlrec prepare with a validation slice")

    from hrlrec_tf.folder_lock import FolderLock
    from hrlrec_tf.tuning import report, search
    from hrlrec_tf.tuning.processes import TrialProcesses

    out = pathlib.Path(args.out).resolve()
    paths = [pathlib.Path(file) for files in sessions.values() for file in files]
    sizes = {f"{path.parent.name}/{path.name}": path.stat().st_size for path in paths}
    search.open_folder(out, wanted, args.model, sizes)
    with FolderLock(out) as lock:
        verbs.fitted_transform(data)  # once, before trials would do it side by side
        runner = TrialProcesses(args.parallel, lock)
        found = search.Search(out, wanted, str(data.resolve()), args.model, runner, args.parallel).run()
        result = report.write(out, wanted, args.data, args.model, found)
    print(report.as_text(result))
    print(f"pictures of what mattered: {out / report.PAGE}; all numbers: {out / report.RESULT}")
    return result


VERB = Verb(
    help="search for the best settings on the validation slice",
    example="hrlrec tune --data sessions --model hrl-rec --space hrl-rec --out tuned --parallel 2\n\n"
    "a space file of your own:\n"
    "  search: bayesian            # or grid, random\n"
    "  trials: 20\n"
    "  preset: best\n"
    "  set:\n"
    "    training.epochs: 3\n"
    "  space:\n"
    "    losses.gamma: [0.0, 0.3, 0.6]\n"
    "    training.learning_rate: {min: 1e-4, max: 1e-2, sampling: log}",
    add_arguments=_add_arguments,
    run=_run,
)
