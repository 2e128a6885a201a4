import numpy as np
import pytest

from hrlrec_tf.simulator.config import CHANNELS, WorldConfig
from hrlrec_tf.simulator.corpus import make_corpus


@pytest.fixture(scope="module")
def corpus():
    return make_corpus(WorldConfig(), np.random.default_rng(1))


def test_channels_are_dealt_by_share(corpus):
    assert CHANNELS == ("news", "article", "long_video", "short_video")
    assert np.bincount(corpus.channels).tolist() == [300, 500, 400, 800]


def test_every_channel_has_an_item_in_the_smallest_world():
    corpus = make_corpus(
        WorldConfig(items=20, positions=5, channel_shares=(0.05, 0.05, 0.05, 0.85)), np.random.default_rng(0)
    )
    assert np.bincount(corpus.channels).tolist() == [1, 1, 1, 17]


def test_items_have_one_to_three_distinct_tags_of_their_topics(corpus):
    config = WorldConfig()
    top_two = np.argsort(-corpus.topics, axis=1)[:, :2]
    counts = []
    for tags, topics in zip(corpus.tags, top_two, strict=True):
        used = tags[tags < corpus.tag_count]
        counts.append(len(used))
        assert len(set(used.tolist())) == len(used)
        assert set((used // config.tags_per_topic).tolist()) <= set(topics.tolist())
    assert set(counts) == {1, 2, 3}


def test_latents_and_features_are_plausible(corpus):
    assert np.allclose(corpus.topics.sum(axis=1), 1.0)
    assert np.isclose(corpus.popularity.std(), 0.8, atol=0.1)
    assert 0.1 < np.corrcoef(corpus.quality, corpus.popularity)[0, 1] < 0.9
    medians = [np.median(corpus.length_seconds[corpus.channels == c]) for c in range(len(CHANNELS))]
    assert medians[2] > medians[1] > medians[0] > medians[3]  # long video, article, news, short video
    per_author = np.bincount(corpus.authors)
    assert per_author.max() > 1 and len(per_author) <= 60


def test_items_are_born_before_and_during_the_days():
    corpus = make_corpus(WorldConfig(new_items=0.3, days=10), np.random.default_rng(0))
    born = corpus.birth_days
    assert 0.25 < (born > 0).mean() < 0.35
    assert born.max() == 9 and born.min() < -20
    assert all((born[corpus.channels == channel] <= 0).any() for channel in range(4))
    ages = [np.median(-born[(corpus.channels == channel) & (born <= 0)]) for channel in range(4)]
    assert ages[2] > ages[3] > ages[1] > ages[0]  # long videos live longest, news shortest


def test_freshness_halves_with_every_half_life():
    corpus = make_corpus(WorldConfig(new_items=0.3, days=10), np.random.default_rng(0))
    np.testing.assert_allclose(corpus.freshness(9)[corpus.birth_days == 9], 1.0)
    want = 0.5 ** (np.maximum(9 - corpus.birth_days, 0) / corpus.half_life_days)
    np.testing.assert_allclose(corpus.freshness(9), want, rtol=1e-5)
    slower = make_corpus(WorldConfig(new_items=0.3, days=10, freshness_half_life=2.0), np.random.default_rng(0))
    np.testing.assert_allclose(slower.half_life_days, 2 * corpus.half_life_days)


@pytest.mark.parametrize("values", [{"new_items": 0.0}, {"days": 1}])
def test_without_new_items_everything_is_there_on_day_0(values):
    assert make_corpus(WorldConfig(**values), np.random.default_rng(0)).birth_days.max() <= 0
