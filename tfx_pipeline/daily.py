"""`hrlrec daily`: one more day. Looks at it, goes on from the last blessed model, pushes the new one or stops."""

import argparse
import datetime
import pathlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hrlrec_tf.cli import Verb
from hrlrec_tf.errors import ConfigError

if TYPE_CHECKING:
    from tfx_pipeline.configs import Daily, PipelineConfig
    from tfx_pipeline.limits import Limits
    from tfx_pipeline.window import Window

REGISTRY = "blessed"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--log", metavar="DIR", help="the impression log, all days of it")
    parser.add_argument("--config", metavar="YAML", help="dataset.yaml, where the log's columns have other names")
    parser.add_argument("--workdir", required=True, metavar="DIR", help="everything the runs write; the same every day")
    parser.add_argument(
        "--date", metavar="DATE", help="the newest day, which evaluates (default: the newest with mature labels)"
    )
    parser.add_argument("--train-days", type=int, default=7, metavar="N", help="days before it that train (7)")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="DATE",
        help="a day of those that is left out, since its log is faulty or missing; repeatable",
    )
    parser.add_argument(
        "--history-days", type=int, metavar="N", help="days before those that are read, where `files` names days (all)"
    )
    parser.add_argument(
        "--maturity-hours", type=float, default=6.0, metavar="H", help="how long clicks may come in late (6)"
    )
    parser.add_argument("--first", action="store_true", help="nothing was blessed yet: judge by the day alone")
    parser.add_argument("--preset", default="best", help="settings of the model: paper or best (best)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting of the model")
    parser.add_argument(
        "--warm",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="settings where a model goes on from the last one, instead of training.epochs=1; repeatable",
    )
    parser.add_argument(
        "--catalogue",
        action="store_true",
        help="push the items of the run's sessions along, so that requests need only ids, or no candidates",
    )
    parser.add_argument("--quotas", metavar="FILE", help="bounds on each channel's rows in a list, as of hrlrec export")
    parser.add_argument("--limits", metavar="YAML", help="what the gates accept: see docs/operations.md")
    parser.add_argument("--keep", type=int, default=7, metavar="N", help="blessed models that stay (7)")
    parser.add_argument(
        "--prune-served",
        action="store_true",
        help="also remove older versions from serving/; not where they are pinned",
    )
    parser.add_argument("--verbose", action="store_true", help="show what TFX and Beam log")


def _run(args: argparse.Namespace) -> Mapping[str, Any]:
    from hrlrec_tf.data import config as datasets
    from hrlrec_tf.data.prepare import check_outside
    from hrlrec_tf.folder_lock import FolderLock

    folder = pathlib.Path(args.workdir).resolve()
    check_outside(datasets.find(args.log, args.config), str(folder), "--workdir")
    folder.mkdir(parents=True, exist_ok=True)
    with FolderLock(folder, "--workdir"):
        return _run_alone(args)


def _run_alone(args: argparse.Namespace) -> Mapping[str, Any]:
    from tfx_pipeline import blessed, dag, local_runner

    config = pipeline_config(args, datetime.datetime.now(datetime.timezone.utc))
    assert config.daily is not None
    print(f"learning from {config.daily.window.oldest} on, judged by {config.daily.window.date}", flush=True)
    with dag.quiet(args.verbose):
        try:
            result = local_runner.run(config, local_runner.Printer())
        finally:
            _prune(config, args.keep)
    version = int(pathlib.Path(str(result.version)).name)
    card = blessed.card(config.daily.registry, version)
    text = pathlib.Path(config.daily.registry) / str(version) / blessed.CARD_TEXT
    print(f"pushed: {result.version}\ncard: {text}")
    return card


def _prune(config: "PipelineConfig", keep: int) -> None:
    """Removes old artifacts, after a stopped run too; what prevents it must not hide how the run ended."""
    from tfx_pipeline import retention

    try:
        retention.prune(config.root, f"{config.root}/metadata.sqlite", config.name, keep)
    except Exception as error:
        print(f"old artifacts were not removed ({type(error).__name__}: {error})", file=sys.stderr)


def pipeline_config(args: argparse.Namespace, now: datetime.datetime) -> "PipelineConfig":
    """The run that the command line describes.

    Raises:
      ConfigError: a setting is wrong, or the day is not over.
    """
    from hrlrec_tf import quotas
    from hrlrec_tf.config import preset
    from hrlrec_tf.data import config as datasets
    from tfx_pipeline import limits, window
    from tfx_pipeline.local_runner import local_config

    if args.keep < 1:
        raise ConfigError(f"--keep must be at least 1: got {args.keep}")
    dataset = datasets.find(args.log, args.config)
    newest = window.newest_mature(now, dataset.day, args.maturity_hours)
    days = window.Window(args.date or newest, args.train_days, args.history_days, without=tuple(args.without))
    if days.date > newest:
        raise ConfigError(
            f"clicks on {days.date} may still come in (--maturity-hours {args.maturity_hours:g}); the newest day that "
            f"can be judged is {newest}"
        )
    days.dataset(dataset)  # a setting that contradicts it is told now
    accepted = limits.read(args.limits)
    daily = _daily(args, days, quotas.read_text(args.quotas, dataset.list_length), accepted)
    model = preset(args.preset).override(args.set)
    model.override(daily.warm)  # told before hours of work, not after
    return local_config(dataset, args.workdir, model, thresholds=accepted.thresholds, daily=daily)


def _daily(args: argparse.Namespace, days: "Window", quotas: str, limits: "Limits") -> "Daily":
    from hrlrec_tf.config import WARM
    from tfx_pipeline import blessed
    from tfx_pipeline.configs import Daily

    registry = str(pathlib.Path(args.workdir).resolve() / REGISTRY)
    newest = max(blessed.dates(registry).values(), default="")
    if newest > days.date:
        raise ConfigError(f"a model judged by {newest} was blessed already, later than {days.date}; run {newest} again")
    return Daily(
        window=days,
        registry=registry,
        newest=blessed.base_of(registry, days.date) or 0,
        first=args.first,
        warm=tuple(args.warm or WARM),
        catalogue=args.catalogue,
        quotas=quotas,
        data=limits.data,
        model=limits.model,
        keep=args.keep,
        prune_served=args.prune_served,
    )


VERB = Verb(
    help="one more day: look at it, go on from the last blessed model, hold the new one against it, push or stop",
    example="hrlrec daily --log log --workdir feed --date 2024-03-31 --first",
    add_arguments=_add_arguments,
    run=_run,
)
