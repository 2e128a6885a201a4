"""The world itself: how much a user likes an item here and now.

  appeal = click_intercept + channel intercept + user bias + quality_strength * quality + match
           + freshness_strength * freshness + mood_strength * weight of the mood's topic in the item
  match  = taste_strength * <taste, topics> + channel_strength * affinity + device_strength * device shift
           + hour_strength * how far the channel's time of day is

`clicks.py` makes clicks of it. A dwell time follows a click only: item length * lognormal completion that grows with
the match.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from hrlrec_tf.simulator.config import CHANNELS, WorldConfig
from hrlrec_tf.simulator.corpus import Corpus, make_corpus
from hrlrec_tf.simulator.matcher import Matcher
from hrlrec_tf.simulator.requests import FloatArray, IntArray, Requests
from hrlrec_tf.simulator.users import DEVICES, Users, make_users

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

# How much better each kind of channel does on a device, in units of `device_strength`; rows DEVICES, columns CHANNELS.
_DEVICE_SHIFT = np.array([[0.0, -0.5, -1.0, 1.0], [0.0, 0.5, 1.5, 0.0], [1.0, 1.0, 0.0, -1.5]], np.float32)
_MEDIAN_COMPLETION = np.array([0.5, 0.4, 0.3, 0.7], np.float32)  # of the item's length, by kind
_MAX_COMPLETION = 1.5  # re-watching ends somewhere
_PEAK_HOURS = np.array([8.0, 13.0, 21.0, 18.0])  # by kind

assert _DEVICE_SHIFT.shape == (len(DEVICES), len(CHANNELS))


@dataclasses.dataclass(frozen=True)
class Feed:
    """A world: nothing in it depends on what is shown (see `state.py` for what does)."""

    config: WorldConfig
    users: Users
    corpus: Corpus
    matcher: Matcher

    @classmethod
    def create(cls, config: WorldConfig) -> "Feed":
        """The world of `config`; users and corpus have separate random streams, so neither's size alters the other."""
        users_rng, corpus_rng = (np.random.default_rng([config.seed, stream]) for stream in (0, 1))
        users, corpus = make_users(config, users_rng), make_corpus(config, corpus_rng)
        return cls(config, users, corpus, Matcher(config, users, corpus))

    def match(self, requests: Requests, items: IntArray) -> FloatArray:
        """Log-odds that only this user, device and hour bring to [requests, n] items."""
        tastes = self.users.tastes_at(requests.users, self.config.taste_drift * requests.day)
        return self._liking(np.float32(self.config.taste_strength) * tastes, requests, items)

    def appeal(self, requests: Requests, items: IntArray) -> FloatArray:
        """Log-odds of a click on [requests, n] items that are looked at first in their list."""
        config = self.config
        wishes = np.float32(config.taste_strength) * self.users.tastes_at(
            requests.users, config.taste_drift * requests.day
        )
        wishes[np.arange(len(requests)), requests.moods] += np.float32(config.mood_strength)
        logits = self._liking(wishes, requests, items)
        logits += self.item_appeal(requests.day)[items]
        logits += self.users.click_bias[requests.users][:, np.newaxis]
        return logits

    def item_appeal(self, day: int) -> FloatArray:
        """[items]: the part of `appeal` that is the same for everybody."""
        config, corpus = self.config, self.corpus
        quality = corpus.quality + np.array(config.shock_sizes("quality", day), np.float32)[corpus.channels]
        appeal = config.click_intercept + np.array(config.channel_intercepts, np.float32)[corpus.channels]
        appeal = appeal + config.quality_strength * quality + config.freshness_strength * corpus.freshness(day)
        return appeal.astype(np.float32)

    def dwell_seconds(
        self, requests: Requests, lists: IntArray, clicks: npt.NDArray[np.bool_], noise: FloatArray
    ) -> FloatArray:
        """Seconds spent on each row of [requests, positions] lists; 0 without a click. `noise` is standard normal."""
        config, channels = self.config, self.corpus.channels[lists]
        stretch = config.dwell_match * self.match(requests, lists) + config.dwell_noise * noise
        completion = np.minimum(_MEDIAN_COMPLETION[config.channel_kinds][channels] * np.exp(stretch), _MAX_COMPLETION)
        completion = completion * np.array(config.dwell_scales, np.float32)[channels]
        return np.where(clicks, completion * self.corpus.length_seconds[lists], 0.0).astype(np.float32)

    def _liking(self, wishes: FloatArray, requests: Requests, items: IntArray) -> FloatArray:
        """<wishes, topics> and what the channel brings: [requests, n]."""
        config, corpus, kinds = self.config, self.corpus, self.config.channel_kinds
        by_channel = np.float32(config.channel_strength) * self.users.channel_affinities[requests.users]
        by_channel += np.float32(config.device_strength) * _DEVICE_SHIFT[:, kinds][requests.devices]
        hours = (requests.timestamps % DAY_MS)[:, np.newaxis] / HOUR_MS
        by_channel += (config.hour_strength * np.cos(2 * np.pi * (hours - _PEAK_HOURS[kinds]) / 24)).astype(np.float32)
        # An item has two topics at most: two look-ups instead of a product over all topics.
        rows = np.arange(len(requests))[:, np.newaxis]
        liking: FloatArray = wishes[rows, corpus.main_topics[items]]
        liking *= corpus.main_weight
        liking += (1 - corpus.main_weight) * wishes[rows, corpus.side_topics[items]]
        liking += by_channel[rows, corpus.channels[items]]
        return liking


def sigmoid(logits: FloatArray) -> FloatArray:
    """1 / (1 + exp(-logits)), elementwise; safe at both ends."""
    probabilities: FloatArray = np.float32(0.5) * (np.float32(1.0) + np.tanh(np.float32(0.5) * logits))
    return probabilities
