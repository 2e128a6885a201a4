"""What may be asked for lists: policies, and the simple ones that the simulator brings.

A policy sees requests and their candidates and says which candidates to show, in order. It must not look at what no
feed could know (`Feed.users.tastes`, ...), but for the oracle, which is there to show how far one could get.
"""

import dataclasses
from typing import Protocol

import numpy as np
import numpy.typing as npt

from hrlrec_tf.errors import PolicyError
from hrlrec_tf.simulator import clicks
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.matcher import Candidates, best_columns
from hrlrec_tf.simulator.noise import Purpose, RowNoise, uniform
from hrlrec_tf.simulator.requests import FloatArray, IntArray, Requests


@dataclasses.dataclass(frozen=True)
class Choice:
    """Lists as a policy wants them; all [requests, positions].

    Attributes:
      places: columns of the candidates; -1 where nothing is shown.
      explored: whether the place was drawn at random.
      propensity_channel: probability of the shown channel, given what stands above.
      propensity_item: probability of the shown item, given that and its channel.
    """

    places: IntArray
    explored: npt.NDArray[np.bool_]
    propensity_channel: FloatArray
    propensity_item: FloatArray

    @classmethod
    def certain(cls, places: npt.NDArray[np.integer]) -> "Choice":
        """The choice of a policy that does not explore."""
        ones = np.ones(places.shape, np.float32)
        return cls(places.astype(np.int32), np.zeros(places.shape, bool), ones, ones)


class Policy(Protocol):
    """Anything that ranks."""

    def lists(self, requests: Requests, candidates: Candidates) -> Choice:
        """Which candidates to show to requests of one day."""
        ...


def shown_items(candidates: Candidates, choice: Choice, positions: int, who: str) -> IntArray:
    """[requests, positions] items of a choice.

    Raises:
      PolicyError: the policy `who` returned another shape, something outside the candidates, one item twice, or left a
        position empty though candidates were left.
    """
    places, items = choice.places, candidates.items
    if places.shape != (len(items), positions):
        raise PolicyError(
            f"policy {who} returned lists of shape {places.shape} for {len(items)} requests of {positions} positions"
        )
    if places.max(initial=-1) >= items.shape[1] or places.min(initial=0) < -1:
        raise PolicyError(
            f"policy {who} returned place {places.max()} or {places.min()}; candidates stand at 0 to "
            f"{items.shape[1] - 1}, -1 is an empty position"
        )
    shown = np.where(places >= 0, np.take_along_axis(items, np.maximum(places, 0), axis=1), -1)
    enough = (items >= 0).sum(axis=1) >= positions
    outside = (shown < 0) & enough[:, np.newaxis]
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise PolicyError(
            f"policy {who} returned an item outside the candidates: place {places[row, column]} at position "
            f"{column + 1} holds none"
        )
    ordered = np.sort(np.where(shown >= 0, shown, -1 - np.arange(positions)), axis=1)
    if (ordered[:, 1:] == ordered[:, :-1]).any():
        raise PolicyError(f"policy {who} returned one item twice in a list")
    return shown


def explore(
    ranked: npt.NDArray[np.integer],
    candidates: Candidates,
    channels: npt.NDArray[np.int8],
    epsilon: float,
    seed: int,
    requests: Requests,
) -> Choice:
    """Epsilon-greedy lists over a fixed order of candidates, with exact propensities.

    At each position, with probability epsilon any candidate not placed yet, uniformly; else the best one by the order
    that is not placed yet. With n candidates left, n_c of them in the shown item's channel:

      p(item | above)    = (1 - epsilon) [item is the best] + epsilon / n
      p(channel | above) = (1 - epsilon) [channel is the best's] + epsilon n_c / n

    Args:
      ranked: [requests, T] the T best places, best first.
      candidates: [requests, N], at least T per request.
      channels: [items].
      epsilon: share of random positions.
      seed: of the world. requests: key the luck.
    """
    rows, length = np.arange(len(ranked)), ranked.shape[1]
    who = (requests.users[:, np.newaxis], requests.day, requests.numbers[:, np.newaxis], np.arange(length))
    explored = uniform(seed, Purpose.EXPLORE, *who) < epsilon
    draws = uniform(seed, Purpose.RANDOM_ITEM, *who)
    count_channels = int(channels.max()) + 1
    of_channel = np.where(candidates.items >= 0, channels[candidates.items], -1)
    left = np.stack([(of_channel == channel).sum(axis=1) for channel in range(count_channels)], axis=1)
    real = np.argsort(candidates.items < 0, axis=1, kind="stable") if (candidates.items < 0).any() else None
    free = np.ones(candidates.items.shape, bool)
    out = np.empty((4, *ranked.shape))
    for t in range(length):
        unplaced = free[rows[:, np.newaxis], ranked]
        best = ranked[rows, unplaced.argmax(axis=1)]
        count = left.sum(axis=1)
        at = np.flatnonzero(explored[:, t])
        drawn = _unplaced((draws[at, t] * count[at]).astype(np.int64), out[0, at, :t].astype(np.int64), real, at)
        place = best.copy()
        place[at] = drawn
        channel, best_channel = of_channel[rows, place], of_channel[rows, best]
        p_item = (1 - epsilon) * (place == best) + epsilon / count
        p_channel = (1 - epsilon) * (channel == best_channel) + epsilon * left[rows, channel] / count
        out[:, :, t] = place, explored[:, t], p_channel, p_item / p_channel
        free[rows, place] = False
        left[rows, channel] -= 1
    return Choice(out[0].astype(np.int32), out[1].astype(bool), out[2].astype(np.float32), out[3].astype(np.float32))


