"""Who comes on a day and asks for lists, in waves: a wave holds at most one request per user.

`Open` traffic follows satisfaction: every user comes with a probability that grows with the own rate of visits, so that
a better policy earns more requests. It is for experiments. `Fixed` traffic serves a given number of requests a day, so
that a log has the size that was asked for; how they fall on users still follows satisfaction.
"""

import abc
import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from hrlrec_tf.simulator.feed import DAY_MS, Feed
from hrlrec_tf.simulator.noise import Purpose, uniform
from hrlrec_tf.simulator.requests import IntArray, Requests
from hrlrec_tf.simulator.state import UserStates
from hrlrec_tf.simulator.users import DEVICES

_MAIN_DEVICE_SHARE = 0.8
_PAUSE_MS = (20_000.0, 120_000.0)  # between a list's end and the next request, beside the dwell time
_PEAK_HOUR = 20
WEEKEND = np.array([-1, -1, -1, -1, -1, 2.5, 2.5])  # sums to 0


class Traffic(abc.ABC):
    """Visitors of a day, their first requests and those that follow."""

    def __init__(self, feed: Feed, states: UserStates) -> None:
        self.feed, self.states = feed, states
        hours = np.arange(24)
        cycle = 1.0 + feed.config.hour_cycle * np.cos(2.0 * np.pi * (hours - _PEAK_HOUR) / 24.0)
        weights = np.array(feed.config.hour_shares or cycle)
        self._by_hour = np.concatenate([[0.0], np.cumsum(weights) / weights.sum()])

    @abc.abstractmethod
    def visitors(self, day: int) -> Iterator[tuple[IntArray, IntArray]]:
        """Rounds of different users that begin a visit, with how many lists each has had on the day."""

    def take(self, requests: Requests) -> Requests:
        """The first of these requests, as many as are served."""
        return requests

    def requests_on(self, day: int) -> float:
        """Requests of an ordinary day, by its day of the week."""
        config = self.feed.config
        return config.requests_per_day * (1 + config.weekday_cycle * WEEKEND[config.weekday(day)])

    def lists_of_a_visit(self) -> float:
        """Lists of an ordinary visit."""
        config = self.feed.config
        return float((config.another_request ** np.arange(config.max_requests)).sum())

    def draw(self, day: int, visit: int, count: int, busy: IntArray | None = None) -> IntArray:
        """Different users, in proportion to their rates (Efraimidis and Spirakis 2006: largest u ** (1 / rate)).

        Args:
          day, visit: key the luck.
          count: how many; at most those who are not busy.
          busy: who cannot come.
        """
        rates = self.states.visit_rates()
        luck = uniform(self.feed.config.seed, Purpose.VISIT, np.arange(len(rates)), day, visit)
        keys = np.log(luck + 1e-300) / rates
        if busy is not None:
            keys[busy] = -np.inf
        return np.sort(np.argpartition(-keys, count - 1)[:count]).astype(np.int32)

    def begin(self, day: int, users: IntArray, numbers: IntArray) -> Requests:
        """First requests of visits."""
        seed = self.feed.config.seed
        moment = np.interp(uniform(seed, Purpose.TIME, users, day, numbers), self._by_hour, np.arange(25) / 24)
        timestamps = self.feed.config.start_timestamp + day * DAY_MS + (moment * DAY_MS).astype(np.int64)
        other = (uniform(seed, Purpose.OTHER_DEVICE, users, day) * len(DEVICES)).astype(np.int8)
        at_home = uniform(seed, Purpose.DEVICE, users, day) < _MAIN_DEVICE_SHARE
        devices = np.where(at_home, self.feed.users.main_device[users], other)
        moods = (uniform(seed, Purpose.MOOD, users, day) * self.feed.config.topics).astype(np.int32)
        return Requests(day, users, numbers, devices, moods, timestamps)

    def go_on(self, requests: Requests, dwell_seconds: npt.NDArray[np.float32]) -> Requests:
        """The next requests of the same visits, of those that do not run into midnight."""
        low, high = _PAUSE_MS
        luck = uniform(self.feed.config.seed, Purpose.PAUSE, requests.users, requests.day, requests.numbers)
        pause = low + (high - low) * luck + 1000.0 * dwell_seconds.sum(axis=1)
        timestamps = requests.timestamps + pause.astype(np.int64)
        later = Requests(
            requests.day, requests.users, requests.numbers + 1, requests.devices, requests.moods, timestamps
        )
        midnight = self.feed.config.start_timestamp + (requests.day + 1) * DAY_MS
        return later[timestamps < midnight]


class Open(Traffic):
    """Everybody decides for themselves."""

    def visitors(self, day: int) -> Iterator[tuple[IntArray, IntArray]]:
        visits = self.requests_on(day) / self.lists_of_a_visit()
        chance = 1 - np.exp(-visits * self.states.visit_rates())
        users = np.arange(self.feed.config.users, dtype=np.int32)
        coming = uniform(self.feed.config.seed, Purpose.VISIT, users, day) < chance
        yield users[coming], np.zeros(int(coming.sum()), np.int32)


class Fixed(Traffic):
    """Visitors come round after round, the active and the satisfied more often, until the day's requests are used up.

    A round holds as many visitors as ordinary visits would need.
    """

    def __init__(self, feed: Feed, states: UserStates) -> None:
        super().__init__(feed, states)
        self.left = 0

    def take(self, requests: Requests) -> Requests:
        taken = requests[: self.left]
        self.left -= len(taken)
        return taken

    def visitors(self, day: int) -> Iterator[tuple[IntArray, IntArray]]:
        self.left = round(self.requests_on(day))
        had = np.zeros(self.feed.config.users, np.int32)
        for visit in itertools.count():
            if not self.left:
                return
            users = self.draw(day, visit, min(max(int(self.left / self.lists_of_a_visit()), 1), len(had)))
            yield users, had[users]
            had[users] += self.feed.config.max_requests
