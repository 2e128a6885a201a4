"""The feed as a batched TF-Agents environment, in which an agent learns from users instead of from a log.

A batch has one user per slot, all different. An episode is a visit: lists until the user asks for no other, or until
the day ends. TF-Agents' rule for batched environments holds: `step` begins a new visit, of another user, in every slot
that stood at its last step, and ignores what the action says there.

Days pass as in `Fixed` traffic: all slots together serve the world's requests of the day (`requests_per_day`, more or
less by its day of the week), which takes about requests_per_day / batch_size steps plus one per visit that begins. The
step that uses them up ends all visits. Days go on after the world's last one, without new items. `reset` begins new
visits; users' memories and the calendar stay, so for a fresh world make a fresh environment.

All luck is keyed by the world's seed: the same actions meet the same users and clicks.
"""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
from tf_agents.environments import py_environment
from tf_agents.specs import array_spec
from tf_agents.trajectories import time_step as ts

from hrlrec_tf.errors import ConfigError
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.corpus import MAX_TAGS
from hrlrec_tf.simulator.days import ShownLists, answer
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.matcher import PAD, Candidates
from hrlrec_tf.simulator.policy import Choice
from hrlrec_tf.simulator.requests import IntArray, Requests
from hrlrec_tf.simulator.state import UserStates
from hrlrec_tf.simulator.traffic import Fixed
from hrlrec_tf.simulator.users import AGE_BANDS, DEVICES, GENDERS


class FeedEnvironment(py_environment.PyEnvironment):
    """One world; observations are what a feed knows when a request arrives.

    | part | shape | |
    |---|---|---|
    | observation `user`, `day`, `device`, `age_band`, `gender` | [] int32 | codes; days from 0 |
    | `timestamp` | [] int64 | ms UTC |
    | `tenure_days` | [] float32 | |
    | `candidate_item`, `candidate_channel` | [N] int32 | PAD (-1) where there is none, anywhere in the row |
    | `candidate_tags` | [N, MAX_TAGS] int32 | -1 where an item has fewer |
    | action | [T] int32 | places among the candidates, from above; no repeats |
    | reward | [] float32 | clicks of the list |
    | discount | [] float32 | 1, and 0 at the end of a visit |

    At a visit's last step the observation is still that of its last request.

    Attributes:
      feed: the world.
      states: what users remember.
      day: of the requests that are open.
      shown: the lists that the latest step showed, of the slots that were within a visit; None before the first. It
        holds what no feed knows: for measurements, not for agents.
    """

    def __init__(self, world: WorldConfig | Feed, batch_size: int, repair: bool = False) -> None:
        """Opens the world on the morning of day 0.

        Args:
          world: the world, or its values.
          batch_size: users at once.
          repair: puts the first free candidate in place of a repeat or of no candidate, which are refused otherwise.
            For policies that cannot know, such as TF-Agents' random ones; then the list is not the action.

        Raises:
          ConfigError: there are fewer users than slots.
        """
        super().__init__()
        self.feed = world if isinstance(world, Feed) else Feed.create(world)
        config = self.feed.config
        if not 1 <= batch_size <= config.users:
            raise ConfigError(f"batch_size must be from 1 to the world's {config.users} users, got {batch_size}")
        self.states, self.day = UserStates(self.feed), 0
        self.shown: ShownLists | None = None
        self._size, self._repair = batch_size, repair
        self._width = self.feed.matcher.most_candidates
        self._traffic = Fixed(self.feed, self.states)
        self._rounds = 0  # of arrivals, on the day
        self._left = round(self._traffic.requests_on(0))
        self._had = np.zeros(config.users, np.int32)
        self._over: npt.NDArray[np.bool_] = np.ones(batch_size, bool)
        zeros = np.zeros(batch_size, np.int32)
        self._requests = Requests(0, zeros, zeros, zeros.astype(np.int8), zeros, zeros.astype(np.int64))
        self._days = zeros.copy()  # of each slot's request: one that is over may be of yesterday
        self._candidates = np.full((batch_size, self._width), PAD, np.int32)

    @property
    def batched(self) -> bool:
        """True: time steps and actions have a leading dimension of slots, even of one."""
        return True

    @property
    def batch_size(self) -> int:
        """Slots."""
        return self._size

    def observation_spec(self) -> dict[str, array_spec.ArraySpec]:
        """See the class."""
        config, corpus, wide = self.feed.config, self.feed.corpus, (self._width,)
        return {
            "user": _codes((), 0, config.users, "user"),
            "day": array_spec.ArraySpec((), np.int32, "day"),
            "timestamp": array_spec.ArraySpec((), np.int64, "timestamp"),
            "device": _codes((), 0, len(DEVICES), "device"),
            "age_band": _codes((), 0, len(AGE_BANDS), "age_band"),
            "gender": _codes((), 0, len(GENDERS), "gender"),
            "tenure_days": array_spec.ArraySpec((), np.float32, "tenure_days"),
            "candidate_item": _codes(wide, PAD, config.items, "candidate_item"),
            "candidate_channel": _codes(wide, PAD, len(config.channel_names), "candidate_channel"),
            "candidate_tags": _codes((*wide, MAX_TAGS), -1, corpus.tag_count, "candidate_tags"),
        }

    def action_spec(self) -> array_spec.BoundedArraySpec:
        """See the class."""
        return _codes((self.feed.config.positions,), 0, self._width, "places")

    def _reset(self) -> ts.TimeStep:
        self._over[:] = True
        self._begin(np.arange(self._size))
        return ts.restart(self._observation(), batch_size=self._size)

    def _step(self, action: npt.NDArray[np.integer]) -> ts.TimeStep:
        """Shows lists in the slots within a visit and begins visits in the others.

        Raises:
          PolicyError: an action cannot be shown.
        """
        begins, within = np.flatnonzero(self._over), np.flatnonzero(~self._over)
        reward = np.zeros(self._size, np.float32)
        discount = np.ones(self._size, np.float32)
        kinds = np.full(self._size, ts.StepType.MID, np.int32)
        if len(within):
            lists, goes_on = self._show(within, np.asarray(action)[within])
            reward[within] = lists.clicks.sum(axis=1)
            ends = within[~goes_on]
            discount[ends], kinds[ends], self._over[ends] = 0.0, ts.StepType.LAST, True
        self._begin(begins)
        kinds[begins] = ts.StepType.FIRST
        return ts.TimeStep(kinds, reward, discount, self._observation())

    def _show(self, slots: npt.NDArray[np.int64], places: IntArray) -> tuple[ShownLists, npt.NDArray[np.bool_]]:
        """The lists of some slots, and in which of them the visit goes on; their requests move on."""
        requests, items = self._requests[slots], self._candidates[slots]
        if self._repair:
            places = repaired(places, items)
        candidates = Candidates(items, np.zeros(len(slots), np.int32), np.zeros_like(items))
        lists = answer(self.feed, requests, candidates, Choice.certain(places), "of the agent")
        self.shown = lists
        goes_on = self.states.observe(requests, lists.items, lists.clicks, lists.seen)
        self._left -= len(slots)
        if self._left <= 0:
            self._next_day()
            goes_on[:] = False
        following = self._traffic.go_on(requests[goes_on], lists.dwell_seconds[goes_on])
        goes_on &= np.isin(requests.users, following.users)  # midnight ends visits
        self._put(slots[goes_on], following)
        return lists, goes_on

    def _next_day(self) -> None:
        self.states.next_day()
        self.day, self._rounds = self.day + 1, 0
        self._left = round(self._traffic.requests_on(self.day))
        self._had[:] = 0

    def _begin(self, slots: npt.NDArray[np.int64]) -> None:
        """Lets visits begin."""
        if not len(slots):
            return
        others = np.delete(self._requests.users, slots)
        users = self._traffic.draw(self.day, self._rounds, len(slots), busy=others)
        self._put(slots, self._traffic.begin(self.day, users, self._had[users]))
        self._rounds += 1
        self._had[users] += self.feed.config.max_requests
        self._over[slots] = False

    def _put(self, slots: npt.NDArray[np.int64], requests: Requests) -> None:
        """Opens requests."""
        if not len(slots):
            return
        self._requests, self._days[slots] = _replaced(self._requests, slots, requests), requests.day
        items = self.feed.matcher.candidates(requests).items
        self._candidates[slots] = PAD
        self._candidates[slots, : items.shape[1]] = items

    def _observation(self) -> dict[str, npt.NDArray[Any]]:
        requests, items, feed = self._requests, self._candidates.copy(), self.feed
        absent, tags = items == PAD, feed.corpus.tags[items]
        no_tag = absent[..., np.newaxis] | (tags >= feed.corpus.tag_count)
        return {
            "user": requests.users,
            "day": self._days.copy(),
            "timestamp": requests.timestamps,
            "device": requests.devices.astype(np.int32),
            "age_band": feed.users.age_band[requests.users].astype(np.int32),
            "gender": feed.users.gender[requests.users].astype(np.int32),
            "tenure_days": feed.users.tenure_days[requests.users],
            "candidate_item": items,
            "candidate_channel": np.where(absent, PAD, feed.corpus.channels[items]).astype(np.int32),
            "candidate_tags": np.where(no_tag, -1, tags).astype(np.int32),
        }


