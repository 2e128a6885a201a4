"""What the feed can show: items with channel, topics, tags, quality and popularity."""

import dataclasses

import numpy as np
import numpy.typing as npt

from hrlrec_tf.simulator.config import WorldConfig

MAX_TAGS = 3

_TAG_COUNT_SHARES = (0.3, 0.4, 0.3)  # of items with 1, 2, 3 tags
_PRIMARY_TOPIC_WEIGHT = 0.8
_MEDIAN_LENGTH_SECONDS = np.array([60.0, 180.0, 600.0, 30.0])  # by kind of channel
_LENGTH_SPREAD = 0.5
_HALF_LIFE_DAYS = np.array([1.0, 7.0, 30.0, 10.0])  # by kind of channel


@dataclasses.dataclass(frozen=True)
class Corpus:
    """All items of a world, one row each.

    Attributes:
      channels: [items], index into the world's channel_names.
      topics: [items, topics], latent, weights that sum to 1: `main_weight` on one topic, the rest on another.
      main_topics, side_topics: [items], which two.
      tags: [items, MAX_TAGS], distinct tag indices; `tag_count` fills the places an item does not use.
      tag_count: number of different tags in the world.
      quality: [items], latent, about standard normal.
      popularity: [items], log exposure weight, about standard normal times the world's spread.
      birth_days: [items], the day an item appears; below 0 for what is older than the world.
      half_life_days: [items], time in which an item's freshness falls by half.
      authors: [items], index of the author.
      length_seconds: [items], time it takes to read or watch the whole item.
    """

    channels: npt.NDArray[np.int8]
    topics: npt.NDArray[np.float32]
    main_topics: npt.NDArray[np.int16]
    side_topics: npt.NDArray[np.int16]
    tags: npt.NDArray[np.int16]
    tag_count: int
    quality: npt.NDArray[np.float32]
    popularity: npt.NDArray[np.float32]
    birth_days: npt.NDArray[np.int32]
    half_life_days: npt.NDArray[np.float32]
    authors: npt.NDArray[np.int32]
    length_seconds: npt.NDArray[np.float32]
    main_weight: np.float32 = np.float32(_PRIMARY_TOPIC_WEIGHT)

    def freshness(self, day: int) -> npt.NDArray[np.float32]:
        """[items]: 1 on the day of birth, halving with every half-life."""
        fresh: npt.NDArray[np.float32] = np.exp2(np.minimum(self.birth_days - day, 0) / self.half_life_days)
        return fresh.astype(np.float32)


def make_corpus(config: WorldConfig, rng: np.random.Generator) -> Corpus:
    """Draws the items of a world. Every channel has items: shares are dealt out, not drawn."""
    dealt = np.searchsorted(np.cumsum(config.channel_shares), (np.arange(config.items) + 0.5) / config.items)
    channels = rng.permutation(np.minimum(dealt, len(config.channel_names) - 1)).astype(np.int8)
    topic_shares = 1.0 / np.sqrt(1.0 + np.arange(config.topics))
    topic_shares /= topic_shares.sum()
    primary = rng.choice(config.topics, config.items, p=topic_shares)
    secondary = (primary + rng.integers(1, config.topics, config.items)) % config.topics
    authors = primary * config.authors_per_topic + rng.integers(0, config.authors_per_topic, config.items)
    author_quality = rng.standard_normal(config.topics * config.authors_per_topic)
    quality = 0.6 * author_quality[authors] + 0.8 * rng.standard_normal(config.items)
    # Better items are shown more, but far from always.
    popularity = config.popularity_spread * (0.4 * quality + 0.9 * rng.standard_normal(config.items))
    kinds = np.array(config.channel_kinds)[channels]
    half_life = config.freshness_half_life * _HALF_LIFE_DAYS[kinds]
    return Corpus(
        channels=channels,
        topics=_topic_weights(primary, secondary, config.topics),
        main_topics=primary.astype(np.int16),
        side_topics=secondary.astype(np.int16),
        tags=_draw_tags(primary, secondary, config, rng),
        tag_count=config.topics * config.tags_per_topic,
        quality=quality.astype(np.float32),
        popularity=popularity.astype(np.float32),
        birth_days=_draw_birth_days(channels, half_life, config, rng),
        half_life_days=half_life.astype(np.float32),
        authors=authors.astype(np.int32),
        length_seconds=_draw_lengths(kinds, rng),
    )


def _topic_weights(
    primary: npt.NDArray[np.int64], secondary: npt.NDArray[np.int64], topics: int
) -> npt.NDArray[np.float32]:
    weights = np.zeros((len(primary), topics), np.float32)
    rows = np.arange(len(primary))
    weights[rows, primary] = _PRIMARY_TOPIC_WEIGHT
    weights[rows, secondary] = 1.0 - _PRIMARY_TOPIC_WEIGHT
    return weights


def _draw_lengths(kinds: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    lengths = _MEDIAN_LENGTH_SECONDS[kinds] * rng.lognormal(0.0, _LENGTH_SPREAD, len(kinds))
    return lengths.astype(np.float32)


def _draw_birth_days(
    channels: npt.NDArray[np.int8], half_life: npt.NDArray[np.float64], config: WorldConfig, rng: np.random.Generator
) -> npt.NDArray[np.int32]:
    """[items]: the first items of every channel are there on day 0, some half-lives old; the others come day by day."""
    place = rng.permutation(config.items)
    order = np.lexsort((place, channels))
    sizes = np.bincount(channels, minlength=len(config.channel_names))
    rank = np.empty(config.items)
    rank[order] = np.arange(config.items) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    old = (rank == 0) | (rank < (1 - config.new_items) * sizes[channels]) | (config.days == 1)
    aged = -np.floor(rng.exponential(2.0, config.items) * half_life)
    return np.where(old, aged, rng.integers(1, max(config.days, 2), config.items)).astype(np.int32)


def _draw_tags(
    primary: npt.NDArray[np.int64], secondary: npt.NDArray[np.int64], config: WorldConfig, rng: np.random.Generator
) -> npt.NDArray[np.int16]:
    """[items, MAX_TAGS]: the first two tags name the primary topic, a third one the secondary topic."""
    per_topic = config.tags_per_topic
    first = rng.integers(0, per_topic, config.items)
    second = (first + rng.integers(1, per_topic, config.items)) % per_topic  # another tag of the same topic
    third = rng.integers(0, per_topic, config.items)
    tags = np.stack([primary * per_topic + first, primary * per_topic + second, secondary * per_topic + third], axis=1)
    counts = rng.choice(np.arange(1, MAX_TAGS + 1), config.items, p=_TAG_COUNT_SHARES)
    unused = np.arange(MAX_TAGS) >= counts[:, np.newaxis]
    return np.where(unused, config.topics * per_topic, tags).astype(np.int16)
