"""The parts of `dataset.yaml`, one class each; `config.DatasetConfig` puts them together."""

import dataclasses
import datetime
import zoneinfo
from typing import Literal

from hrlrec_tf import features
from hrlrec_tf.errors import ConfigError


def day_of(text: str) -> datetime.date:
    """The day that is written as 2024-03-31; Python 3.11 and newer read other forms of ISO 8601, too.

    Raises:
      ValueError: it is written otherwise, or is no day.
    """
    day = datetime.date.fromisoformat(text)
    if day.isoformat() != text:
        raise ValueError(text)
    return day


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
