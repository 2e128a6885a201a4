"""What users remember: which tags they know, and how satisfied the last days left them.

novelty of an item  = mean over its tags of exp(-familiarity); familiarity grows by 1 with every row seen with the tag
                      and keeps `familiarity_decay` of itself per day
satisfaction        = click_satisfaction * clicks + novelty_satisfaction * summed novelty of the clicked items
another request     : sigmoid(logit(another_request) + another_satisfaction * (satisfaction - _ORDINARY))
rate of visits      * exp(return_strength * mood of the last days), a moving average of satisfaction - _ORDINARY
"""

import numpy as np
import numpy.typing as npt
from scipy import special

from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.noise import Purpose, uniform
from hrlrec_tf.simulator.requests import FloatArray, IntArray, Requests

_ORDINARY = 0.75  # satisfaction that leaves a user as before
_MEMORY_OF_LISTS = 0.9  # share of the moving average that a list leaves
_MOST = 3.0  # of the moving average, so that nobody visits beyond all bounds


class UserStates:
    """All users' memory; [users, tags] numbers at most."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._familiarity = np.zeros((feed.config.users, feed.corpus.tag_count + 1), np.float32)
        self.satisfaction = np.zeros(feed.config.users, np.float32)

    def copy(self, feed: Feed) -> "UserStates":
        """One that goes on on its own, in a feed of the same users."""
        made = UserStates(feed)
        made._familiarity[:], made.satisfaction[:] = self._familiarity, self.satisfaction
        return made

    def next_day(self) -> None:
        """A night passes."""
        self._familiarity *= np.float32(self._feed.config.familiarity_decay)

    def novelty(self, requests: Requests, items: IntArray) -> FloatArray:
        """[requests, n]: 1 for items whose tags a user has never seen, towards 0 with familiarity."""
        corpus = self._feed.corpus
        total, used = np.zeros(items.shape, np.float32), np.zeros(items.shape, np.float32)
        for k in range(corpus.tags.shape[1]):
            tags = corpus.tags[items, k]
            real = tags < corpus.tag_count
            total += np.exp(-self._familiarity[requests.users[:, np.newaxis], tags]) * real
            used += real
        return total / used

    def observe(
        self, requests: Requests, lists: IntArray, clicks: npt.NDArray[np.bool_], seen: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.bool_]:
        """Lets lists sink in.

        Args:
          requests: whose lists they are.
          lists, clicks, seen: [requests, positions].

        Returns:
          [requests]: who asks for another list.
        """
        config, corpus, users = self._feed.config, self._feed.corpus, requests.users
        novelty = (self.novelty(requests, lists) * clicks).sum(axis=1)
        value = config.click_satisfaction * clicks.sum(axis=1) + config.novelty_satisfaction * novelty
        for t in range(lists.shape[1]):
            self._familiarity[users[:, np.newaxis], corpus.tags[lists[:, t]]] += seen[:, t, np.newaxis]
        gain = value - _ORDINARY
        kept = np.float32(_MEMORY_OF_LISTS)
        self.satisfaction[users] = np.clip(kept * self.satisfaction[users] + (1 - kept) * gain, -_MOST, _MOST)
        wish = special.logit(config.another_request) + config.another_satisfaction * gain
        luck = uniform(config.seed, Purpose.ANOTHER, users, requests.day, requests.numbers)
        return (luck < special.expit(wish)) & (requests.numbers + 1 < config.max_requests)

    def visit_rates(self) -> npt.NDArray[np.float64]:
        """[users]: relative rate of visits."""
        activity = self._feed.users.activity
        return activity * np.exp(self._feed.config.return_strength * self.satisfaction)
