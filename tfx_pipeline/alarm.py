"""`hrlrec alarm`: does the newest model earn fewer clicks than the one before it? Then it can be withdrawn at once.

A gate looks at logged lists; only users show what a model's own lists are worth. The alarm reads the impression log,
whose column `model_version` says who built a list, and compares the click rates of two versions over the days given.
"""

import argparse
import dataclasses
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from hrlrec_tf.cli import Verb
from hrlrec_tf.data import config as datasets
from hrlrec_tf.data import formats, lists, mending, reading
from hrlrec_tf.data.config import KINDS, MODEL_VERSION, DatasetConfig
from hrlrec_tf.data.validation import Layout, Validator
from hrlrec_tf.errors import ConfigError, DataError, HrlrecError, LogError
from hrlrec_tf.evaluation import significance
from hrlrec_tf.features import Kind
from tfx_pipeline import blessed

REPLICATES = 1000
_KEYS = {"user_id", "timestamp", "request_id", "position", "item_id"}  # what a row may repeat of another
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
    shown = rows[rows[MODEL_VERSION].isin([newest, previous])]
    user = pd.factorize(shown["user_id"])[0]
    of_version = []
    for version in (newest, previous):
        mine = (shown[MODEL_VERSION] == version).to_numpy()
        if not mine.any():
            raise DataError(f"the log has no rows of version {version}; check `{MODEL_VERSION}` and the days")
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


def read_rows(dataset: DatasetConfig) -> pd.DataFrame:
    """`user_id`, `clicks` and `model_version` of the rows of a log that `hrlrec prepare` would accept.

    Requests that two users share are the exception: they are not looked for.

    Raises:
      LogError: the log cannot be read, or no row can be used.
      DataError: no row names a version.
    """
    dataset = dataclasses.replace(dataset, masking=None)  # nothing is written; users need only be told apart
    log = reading.open_log(dataset, progress=False)
    standard = tuple(name for name in log.layout.columns if name in KINDS)
    layout = Layout((*standard, MODEL_VERSION), {MODEL_VERSION: Kind.STRING})
    validate, wanted = Validator(dataset, layout, reading.read_joins(dataset)), reading.sources(dataset, layout)
    kept = [*_KEYS.intersection(standard), "clicks", MODEL_VERSION]
    tables = [
        validate(batch).rows.select(kept)
        for unit in log.units
        for batch in formats.read(unit.file, wanted, unit.row_groups)
    ]
    if not sum(map(len, tables)):
        raise LogError(f"{dataset.log}: no row can be used; hrlrec prepare says why")
    table = mending.mended(lists.in_total_order(pa.concat_tables(tables).combine_chunks()), dataset)
    rows = table.select(["user_id", "clicks", MODEL_VERSION]).to_pandas()
    if not (rows[MODEL_VERSION] != "").any():
        raise DataError(
            f"{dataset.log}: no row has a {MODEL_VERSION}; write it into the log, or map it under `columns:` of "
            "dataset.yaml"
        )
    return rows


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--log", metavar="DIR", help="the impression log, with model_version")
    parser.add_argument("--config", metavar="YAML", help="how the log maps to the standard columns, as for prepare")
    parser.add_argument("--files", metavar="GLOB", help="the days to look at, in place of the log's `files` (all)")
    parser.add_argument("--workdir", required=True, metavar="DIR", help="of `hrlrec daily`")
    parser.add_argument("--accepted", type=float, default=0.02, metavar="X", help="loss of click rate accepted (0.02)")
    parser.add_argument("--roll-back", action="store_true", help="withdraw the newest version if the alarm rings")


def _run(args: argparse.Namespace) -> Mapping[str, Any]:
    from tfx_pipeline.daily import REGISTRY

    if not 0 <= args.accepted < 1:
        raise ConfigError(f"--accepted must be from 0 to below 1: got {args.accepted}")
    serving, registry = (str(pathlib.Path(args.workdir) / name) for name in ("serving", REGISTRY))
    dataset = datasets.find(args.log, args.config)
    if args.files is not None:
        dataset = dataclasses.replace(dataset, files=args.files, dates=())
    comparison = compare(read_rows(dataset), *newest_two(serving))
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
