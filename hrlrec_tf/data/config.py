"""`dataset.yaml`: how one impression log maps to the standard columns, and how its sessions are cut.

A log whose columns carry the standard names needs no file. Every key below is optional; see `datasets/` for examples.
"""

import dataclasses
import importlib.resources
import pathlib
from collections.abc import Mapping
from typing import Literal

import yaml

from hrlrec_tf import features
from hrlrec_tf.data import parsing
from hrlrec_tf.data.rules import (
    Bots,
    Column,
    Day,
    ItemCountsRule,
    Join,
    KAnonymity,
    ListRule,
    Masking,
    Split,
    day_of,
)
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.features import IdRule, Kind

FILE_NAME = "dataset.yaml"
DATE = "{date}"
LOG_VERSION = 1  # of the columns and their meaning, as `schemas/README.md` has them
_DATASETS = importlib.resources.files("hrlrec_tf.data") / "datasets"

KINDS: Mapping[str, Kind] = {
    "request_id": Kind.STRING,
    "user_id": Kind.STRING,
    "timestamp": Kind.INT,
    "position": Kind.INT,
    "item_id": Kind.STRING,
    "channel": Kind.STRING,
    "tags": Kind.STRING,
    "clicks": Kind.INT,
    "dwell_seconds": Kind.FLOAT,
    "propensity_channel": Kind.FLOAT,
    "propensity_item": Kind.FLOAT,
    "explored": Kind.INT,
}
REQUIRED = ("user_id", "timestamp", "item_id", "channel", "clicks")
LIST_COLUMNS = ("request_id", "position")
MODEL_VERSION = "model_version"  # who built the list; `prepare` reads it not, the alarm does
VOCABULARIES = ("user_id", "item_id", "channel", "tags")  # and every optional column of text
TYPES = {"string": Kind.STRING, "int": Kind.STRING, "float": Kind.FLOAT}


