"""The policy behind the simulated log: mostly popularity, partly personal, and a little uniform exploration."""

import numpy as np
import numpy.typing as npt

from hrlrec_tf.simulator.feed import Feed, FloatArray, IntArray, Requests


class LoggingPolicy:
    """Popularity draws a pool of candidates; a noisy, partly personal score orders it; a few positions explore."""

    def __init__(self, feed: Feed) -> None:
        """A policy for `feed`; keeps one number per item."""
        self._feed = feed
        self._pool = min(feed.config.policy_pool, feed.config.items)
        self._cumulative = np.cumsum(_capped(feed.corpus.popularity, 1.0 / self._pool))

    def lists(
        self, requests: Requests, rank_rng: np.random.Generator, explore_rng: np.random.Generator
    ) -> tuple[IntArray, npt.NDArray[np.bool_]]:
        """Items and explored flags, both [requests, positions]; no item twice in a list."""
        config = self._feed.config
        draws = explore_rng.random((len(requests), 2, config.positions))
        explored = draws[:, 0] < config.explore_share
        pool, scores = self._scored_pool(requests, rank_rng)
        rows = np.arange(len(requests))
        items = np.empty((len(requests), config.positions), np.int32)
        for t in range(config.positions):
            items[:, t] = pool[rows, scores.argmax(axis=1)]
            at = np.flatnonzero(explored[:, t])
            items[at, t] = _uniform_unplaced(draws[at, 1, t], items[at, :t], config.items)
            np.copyto(scores, -np.inf, where=pool == items[:, t : t + 1])
        return items, explored

    def _scored_pool(self, requests: Requests, rng: np.random.Generator) -> tuple[IntArray, FloatArray]:
        """[requests, pool] candidates with their scores.

        One candidate is drawn from each of `pool` equal slices of the popularity mass. No item is wider than a slice,
        so it comes twice at most and every pool holds at least pool / 2 >= positions different items.
        """
        config = self._feed.config
        noise = rng.random((len(requests), 2, self._pool), dtype=np.float32)
        slices = (np.arange(self._pool) + noise[:, 0].astype(np.float64)) / self._pool
        pool = np.minimum(np.searchsorted(self._cumulative, slices, side="right"), config.items - 1).astype(np.int32)
        scores = np.float32(config.policy_personal) * self._feed.match(requests, pool)
        scores += np.float32(config.policy_quality) * self._feed.corpus.quality[pool]
        # Centred uniform noise of unit variance.
        scores += np.float32(config.policy_noise * 12**0.5) * (noise[:, 1] - np.float32(0.5))
        return pool, scores


def _uniform_unplaced(draws: npt.NDArray[np.float64], placed: IntArray, items: int) -> npt.NDArray[np.int64]:
    """Maps uniform `draws` [n] to items outside `placed` [n, t], every one with the same probability."""
    chosen = (draws * (items - placed.shape[1])).astype(np.int64)
    for taken in np.sort(placed, axis=1).T:
        chosen += chosen >= taken
    return chosen


def _capped(shares: npt.NDArray[np.float64], cap: float) -> npt.NDArray[np.float64]:
    """`shares`, which sum to 1, with none above `cap`; the excess goes to the others in proportion."""
    while shares.max() > cap * (1.0 + 1e-9):
        over = shares >= cap
        shares = np.where(over, cap, shares * ((1.0 - cap * over.sum()) / shares[~over].sum()))
    return shares
