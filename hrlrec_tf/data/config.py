"""`dataset.yaml`: how one impression log maps to the standard columns, and how its sessions are cut.

A log whose columns carry the standard names needs no file. Every key below is optional; see `datasets/` for examples.
"""

import dataclasses
import datetime
import importlib.resources
import pathlib
import zoneinfo
from collections.abc import Mapping
from typing import Literal

import yaml

from hrlrec_tf import features
from hrlrec_tf.data import parsing
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
VOCABULARIES = ("user_id", "item_id", "channel", "tags")  # and every optional column of text
TYPES = {"string": Kind.STRING, "int": Kind.STRING, "float": Kind.FLOAT}


@dataclasses.dataclass(frozen=True)
class Case:
    """One line of a column's `cases`: `value` where the source is below or equals a number; without both, always."""

    value: str
    below: float | None = None
    equals: float | None = None


@dataclasses.dataclass(frozen=True)
class Column:
    """Where a standard column comes from. In YAML a bare word stands for `{source: WORD}`.

    Attributes:
      source: column of the log or of a joined table.
      constant: the value of every row, instead of a source.
      type: of an optional column: `string` and `int` are categorical, `float` is numeric.
      separator: what splits the source into several values (`tags`, or with `first`).
      first: take the first of the split values.
      scale: factor on a numeric source (`dwell_seconds` in milliseconds: 0.001).
      at_least: 1 where the source is at least this number, else 0.
      cases: the first case that holds gives the value.
    """

    source: str | None = None
    constant: str | int | float | None = None
    type: Literal["string", "int", "float"] | None = None
    separator: str | None = None
    first: bool = False
    scale: float = 1.0
    at_least: float | None = None
    cases: tuple[Case, ...] = ()

    def __post_init__(self) -> None:
        if (self.source is None) == (self.constant is None):
            raise ConfigError("a column needs either `source` or `constant`")
        if self.first and not self.separator:
            raise ConfigError("a column with `first` needs `separator`")
        if (self.at_least is not None) + bool(self.cases) + self.first > 1:
            raise ConfigError("a column takes one of `at_least`, `cases` and `first`")


@dataclasses.dataclass(frozen=True)
class Join:
    """A side table, small enough for memory, whose columns the log's rows see.

    Attributes:
      file: its path, relative to the log.
      key: key column, of the same name in the log and in the table; of rows with the same key the first counts.
      separator: of CSV columns; default by the name of the table, else that of the log.
    """

    file: str
    key: str
    separator: str | None = None


@dataclasses.dataclass(frozen=True)
class ListRule:
    """How lists are made where the log has no request ids: a user's rows in time order.

    Attributes:
      gap_seconds: a longer pause starts a new list.
    """

    gap_seconds: float = 1800.0


@dataclasses.dataclass(frozen=True)
class ItemCountsRule:
    """Adds `item_click_rate` and `item_log_impressions`: what all users' feedback said of an item before the list.

    Attributes:
      refresh_seconds: a list knows what was counted when the last whole period of this length ended.
      strength: impressions at the log's click rate that every item starts with.
    """

    refresh_seconds: float = 3600.0
    strength: float = 5.0

    def __post_init__(self) -> None:
        for name in ("refresh_seconds", "strength"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"item_counts.{name} must be above 0: got {getattr(self, name)}")


@dataclasses.dataclass(frozen=True)
class Split:
    """The cuts in time: newest rows evaluate, the newest of the rest validate, older ones train.

    Attributes:
      eval_fraction: share of all rows.
      validation_fraction: share of the rows that are left.
      eval_from, validation_from: the cuts themselves (ms UTC), instead of the shares.
      train_from: older rows (ms UTC) are history only and in no split: a model is trained on the newest days alone.
      until: rows from this time on (ms UTC) are in no split: their feedback may still be coming in.
    """

    eval_fraction: float = 0.2
    validation_fraction: float = 0.1
    eval_from: int | None = None
    validation_from: int | None = None
    train_from: int | None = None
    until: int | None = None

    def __post_init__(self) -> None:
        for name in ("eval_fraction", "validation_fraction"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"split.{name} must lie between 0 and 1: got {getattr(self, name)}")
        if (self.eval_from is None) != (self.validation_from is None):
            raise ConfigError("split.eval_from and split.validation_from go together: give both or none")
        if self.eval_from is not None and self.validation_from is not None and self.validation_from >= self.eval_from:
            raise ConfigError("split.validation_from must be earlier than split.eval_from")
        if self.train_from is not None and self.validation_from is not None and self.train_from >= self.validation_from:
            raise ConfigError("split.train_from must be earlier than split.validation_from")
        if self.until is not None and (self.eval_from is None or self.until <= self.eval_from):
            raise ConfigError("split.until must be later than split.eval_from, and needs it")


