"""Days of a feed: users come, a policy ranks, users answer, and what they felt decides about tomorrow."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from hrlrec_tf.simulator import clicks, policy
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.matcher import Candidates
from hrlrec_tf.simulator.noise import Purpose, normal, uniform
from hrlrec_tf.simulator.policy import Choice, Policy
from hrlrec_tf.simulator.requests import FloatArray, IntArray, Requests
from hrlrec_tf.simulator.traffic import Traffic

CHUNK_REQUESTS = 2_048  # that are ranked at a time; what is drawn does not depend on it


@dataclasses.dataclass(frozen=True)
class ShownLists:
    """Lists with what came back; arrays are [requests, positions].

    Attributes:
      requests: who asked, when, on what.
      items: displayed items, as indices; -1 where nothing was.
      choice: places among the candidates, propensities.
      click_probability: the truth behind `clicks`; in no log.
      clicks: the user's clicks.
      seen: whether the user had not left yet; in no log.
      dwell_seconds: time spent on what was clicked.
    """

    requests: Requests
    items: IntArray
    choice: Choice
    click_probability: FloatArray
    clicks: npt.NDArray[np.bool_]
    seen: npt.NDArray[np.bool_]
    dwell_seconds: FloatArray


def show(feed: Feed, ranker: Policy, requests: Requests) -> ShownLists:
    """Asks a policy for lists and lets users answer; changes nothing.

    Raises:
      PolicyError: a list cannot be shown.
    """
    candidates = feed.matcher.candidates(requests)
    who = getattr(ranker, "name", type(ranker).__name__)
    return answer(feed, requests, candidates, ranker.lists(requests, candidates), who)


def answer(feed: Feed, requests: Requests, candidates: Candidates, choice: Choice, who: str) -> ShownLists:
    """What users do with the lists of a choice; `who` made it. Raises PolicyError where a list cannot be shown."""
    items = policy.shown_items(candidates, choice, feed.config.positions, who)
    items = np.where(np.arange(items.shape[1]) < _lengths(feed, requests)[:, np.newaxis], items, -1)
    response = clicks.respond(feed, requests, items)
    keys = (requests.users[:, np.newaxis], requests.day, requests.numbers[:, np.newaxis], items)
    noise = normal(feed.config.seed, Purpose.DWELL, *keys)
    seconds = feed.dwell_seconds(requests, items, response.clicks, noise)
    return ShownLists(requests, items, choice, response.probability, response.clicks, response.seen, seconds)


def _lengths(feed: Feed, requests: Requests) -> npt.NDArray[np.int64]:
    """[requests]: how many rows each list has room for."""
    config = feed.config
    luck = uniform(config.seed, Purpose.LENGTH, requests.users, requests.day, requests.numbers)
    upto = np.cumsum(config.list_lengths or (*[0.0] * (config.positions - 1), 1.0))
    return np.minimum(np.searchsorted(upto, luck, side="right") + 1, config.positions)


def simulate_day(feed: Feed, ranker: Policy, traffic: Traffic, day: int) -> Iterator[ShownLists]:
    """Yields the lists of a day, wave by wave: a user's lists in order of time, all users' not.

    Users' states, which `traffic` holds, are those of the morning before and of the evening after. Memory grows with
    the users and with CHUNK_REQUESTS, not with the requests.
    """
    states = traffic.states
    for users, numbers in traffic.visitors(day):
        wave = traffic.begin(day, users, numbers)
        while len(wave):
            following = []
            for first in range(0, len(wave), CHUNK_REQUESTS):
                part = traffic.take(wave[first : first + CHUNK_REQUESTS])
                if not len(part):
                    return states.next_day()
                lists = show(feed, ranker, part)
                again = states.observe(part, lists.items, lists.clicks, lists.seen)
                following.append(traffic.go_on(part[again], lists.dwell_seconds[again]))
                yield lists
            wave = Requests.concat(following)
    states.next_day()
