"""Which days a daily run learns from, and which day judges it."""

import dataclasses
import datetime
import json

from hrlrec_tf.data.config import DATE, DatasetConfig
from hrlrec_tf.data.rules import Day, Split
from hrlrec_tf.errors import ConfigError

_DAY = datetime.timedelta(days=1)


@dataclasses.dataclass(frozen=True)
class Window:
    """A rolling window: the days before the newest one train, the newest one evaluates.

    Attributes:
      date: the newest day, ISO.
      train_days: days before it that train.
      history_days: days before those, whose rows are history only; None reads all that the log has. Counts of a user's
        earlier impressions and clicks begin where the log is read from.
      validation_share: the newest share of the training days' time, which validates.
    """

    date: str
    train_days: int = 7
    history_days: int | None = None
    validation_share: float = 0.1

    def __post_init__(self) -> None:
        try:
            self.newest  # noqa: B018 (read for its error)
        except ValueError as error:
            raise ConfigError(f"the date must be like 2024-03-31: got {self.date!r}") from error
        if self.train_days < 1:
            raise ConfigError(f"train_days must be at least 1: got {self.train_days}")
        if self.history_days is not None and self.history_days < 0:
            raise ConfigError(f"history_days must not be negative: got {self.history_days}")
        if not 0 < self.validation_share < 1:
            raise ConfigError(f"validation_share must lie between 0 and 1: got {self.validation_share}")

    @classmethod
    def of(cls, date: str, days: str) -> "Window":
        """The window of a date that a run is told, and of `days`, as the property of that name has it."""
        return cls(date, **json.loads(days))

    @property
    def days(self) -> str:
        """All but the date, as JSON: a pipeline is compiled with it, its runs are told the date."""
        settings = dataclasses.asdict(self)
        del settings["date"]
        return json.dumps(settings, sort_keys=True)

    @property
    def newest(self) -> datetime.date:
        """The day that evaluates."""
        return datetime.date.fromisoformat(self.date)

    @property
    def oldest(self) -> datetime.date:
        """The first day that trains."""
        return self.newest - self.train_days * _DAY

    @property
    def dates(self) -> list[str]:
        """The days that train, then the one that evaluates."""
        return [(self.oldest + number * _DAY).isoformat() for number in range(self.train_days + 1)]

    def dataset(self, dataset: DatasetConfig) -> DatasetConfig:
        """The log as this run sees it: cut at the window's days, newer rows in no split.

        Where `files` names days, only those are read that the window or its history has.

        Raises:
          ConfigError: `dataset` has cuts of its own.
        """
        if dataset.split != Split():
            raise ConfigError("a daily run makes its own cuts in time; leave `split:` out of dataset.yaml")
        start, end = dataset.day.start(self.oldest), dataset.day.start(self.newest)
        split = Split(
            train_from=start,
            validation_from=round(end - self.validation_share * (end - start)),
            eval_from=end,
            until=dataset.day.start(self.newest + _DAY),
        )
        read: tuple[str, ...] = ()
        if DATE in dataset.files and self.history_days is not None:
            # Files may be cut by another clock than the window's, so one day more is looked at on either side.
            first = self.oldest - (self.history_days + 1) * _DAY
            read = tuple((first + n * _DAY).isoformat() for n in range((self.newest - first).days + 2))
        return dataclasses.replace(dataset, split=split, dates=read)


def newest_mature(now: datetime.datetime, day: Day, maturity_hours: float) -> str:
    """The newest day whose rows have had `maturity_hours` for late clicks to come in, ISO.

    Args:
      now: with a time zone.
      day: where a day begins.
      maturity_hours: how long after the end of a day its clicks may still arrive.
    """
    mature = now.astimezone(day.zone) - datetime.timedelta(hours=maturity_hours)
    return ((mature - day.offset).date() - _DAY).isoformat()
