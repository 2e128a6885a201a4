"""How users answer a list: the true click and dwell model, and the CTR a ranking earns under it.

  P(click on item i at position t | user, list) = t ** -position_decay * sigmoid(attraction - fatigue)
  attraction = click_intercept + user bias + quality_strength * quality + match
  match      = taste_strength * <taste, topics> + channel_strength * affinity + device_strength * device shift
  fatigue    = channel_fatigue * earlier items of the channel + tag_fatigue * earlier occurrences of the item's tags

A dwell time follows a click only: item length * lognormal completion that grows with the match.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from hrlrec_tf.simulator.config import CHANNELS, WorldConfig
from hrlrec_tf.simulator.corpus import Corpus, make_corpus
from hrlrec_tf.simulator.users import DEVICES, Users, make_users

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

# How much better each channel does on a device, in units of `device_strength`; rows DEVICES, columns CHANNELS.
_DEVICE_SHIFT = np.array([[0.0, -0.5, -1.0, 1.0], [0.0, 0.5, 1.5, 0.0], [1.0, 1.0, 0.0, -1.5]], np.float32)
_MEDIAN_COMPLETION = np.array([0.5, 0.4, 0.3, 0.7], np.float32)  # of the item's length, by channel
_MAX_COMPLETION = 1.5  # re-watching ends somewhere

assert _DEVICE_SHIFT.shape == (len(DEVICES), len(CHANNELS))


@dataclasses.dataclass(frozen=True)
class Requests:
    """A batch of feed requests: who asks, on what. All arrays are [requests]; users and devices are indices."""

    users: IntArray
    devices: npt.NDArray[np.int8]
    timestamps: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.users)


@dataclasses.dataclass(frozen=True)
class Feed:
    """A world that answers lists. Nothing in it changes over time."""

    config: WorldConfig
    users: Users
    corpus: Corpus

    @classmethod
    def create(cls, config: WorldConfig) -> "Feed":
        """The world of `config`; users and corpus have separate random streams, so neither's size alters the other."""
        users_rng, corpus_rng = (np.random.default_rng([config.seed, stream]) for stream in (0, 1))
        return cls(config, make_users(config, users_rng), make_corpus(config, corpus_rng))

    @property
    def examination(self) -> FloatArray:
        """[positions]: probability that a user looks at position 1, 2, ..."""
        positions = np.arange(1, self.config.positions + 1, dtype=np.float64)
        return (positions**-self.config.position_decay).astype(np.float32)

    def match(self, requests: Requests, items: IntArray) -> FloatArray:
        """Log-odds that only this user and device bring to [requests, n] items."""
        config, users, corpus = self.config, self.users, self.corpus
        by_channel = np.float32(config.channel_strength) * users.channel_affinities[requests.users]
        by_channel += np.float32(config.device_strength) * _DEVICE_SHIFT[requests.devices]
        taste: FloatArray = np.einsum("rk,rnk->rn", users.tastes[requests.users], corpus.topics[items])
        taste *= np.float32(config.taste_strength)
        taste += np.take_along_axis(by_channel, corpus.channels[items].astype(np.intp), axis=1)
        return taste

    def attraction(self, requests: Requests, items: IntArray) -> FloatArray:
        """Log-odds of a click on [requests, n] items that are examined first in their list."""
        logits = self.match(requests, items)
        logits += np.float32(self.config.quality_strength) * self.corpus.quality[items]
        logits += (np.float32(self.config.click_intercept) + self.users.click_bias[requests.users])[:, np.newaxis]
        return logits

    def click_probabilities(self, requests: Requests, lists: IntArray) -> FloatArray:
        """True click probability of every row of [requests, positions] lists."""
        logits = self.attraction(requests, lists)
        placed = PlacedCounts(self, len(requests))
        for t in range(lists.shape[1]):
            logits[:, t] -= placed.fatigue(lists[:, t : t + 1])[:, 0]
            placed.add(lists[:, t])
        return self.examination[: lists.shape[1]] * sigmoid(logits)

    def dwell_seconds(
        self, requests: Requests, lists: IntArray, clicks: npt.NDArray[np.bool_], noise: FloatArray
    ) -> FloatArray:
        """Seconds spent on each row of [requests, positions] lists; 0 without a click. `noise` is standard normal."""
        stretch = self.config.dwell_match * self.match(requests, lists) + self.config.dwell_noise * noise
        completion = np.minimum(_MEDIAN_COMPLETION[self.corpus.channels[lists]] * np.exp(stretch), _MAX_COMPLETION)
        return np.where(clicks, completion * self.corpus.length_seconds[lists], 0.0).astype(np.float32)

    def expected_ctr(self, requests: Requests, lists: IntArray) -> float:
        """Mean true click probability of `lists`: [requests, positions], or [positions] for one list for everybody."""
        shape = (len(requests), lists.shape[-1])
        return float(self.click_probabilities(requests, np.broadcast_to(lists, shape)).mean(dtype=np.float64))


