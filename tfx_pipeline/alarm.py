"""`hrlrec alarm`: does the newest model earn fewer clicks than the one before it? Then it can be withdrawn at once.

A gate looks at logged lists; only users show what a model's own lists are worth. The alarm reads the impression log,
whose column `model_version` says who built a list, and compares the click rates of two versions over the days given.
"""

import argparse
import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hrlrec_tf.cli import Verb
from hrlrec_tf.errors import ConfigError, DataError, HrlrecError
from hrlrec_tf.evaluation import significance
from tfx_pipeline import blessed

COLUMN = "model_version"
REPLICATES = 1000
_CONFIDENCE = 0.98  # the alarm asks one end of the interval: 1 % false alarms where nothing changed


class Alarm(HrlrecError):
    """The newest model earns fewer clicks than the one before it."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Click rates of two versions.

    Attributes:
      newest, previous: versions.
      rows: impressions of each, in that order. click_rates: of each.
      change: newest over previous - 1.
      low, high: its interval, by bootstrap over users.
    """

    newest: str
    previous: str
    rows: tuple[int, int]
    click_rates: tuple[float, float]
    change: float
    low: float
    high: float

    def __str__(self) -> str:
        return (
            f"version {self.newest} has a click rate of {self.click_rates[0]:.4f} ({self.rows[0]:,} rows), version "
            f"{self.previous} {self.click_rates[1]:.4f} ({self.rows[1]:,} rows): {self.change:+.1%} "
            f"({self.low:+.1%} to {self.high:+.1%})"
        )


def compare(rows: pd.DataFrame, newest: str, previous: str) -> Comparison:
    """Compares the click rates of two versions.

    Args:
      rows: `user_id`, `clicks`, `model_version`, of any versions.
      newest, previous: the two.

    Raises:
      DataError: a version has no rows.
    """
    shown = rows[rows[COLUMN].isin([newest, previous])]
    user = pd.factorize(shown["user_id"])[0]
    of_version = []
    for version in (newest, previous):
        mine = (shown[COLUMN] == version).to_numpy()
        if not mine.any():
            raise DataError(f"the log has no rows of version {version}; check `{COLUMN}` and the days")
        clicked = (shown["clicks"].to_numpy()[mine] > 0).astype(np.float64)
        counts = np.bincount(user[mine], minlength=user.max() + 1).astype(np.float64)
        of_version.append((counts, np.bincount(user[mine], clicked, minlength=user.max() + 1)))
    (seen, clicks), (seen_before, clicks_before) = of_version
    ratios = np.full(REPLICATES, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        for block, weights in significance.user_weights(len(seen), REPLICATES, [0]):
            rate_before = (clicks_before @ weights) / (seen_before @ weights)
            ratios[block] = (clicks @ weights) / (seen @ weights) / rate_before - 1
    rates = float(clicks.sum() / seen.sum()), float(clicks_before.sum() / seen_before.sum())
    low, high = significance.percentile_interval(ratios, _CONFIDENCE)
    change = rates[0] / rates[1] - 1 if rates[1] else float("nan")
    return Comparison(newest, previous, (int(seen.sum()), int(seen_before.sum())), rates, change, low, high)


def rings(comparison: Comparison, accepted: float) -> bool:
    """Whether the loss is certain to exceed what is accepted, both as a share of the click rate before."""
    return bool(comparison.high < -accepted)


def roll_back(folders: Iterable[str], version: str) -> None:
    """Takes a version out of the folders of served and blessed models; servers go back to the one before.

    The version stays in a folder `withdrawn` beside the others, for whoever looks for the cause.

    Args:
      folders: each with numbered versions.
      version: to withdraw.

    Raises:
      ConfigError: a folder would be left without any version.
    """
    paths = [pathlib.Path(folder) for folder in folders]
    for path in paths:
        if not set(blessed.versions(str(path))) - {int(version)}:
            raise ConfigError(f"{path}: version {version} is the only one; there is nothing to go back to")
    for path in paths:
        if (path / version).exists():
            (path / blessed.WITHDRAWN).mkdir(exist_ok=True)
            (path / version).rename(path / blessed.WITHDRAWN / version)


def newest_two(folder: str) -> tuple[str, str]:
    """The newest version of a folder and the one before it; raises ConfigError where there are not two."""
    found = blessed.versions(folder)
    if len(found) < 2:
        raise ConfigError(f"{folder}: holds {len(found)} versions, a comparison needs two")
    return str(found[-1]), str(found[-2])


def read_rows(log: str, files: str) -> pd.DataFrame:
    """`user_id`, `clicks` and `model_version` of the Parquet files of a log that match a pattern.

    Raises:
      DataError: no file matches, or one lacks a column.
    """
    paths = sorted(pathlib.Path(log).glob(files))
    if not paths:
        raise DataError(f"{log}: no file matches {files!r}; give --files, for instance 'day=2024-03-31/*.parquet'")
    return pd.concat([_read(path) for path in paths], ignore_index=True)


def _read(path: pathlib.Path) -> pd.DataFrame:
    columns: Sequence[str] = ["user_id", "clicks", COLUMN]
    try:
        return pd.read_parquet(path, columns=list(columns)).astype({COLUMN: str})
    except (ValueError, KeyError, OSError) as error:
        raise DataError(f"{path}: cannot be read with the columns {', '.join(columns)} ({error})") from error


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--log", required=True, metavar="DIR", help="the impression log, Parquet, with model_version")
    parser.add_argument("--files", default="**/*.parquet", metavar="GLOB", help="the days to look at (all)")
    parser.add_argument("--workdir", required=True, metavar="DIR", help="of `hrlrec daily`")
    parser.add_argument("--accepted", type=float, default=0.02, metavar="X", help="loss of click rate accepted (0.02)")
    parser.add_argument("--roll-back", action="store_true", help="withdraw the newest version if the alarm rings")


def _run(args: argparse.Namespace) -> Mapping[str, Any]:
    from tfx_pipeline.daily import REGISTRY

    if not 0 <= args.accepted < 1:
        raise ConfigError(f"--accepted must be from 0 to below 1: got {args.accepted}")
    serving, registry = (str(pathlib.Path(args.workdir) / name) for name in ("serving", REGISTRY))
    comparison = compare(read_rows(args.log, args.files), *newest_two(serving))
    print(comparison)
    if not rings(comparison, args.accepted):
        return dataclasses.asdict(comparison)
    if args.roll_back:
        roll_back([serving, registry], comparison.newest)
        raise Alarm(f"{comparison}; version {comparison.newest} was withdrawn, {comparison.previous} serves again")
    raise Alarm(f"{comparison}; withdraw it: the same command with --roll-back")


VERB = Verb(
    help="compare the click rates of the newest two models in the log; exit code 1, and roll back, if clicks were lost",
    example="hrlrec alarm --log log --files 'day=2024-03-31/*' --workdir feed --roll-back",
    add_arguments=_add_arguments,
    run=_run,
)
