"""The matching module above the ranker: the candidates of each request, the same number from every channel.

It tells users apart by group only, and a group is what it makes of a noisy look at their tastes. Every day it ranks,
per group and channel, the items that there are by taste, quality, popularity and freshness, and keeps a pool of twice
as many as a request gets; which half of the pool a request sees is drawn per request.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.corpus import Corpus
from hrlrec_tf.simulator.noise import Purpose, RowNoise
from hrlrec_tf.simulator.requests import FloatArray, IntArray, Requests
from hrlrec_tf.simulator.users import Users

_GROUPS_AT_ONCE = 8  # that are ranked together: memory is this times the items
PAD = -1  # in place of an item where there is none


@dataclasses.dataclass(frozen=True)
class Candidates:
    """What a request may show.

    Attributes:
      items: [requests, N] item indices, channel after channel, PAD where a channel has fewer items.
      groups: [requests] the matcher's group of each user.
      slots: [requests, N] place of each candidate in the group's pool, for what is computed per pool.
    """

    items: IntArray
    groups: IntArray
    slots: IntArray

    def __getitem__(self, rows: slice) -> "Candidates":
        """Those of some of the requests."""
        return Candidates(self.items[rows], self.groups[rows], self.slots[rows])


class Matcher:
    """Candidates of one world, day by day."""

    def __init__(self, config: WorldConfig, users: Users, corpus: Corpus) -> None:
        self._config, self._users, self._corpus = config, users, corpus
        rng = np.random.default_rng([config.seed, 5])
        self.prototypes = rng.standard_normal((config.matcher_groups, config.topics), dtype=np.float32)
        self._misjudged = config.matcher_noise * rng.standard_normal((config.users, config.topics), dtype=np.float32)
        self._halves = RowNoise(config.seed, Purpose.CANDIDATES)
        self._members = [np.flatnonzero(corpus.channels == channel) for channel in range(len(config.channel_names))]
        self._day = -1

    @property
    def pool_size(self) -> int:
        """Items kept per group and channel."""
        return 2 * self._config.candidates_per_channel

    @property
    def most_candidates(self) -> int:
        """Columns of `candidates` on the day that has most of them."""
        ordinary = len(self._members) * self._config.candidates_per_channel
        return max([ordinary, *(sum(self._counts(shock.day)) for shock in self._config.shocks)])

    def pools(self, day: int) -> IntArray:
        """[groups, channels * pool_size]: each group's items of a day, best first within a channel, then PAD."""
        if day != self._day:
            self._pools, self._day = self._make_pools(day), day
        return self._pools

    def candidates(self, requests: Requests) -> Candidates:
        """The candidates of requests of one day."""
        day = requests.day
        pools, groups = self.pools(day), self._groups(requests)
        counts = self._counts(day)
        bits = self._halves.rows(sum(counts), requests.users, day, requests.numbers) < 0.5
        slots = np.empty(bits.shape, np.int32)
        first = 0
        for channel, count in enumerate(counts):
            # One of each of the first pairs, then all that is left; a pool that is too small is taken whole.
            pairs = min(max(self._kept[channel] - count, 0), count)
            place, columns = np.arange(count), slice(first, first + count)
            slots[:, columns] = channel * self.pool_size + np.where(place < pairs, 2 * place, pairs + place)
            slots[:, columns] += bits[:, columns] & (place < pairs)
            first += count
        return Candidates(pools[groups[:, np.newaxis], slots], groups, slots)

    def _counts(self, day: int) -> list[int]:
        """Candidates of each channel; what shocks do to the matcher."""
        changes = zip(self._config.shock_sizes("flood", day), self._config.shock_sizes("outage", day), strict=True)
        usual = self._config.candidates_per_channel
        return [round(usual * min(1 + flood, 2.0) * max(1 - outage, 0.0)) for flood, outage in changes]

    def _groups(self, requests: Requests) -> IntArray:
        """[requests]: the prototype nearest to what the matcher believes of each user's taste."""
        tastes = self._users.tastes_at(requests.users, self._config.taste_drift * requests.day)
        tastes += self._misjudged[requests.users]
        nearness = tastes @ self.prototypes.T - 0.5 * np.square(self.prototypes).sum(axis=1)
        return nearness.argmax(axis=1).astype(np.int32)

    def _make_pools(self, day: int) -> IntArray:
        config, corpus = self._config, self._corpus
        common = config.matcher_quality * corpus.quality + corpus.popularity
        common = common + config.freshness_strength * corpus.freshness(day)
        pools = np.full((config.matcher_groups, len(config.channel_names), self.pool_size), PAD, np.int32)
        born = [members[corpus.birth_days[members] <= day] for members in self._members]
        self._kept = [min(self.pool_size, len(members)) for members in born]  # of each channel's pool
        for channel, (members, kept) in enumerate(zip(born, self._kept, strict=True)):
            for first in range(0, config.matcher_groups, _GROUPS_AT_ONCE):
                groups = slice(first, first + _GROUPS_AT_ONCE)
                scores = self.prototypes[groups] @ corpus.topics[members].T + common[members]
                pools[groups, channel, :kept] = members[best_columns(scores, kept)]
        return pools.reshape(config.matcher_groups, -1)


def best_columns(scores: FloatArray, count: int) -> npt.NDArray[np.int64]:
    """[rows, count]: columns of the largest scores of each row, best first."""
    if count < scores.shape[1]:
        columns = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    else:
        columns = np.broadcast_to(np.arange(count), (len(scores), count))
    order = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)
