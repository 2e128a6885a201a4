"""A policy on trial: some days of a feed, and what every user did.

All policies start from the same evening, in copies of the same users' memories and of the same journal, and meet the
same
luck: a draw is keyed by user, day, request, position and item, so that two policies that show the same get the same.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from hrlrec_tf.errors import DataError
from hrlrec_tf.simulator.days import ShownLists, simulate_day
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.journal import Journal
from hrlrec_tf.simulator.policy import Policy
from hrlrec_tf.simulator.state import UserStates
from hrlrec_tf.simulator.traffic import Open

COUNTS = ("requests", "impressions", "clicks", "watched_tags", "list_tags", "list_channels", "abandoned")


@dataclasses.dataclass
class Stage:
    """A feed at the end of a day: the world, what users remember, what the feed wrote down."""

    feed: Feed
    states: UserStates
    journal: Journal

    @classmethod
    def open(cls, feed: Feed, history_length: int) -> "Stage":
        """Before the first day."""
        return cls(feed, UserStates(feed), Journal(feed, history_length))

    def copy(self, click_model: str | None = None) -> "Stage":
        """One that goes on on its own; with another click model the same users click in another way from now on."""
        config = self.feed.config
        changed = dataclasses.replace(config, click_model=click_model or config.click_model)
        feed = dataclasses.replace(self.feed, config=changed)
        return Stage(feed, self.states.copy(feed), self.journal.copy())


@dataclasses.dataclass(frozen=True)
class Trial:
    """What users did under one policy; int64 arrays [users], summed over the days.

    Attributes:
      requests: lists asked for. impressions: rows shown. clicks: of them, clicked.
      watched_tags: distinct tags of what a user clicked on a day, summed over days.
      list_tags, list_channels: distinct ones per list, summed over lists.
      abandoned: lists left before their end.
      days: of the trial.
    """

    requests: npt.NDArray[np.int64]
    impressions: npt.NDArray[np.int64]
    clicks: npt.NDArray[np.int64]
    watched_tags: npt.NDArray[np.int64]
    list_tags: npt.NDArray[np.int64]
    list_channels: npt.NDArray[np.int64]
    abandoned: npt.NDArray[np.int64]
    days: int

    def save(self, file: pathlib.Path) -> None:
        """Writes it under a temporary name, then renames."""
        scratch = file.with_suffix(".partial.npz")
        np.savez_compressed(scratch, **dataclasses.asdict(self))
        os.replace(scratch, file)

    @classmethod
    def load(cls, file: pathlib.Path) -> "Trial":
        """Inverse of `save`. Raises DataError where the file is none of its."""
        try:
            with np.load(file) as arrays:
                return cls(**{name: arrays[name] for name in COUNTS}, days=int(arrays["days"]))
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{file} holds no trial ({error}); remove it and run the experiment again") from error


class _Tally:
    """Adds up lists."""

    def __init__(self, feed: Feed) -> None:
        self._corpus = feed.corpus
        self.counts = {name: np.zeros(feed.config.users, np.int64) for name in COUNTS}
        self._watched = np.zeros((feed.config.users, feed.corpus.tag_count + 1), bool)

    def add(self, lists: ShownLists) -> None:
        """Lists of different users."""
        users, items = lists.requests.users, lists.items
        shown = items >= 0
        tags, channels = self._corpus.tags[items], self._corpus.channels[items]
        counts = self.counts
        counts["requests"][users] += 1
        counts["impressions"][users] += shown.sum(axis=1)
        counts["clicks"][users] += lists.clicks.sum(axis=1)
        counts["abandoned"][users] += (~lists.seen & shown).any(axis=1)
        for t in range(items.shape[1]):
            clicked = np.flatnonzero(lists.clicks[:, t])
            self._watched[users[clicked, np.newaxis], tags[clicked, t]] = True
        for name, values, none in (("list_tags", tags, self._corpus.tag_count), ("list_channels", channels, -1)):
            real = np.where(shown.reshape(*shown.shape, *[1] * (values.ndim - 2)), values, none)
            ordered = np.sort(real.reshape(len(items), -1), axis=1)
            new = np.diff(ordered, axis=1, prepend=-2) != 0
            counts[name][users] += (new & (ordered != none)).sum(axis=1)

    def end_day(self) -> None:
        """Watched tags are counted day by day."""
        self.counts["watched_tags"] += self._watched[:, :-1].sum(axis=1)
        self._watched[:] = False


def run_trial(
    stage: Stage,
    make_policy: Callable[[Stage], Policy],
    days: Sequence[int],
    watch: Callable[[ShownLists], None] = lambda lists: None,
) -> Trial:
    """Lets days pass under a policy.

    Args:
      stage: where it starts; goes on to the last evening, so give it a copy.
      make_policy: the policy on this stage.
      days: consecutive ones.
      watch: is told every batch of lists.
    """
    policy, traffic, tally = make_policy(stage), Open(stage.feed, stage.states), _Tally(stage.feed)
    for day in days:
        for lists in simulate_day(stage.feed, policy, traffic, day):
            stage.journal.add(lists)
            tally.add(lists)
            watch(lists)
        tally.end_day()
    return Trial(**tally.counts, days=len(days))