def repaired(places: npt.NDArray[np.integer], items: IntArray) -> npt.NDArray[np.int32]:
    """[lists, T] places without repeats and without places that hold no candidate.

    Args:
      places: [lists, T] of an action.
      items: [lists, N] candidates, below 0: none.

    Returns:
      `places`, with the first candidate that stands nowhere in the list in place of each that cannot be shown; -1 where
      none is left.
    """
    inside = (places >= 0) & (places < items.shape[1])
    good = inside & (np.take_along_axis(items, np.where(inside, places, 0), axis=1) >= 0)
    for t in range(1, places.shape[1]):
        good[:, t] &= (places[:, :t] != places[:, t : t + 1]).all(axis=1)
    out = np.where(good, places, -1).astype(np.int32)
    for row in np.flatnonzero(~good.all(axis=1)):
        free = np.setdiff1d(np.flatnonzero(items[row] >= 0), out[row])
        gaps = np.flatnonzero(~good[row])[: len(free)]
        out[row, gaps] = free[: len(gaps)]
    return out


def _codes(shape: tuple[int, ...], low: int, count: int, name: str) -> array_spec.BoundedArraySpec:
    """Whole numbers from `low` to `count` - 1."""
    return array_spec.BoundedArraySpec(shape, np.int32, low, count - 1, name)


def _replaced(requests: Requests, slots: npt.NDArray[np.int64], new: Requests) -> Requests:
    """`requests` with others in some slots, all of the new ones' day; arrays are new, as observations hold the old."""
    arrays = {}
    for field in dataclasses.fields(Requests):
        if field.name != "day":
            arrays[field.name] = getattr(requests, field.name).copy()
            arrays[field.name][slots] = getattr(new, field.name)
    return Requests(new.day, **arrays)