def _unplaced(
    chosen: npt.NDArray[np.int64], placed: npt.NDArray[np.int64], real: npt.NDArray[np.int64] | None, rows: npt.NDArray
) -> npt.NDArray[np.int64]:
    """The `chosen`-th place that holds a candidate and is not among `placed` [n, t]."""
    if real is not None:  # places in the order of `real`, where the empty ones come last
        inverse = np.argsort(real[rows], axis=1)
        placed = np.take_along_axis(inverse, placed, axis=1)
    for taken in np.sort(placed, axis=1).T:
        chosen = chosen + (chosen >= taken)
    return chosen if real is None else np.take_along_axis(real[rows], chosen[:, np.newaxis], axis=1)[:, 0]


class LoggingPolicy:
    """The policy behind the simulated log: quality, a little taste, much noise, some uniform exploration.

    It knows users as the matcher does, by group.
    """

    name = "logging"

    def __init__(self, feed: Feed) -> None:
        self._feed, self._day = feed, -1
        self._noise = RowNoise(feed.config.seed, Purpose.RANKING)

    def lists(self, requests: Requests, candidates: Candidates) -> Choice:
        config = self._feed.config
        scores = self._pool_scores(requests.day)[candidates.groups[:, np.newaxis], candidates.slots]
        noise = self._noise.rows(scores.shape[1], requests.users, requests.day, requests.numbers)
        # Centred uniform noise of unit variance.
        scores = scores + np.float32(config.policy_noise * 12**0.5) * (noise - np.float32(0.5))
        ranked = best_columns(np.where(candidates.items >= 0, scores, -np.inf), config.positions)
        return explore(ranked, candidates, self._feed.corpus.channels, config.explore_share, config.seed, requests)

    def _pool_scores(self, day: int) -> FloatArray:
        """[groups, pool]: what the policy thinks of each item of each group's pool."""
        if day != self._day:
            feed, config = self._feed, self._feed.config
            pools = feed.matcher.pools(day)
            tastes = feed.matcher.prototypes
            liking = feed.corpus.main_weight * np.take_along_axis(tastes, feed.corpus.main_topics[pools], axis=1)
            scores = config.policy_personal * config.taste_strength * liking
            scores = scores + config.policy_quality * feed.corpus.quality[pools] + feed.corpus.popularity[pools]
            scores = scores + np.array(config.policy_channels)[feed.corpus.channels[pools]]
            self._scores, self._day = scores.astype(np.float32), day
        return self._scores


class Oracle:
    """Knows every user: at each position the candidate with the largest true chance of a click, given those above.

    Best possible where list effects are off (`LIST_EFFECTS_OFF`), short-sighted otherwise.
    """

    name = "oracle"

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def lists(self, requests: Requests, candidates: Candidates) -> Choice:
        return Choice.certain(clicks.greedy_lists(self._feed, requests, candidates.items))


class Uniform:
    """Any candidates in any order."""

    name = "uniform"

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def lists(self, requests: Requests, candidates: Candidates) -> Choice:
        config = self._feed.config
        ranked = np.argsort(candidates.items < 0, axis=1, kind="stable")[:, : config.positions]
        return explore(ranked, candidates, self._feed.corpus.channels, 1.0, config.seed, requests)