@dataclasses.dataclass(frozen=True)
class Day:
    """Where a day begins, for counts by day and for windows of days.

    Attributes:
      time_zone: IANA name; days of 23 and 25 hours are as that zone has them.
      starts_at: local time, "HH:MM": with "04:00" the small hours belong to the day before.
    """

    time_zone: str = "UTC"
    starts_at: str = "00:00"

    def __post_init__(self) -> None:
        try:
            self.offset, self.zone  # noqa: B018 (both are read for their errors)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"day.starts_at must be like 04:00: got {self.starts_at!r}") from error
        except (zoneinfo.ZoneInfoNotFoundError, OSError) as error:
            raise ConfigError(
                f"day.time_zone must be an IANA time zone such as Asia/Shanghai: got {self.time_zone!r}"
            ) from error

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The time zone."""
        return zoneinfo.ZoneInfo(self.time_zone)

    @property
    def offset(self) -> datetime.timedelta:
        """How long after midnight, by the clock on the wall, a day begins."""
        time = datetime.time.fromisoformat(self.starts_at)
        return datetime.timedelta(hours=time.hour, minutes=time.minute)

    def start(self, date: datetime.date) -> int:
        """First ms UTC of a day."""
        midnight = datetime.datetime.combine(date, datetime.time(), self.zone)
        return round((midnight + self.offset).timestamp() * 1000)


@dataclasses.dataclass(frozen=True)
class Bots:
    """Whose rows are rejected as no person's.

    Attributes:
      rows_per_day: more rows than that in one day, and the user's rows of that day are out.
    """

    rows_per_day: int

    def __post_init__(self) -> None:
        if self.rows_per_day < 1:
            raise ConfigError(f"bots.rows_per_day must be at least 1: got {self.rows_per_day}")


@dataclasses.dataclass(frozen=True)
class Masking:
    """Keyed hashing (HMAC-SHA256, in hex) of identifying columns.

    With `user_id` request ids that name their user are hashed too.

    Attributes:
      columns: standard names of string columns.
      key_env: environment variable, on every worker, that holds the key.
    """

    columns: tuple[str, ...]
    key_env: str = "HRLREC_MASK_KEY"


@dataclasses.dataclass(frozen=True)
class KAnonymity:
    """A cut on rare values of user features: fewer than `k` users share them, so they may tell who somebody is.

    Attributes:
      columns: names of categorical `user_*` columns.
      k: users who must hold a value before the evaluation split for it to stay; others read as `features.RARE`.
    """

    columns: tuple[str, ...]
    k: int = 20

    def __post_init__(self) -> None:
        for name in self.columns:
            if not (name.startswith(features.USER_PREFIX) and features.optional_columns([name])):
                raise ConfigError(f"columns: {name} is no feature of users; name user_* columns other than user_id")
        if self.k < 2:
            raise ConfigError(f"k must be at least 2: got {self.k}")


@dataclasses.dataclass(frozen=True)
class DatasetConfig:
    """Everything `prepare` needs to know about a log.

    Attributes:
      log: folder (or one file); relative to the YAML file.
      files: which files of the folder are the log; `{date}` in it stands for a day (2024-03-31), as in
        `day={date}/*.parquet`.
      dates: the days that are read, where `files` has `{date}`; without any, all.
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
            if name not in KINDS and not features.optional_columns([name]):
                raise ConfigError(
                    f"columns.{name} is no standard column; known: {', '.join(KINDS)}, and optional columns that start "
                    "with user_, context_ or item_"
                )
        if self.dates and DATE not in self.files:
            raise ConfigError(f"dates need {DATE} in `files`, for instance files: day={DATE}/*: got {self.files!r}")
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
