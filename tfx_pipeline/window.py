"""Which days a daily run learns from, and which day judges it."""

import dataclasses
import datetime
import json

from hrlrec_tf.data.config import DATE, DatasetConfig
from hrlrec_tf.data.rules import Day, Split, day_of
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
      without: days among those that train that are left out, ISO.
    """

    date: str
    train_days: int = 7
    history_days: int | None = None
    validation_share: float = 0.1
    without: tuple[str, ...] = ()

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
        self._check_without()

    def _check_without(self) -> None:
        training = [date.isoformat() for date in self._training]
        for date in self.without:
            if date not in training:
                raise ConfigError(
                    f"{date} cannot be left out (without): the days that train are {training[0]} to {training[-1]}"
                )
        if not set(training) - set(self.without):
            raise ConfigError("all days that train are left out (without); take more of them (train_days)")

    @classmethod
    def of(cls, date: str, days: str) -> "Window":
        """The window of a date that a run is told, and of `days`, as the property of that name has it."""
        settings = json.loads(days)
        return cls(date, **{**settings, "without": tuple(settings.get("without", ()))})

    @property
    def days(self) -> str:
        """All but the date, as JSON: a pipeline is compiled with it, its runs are told the date."""
        settings = dataclasses.asdict(self)
        del settings["date"]
        return json.dumps(settings, sort_keys=True)

    @property
    def newest(self) -> datetime.date:
        """The day that evaluates."""
        return day_of(self.date)

    @property
    def oldest(self) -> datetime.date:
        """The first day that trains."""
        return self.newest - self.train_days * _DAY

    @property
    def dates(self) -> list[str]:
        """The days that train, without those left out, then the one that evaluates."""
        days = [*self._training, self.newest]
        return [date for date in (day.isoformat() for day in days) if date not in self.without]

    @property
    def _training(self) -> list[datetime.date]:
        return [self.oldest + number * _DAY for number in range(self.train_days)]

    def dataset(self, dataset: DatasetConfig) -> DatasetConfig:
        """The log as this run sees it: cut at the window's days, newer rows in no split.

        Where `files` names days, only those are read that the window or its history has. Where a rule makes the lists,
        no request ids show that rows came twice, so `deduplicate` is on.

        Raises:
          ConfigError: `dataset` has cuts of its own, or leaves out a day of the window.
        """
        if dataset.split != Split():
            raise ConfigError("a daily run makes its own cuts in time; leave `split:` out of dataset.yaml")
        for date in self.dates:
            if date in dataset.without:
                remedy = "run another day" if date == self.date else f"leave it out here, too (--without {date})"
                raise ConfigError(f"dataset.yaml leaves out {date}, a day of this run; {remedy}")
        split = Split(
            train_from=dataset.day.start(self.oldest),
            validation_from=self._validation_from(dataset.day),
            eval_from=dataset.day.start(self.newest),
            until=dataset.day.start(self.newest + _DAY),
        )
        read: tuple[str, ...] = ()
        if DATE in dataset.files and self.history_days is not None:
            # Files may be cut by another clock than the window's, so one day more is looked at on either side.
            first = self.oldest - (self.history_days + 1) * _DAY
            read = tuple((first + n * _DAY).isoformat() for n in range((self.newest - first).days + 2))
        return dataclasses.replace(
            dataset,
            split=split,
            dates=read,
            without=tuple(sorted({*dataset.without, *self.without})),
            deduplicate=dataset.deduplicate or dataset.list_rule is not None,
        )

    def _validation_from(self, day: Day) -> int:
        """First ms UTC of the time that validates: of the days that are not left out, the newest share."""
        spans = [
            (day.start(date), day.start(date + _DAY))
            for date in reversed(self._training)
            if date.isoformat() not in self.without
        ]
        wanted = self.validation_share * sum(end - start for start, end in spans)
        for start, end in spans:
            if wanted <= end - start:
                break
            wanted -= end - start
        return round(end - wanted)


def newest_mature(now: datetime.datetime, day: Day, maturity_hours: float) -> str:
    """The newest day whose rows have had `maturity_hours` for late clicks to come in, ISO.

    Args:
      now: with a time zone.
      day: where a day begins.
      maturity_hours: how long after the end of a day its clicks may still arrive.
    """
    mature = now.astimezone(day.zone) - datetime.timedelta(hours=maturity_hours)
    return ((mature - day.offset).date() - _DAY).isoformat()