class PlacedCounts:
    """What each list holds so far, by channel and by tag: the source of fatigue."""

    def __init__(self, feed: Feed, lists: int) -> None:
        """`lists` empty lists."""
        self._feed = feed
        self._rows = np.arange(lists)[:, np.newaxis]
        self._channels = np.zeros((lists, len(CHANNELS)), np.float32)
        self._tags = np.zeros((lists, feed.corpus.tag_count + 1), np.float32)  # the last column is "no tag", kept at 0

    def add(self, items: IntArray) -> None:
        """Places one item, [lists], at the end of each list."""
        corpus = self._feed.corpus
        self._channels[self._rows[:, 0], corpus.channels[items]] += 1.0
        self._tags[self._rows, corpus.tags[items]] += 1.0  # an item's tags are distinct
        self._tags[:, -1] = 0.0

    def fatigue(self, items: IntArray) -> FloatArray:
        """Log-odds that each of [lists, n] items would lose if it came next."""
        corpus, config = self._feed.corpus, self._feed.config
        fatigue: FloatArray = np.float32(config.channel_fatigue) * self._channels[self._rows, corpus.channels[items]]
        seen_tags = self._tags[self._rows[..., np.newaxis], corpus.tags[items]].sum(axis=-1)
        fatigue += np.float32(config.tag_fatigue) * seen_tags
        return fatigue


def oracle_lists(feed: Feed, requests: Requests) -> IntArray:
    """[requests, positions]: greedy lists of a ranker that knows every user; memory requests * items, for analysis."""
    every_item = np.broadcast_to(np.arange(feed.config.items, dtype=np.int32), (len(requests), feed.config.items))
    logits = feed.attraction(requests, every_item)
    placed = PlacedCounts(feed, len(requests))
    lists = np.empty((len(requests), feed.config.positions), np.int32)
    for t in range(feed.config.positions):
        lists[:, t] = (logits - placed.fatigue(every_item)).argmax(axis=1)
        placed.add(lists[:, t])
        np.put_along_axis(logits, lists[:, t : t + 1].astype(np.intp), -np.inf, axis=1)
    return lists


def common_list(feed: Feed, requests: Requests) -> IntArray:
    """[positions]: the greedy best single list for all `requests`; memory requests * items, for analysis."""
    every_item = np.arange(feed.config.items, dtype=np.int32)
    logits = feed.attraction(requests, np.broadcast_to(every_item, (len(requests), feed.config.items)))
    placed = PlacedCounts(feed, 1)
    chosen = np.empty(feed.config.positions, np.int32)
    for t in range(feed.config.positions):
        chosen[t] = sigmoid(logits - placed.fatigue(every_item[np.newaxis])).mean(axis=0).argmax()
        placed.add(chosen[t : t + 1])
        logits[:, chosen[t]] = -np.inf
    return chosen


def common_ctr_bound(feed: Feed, requests: Requests) -> float:
    """A CTR that no single list for all `requests` can exceed.

    Without fatigue, which only lowers clicks, the best list is the items by mean click probability, because
    examination falls with position (rearrangement inequality). Memory requests * items, for analysis.
    """
    every_item = np.broadcast_to(np.arange(feed.config.items, dtype=np.int32), (len(requests), feed.config.items))
    mean_click = sigmoid(feed.attraction(requests, every_item)).mean(axis=0, dtype=np.float64)
    return float((np.sort(mean_click)[::-1][: feed.config.positions] * feed.examination).mean())


def sigmoid(logits: FloatArray) -> FloatArray:
    """1 / (1 + exp(-logits)), elementwise; safe at both ends."""
    probabilities: FloatArray = np.float32(0.5) * (np.float32(1.0) + np.tanh(np.float32(0.5) * logits))
    return probabilities