@dataclasses.dataclass(frozen=True)
class DatasetConfig:
    """Everything `prepare` needs to know about a log.

    Attributes:
      log: folder (or one file); relative to the YAML file.
      files: which files of the folder are the log; `{date}` in it stands for a day (2024-03-31), as in
        `day={date}/*.parquet`.
      dates: the days that are read, where `files` has `{date}`; without any, all.
      without: days (2024-03-30) that are left out: their rows are rejected.
      format: `parquet`, `csv` or `jsonl`, where the files' names do not tell.
      separator: of CSV columns; default tab for `.tsv`, else comma.
      typed_header: the CSV header reads `name:type`; what stands behind the colon is dropped.
      columns: standard name -> where it comes from; columns not named keep their name.
      joins: side tables.
      timestamp_unit: of a numeric or text `timestamp`.
      tags_separator: splits a `tags` column that is text.
      item_counts: adds two item features made from all users' feedback; off unless given (`item_counts: {}`).
      list_rule: makes lists where `request_id` or `position` is absent.
      split: the cuts in time.
      feedback_delay_seconds: history rows are this much older than the list.
      list_length: T; longer lists are cut.
      sequence_length: m, steps of a state.
      window: `fixed`: m - T + 1 of them are history at every position; `sliding`: the last m rows before each position,
        so that sessions carry m rows of history (for `network.window=sliding`).
      max_tags: K, tags kept per row.
      masking: columns to hash.
      day: where a day begins.
      deduplicate: reject rows that repeat user, time and item (and request, where the log has it) of another row, as
        logs that deliver an event at least once hold them.
      bots: rejects rows of users who see more in a day than a person does.
      log_version: of the meaning of the columns; this release reads version 1.
      k_anonymity: the cut on rare values of user features.
      ids: how strings become ids, by `user_id`, `item_id`, `channel`, `tags` or an optional column of text.
    """

    log: str | None = None
    files: str = "**"
    dates: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    format: Literal["parquet", "csv", "jsonl"] | None = None
    separator: str | None = None
    typed_header: bool = False
    columns: Mapping[str, Column] = dataclasses.field(default_factory=dict)
    joins: tuple[Join, ...] = ()
    timestamp_unit: Literal["s", "ms", "us", "ns", "iso8601"] = "ms"
    tags_separator: str = features.TAG_SEPARATOR
    list_rule: ListRule | None = None
    item_counts: ItemCountsRule | None = None
    split: Split = dataclasses.field(default_factory=Split)
    feedback_delay_seconds: float = 0.0
    list_length: int = 10
    sequence_length: int = 50
    window: Literal["fixed", "sliding"] = "fixed"
    max_tags: int = 8
    masking: Masking | None = None
    day: Day = dataclasses.field(default_factory=Day)
    deduplicate: bool = False
    bots: Bots | None = None
    log_version: int = LOG_VERSION
    k_anonymity: KAnonymity | None = None
    ids: Mapping[str, IdRule] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.columns:
            if name not in (*KINDS, MODEL_VERSION) and not features.optional_columns([name]):
                raise ConfigError(
                    f"columns.{name} is no standard column; known: {', '.join(KINDS)}, {MODEL_VERSION}, and optional "
                    "columns that start with user_, context_ or item_"
                )
        if self.dates and DATE not in self.files:
            raise ConfigError(f"dates need {DATE} in `files`, for instance files: day={DATE}/*: got {self.files!r}")
        for date in self.without:
            try:
                day_of(date)
            except ValueError as error:
                raise ConfigError(f"without names days like 2024-03-30: got {date!r}") from error
        for name in ("list_length", "sequence_length", "max_tags"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1: got {getattr(self, name)}")
        if self.window == "fixed" and self.sequence_length < self.list_length:
            raise ConfigError(
                f"sequence_length is {self.sequence_length}; a state at the list's end needs at least one history row "
                f"beside the rows above, so make it {self.list_length} (list_length) or more, or set window: sliding"
            )
        if self.feedback_delay_seconds < 0:
            raise ConfigError("feedback_delay_seconds must not be negative")
        if self.log_version != LOG_VERSION:
            raise ConfigError(
                f"log_version is {self.log_version}, but this release reads version {LOG_VERSION}; map the columns to "
                "it, or install the release that reads the log's version"
            )
        self._check_masking()
        self._check_ids()

    def _check_masking(self) -> None:
        masked = self.masking.columns if self.masking else ()
        for name in masked:
            if KINDS.get(name) is not Kind.STRING and not features.optional_columns([name]) or name == "tags":
                raise ConfigError(f"masking.columns: {name} cannot be masked; name columns of text such as user_id")
        sources = {self.source(name): name for name in masked}
        for name in set(self.columns) - set(masked):
            if self.source(name) in sources:
                raise ConfigError(
                    f"masking.columns: {name} would show what is masked in {sources[self.source(name)]}; mask both"
                )

    def _check_ids(self) -> None:
        for name, rule in self.ids.items():
            if name not in VOCABULARIES and not features.optional_columns([name]):
                raise ConfigError(
                    f"ids.{name} is no feature of text; known: {', '.join(VOCABULARIES)}, and optional columns"
                )
            if name == "channel" and rule.kind == "hashed":
                raise ConfigError(
                    "ids.channel cannot be hashed, for rewards and reports name channels; give it oov_buckets"
                )
        for name in self.k_anonymity.columns if self.k_anonymity else ():
            if self.ids.get(name, IdRule()).unknown > 1 or self.ids.get(name, IdRule()).kind == "hashed":
                raise ConfigError(
                    f"ids.{name} and k_anonymity contradict each other: rare values must share one id in training as "
                    f"in serving; give {name} a vocabulary with oov_buckets: 1, or take it out of k_anonymity"
                )

    @property
    def file_patterns(self) -> list[str]:
        """Patterns of the log's files, relative to its folder."""
        return [self.files.replace(DATE, date) for date in self.dates or ("*",)]

    @property
    def history_length(self) -> int:
        """H, history rows of a session."""
        return self.sequence_length if self.window == "sliding" else self.sequence_length - self.list_length + 1

    def column(self, name: str) -> Column:
        """The rule of a standard column."""
        return self.columns.get(name, Column(source=name))

    def source(self, name: str) -> str | None:
        """The log's column behind a standard one, None for a constant."""
        return self.column(name).source


def load(path: str | pathlib.Path) -> DatasetConfig:
    """Reads a YAML file, or one of the package's own configurations by its name (for instance `ml100k`).

    Raises:
      ConfigError: the file is absent, no YAML, or one of its settings is unknown or wrong; the message names it.
    """
    path = pathlib.Path(path)
    known = not path.exists() and str(path) in bundled()
    try:
        text = (_DATASETS / f"{path}.yaml" if known else path).read_text(encoding="utf-8")
        config = parsing.build(DatasetConfig, yaml.safe_load(text) or {}, "")
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    if config.log is not None and "://" not in config.log:
        config = dataclasses.replace(config, log=str((path.parent / config.log).resolve()))
    return config


def bundled() -> list[str]:
    """Names of the configurations that the package brings."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _DATASETS.iterdir() if entry.name.endswith(".yaml"))


def find(log: str | None, config: str | None) -> DatasetConfig:
    """The configuration of a run: `config` if given, else `dataset.yaml` beside the log, else the standard columns.

    Raises:
      ConfigError: neither names a log, or the file is wrong.
    """
    if config is None and log is not None and (pathlib.Path(log) / FILE_NAME).is_file():
        config = str(pathlib.Path(log) / FILE_NAME)
    found = load(config) if config is not None else DatasetConfig()
    if log is not None:
        found = dataclasses.replace(found, log=log)
    if found.log is None:
        raise ConfigError("no log is named: give --log DIR, or `log:` in the file behind --config")
    return found
