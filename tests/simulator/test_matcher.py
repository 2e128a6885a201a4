import dataclasses

import numpy as np
import pytest

from hrlrec_tf.simulator.config import Shock, WorldConfig
from hrlrec_tf.simulator.feed import Feed
from tests.simulator.conftest import make_requests

BIG = WorldConfig(users=200, items=3_000, candidates_per_channel=50)


def counts(feed, requests):
    items = feed.matcher.candidates(requests).items
    channels = np.where(items >= 0, feed.corpus.channels[items], -1)
    return [(channels == channel).sum(axis=1) for channel in range(4)]


def test_every_channel_gives_the_same_number_and_no_item_twice():
    feed = Feed.create(BIG)
    candidates = feed.matcher.candidates(make_requests(200))
    assert candidates.items.shape == (200, 200)
    assert all((each == 50).all() for each in counts(feed, make_requests(200)))
    assert all(len(set(row)) == 200 for row in candidates.items.tolist())
    pools = feed.matcher.pools(0)
    np.testing.assert_array_equal(candidates.items, pools[candidates.groups[:, np.newaxis], candidates.slots])


def test_a_small_channel_gives_all_that_it_has():
    feed = Feed.create(WorldConfig(users=200, items=400, candidates_per_channel=90, new_items=0.0))
    sizes = np.bincount(feed.corpus.channels)  # 60, 100, 80, 160
    for each, size in zip(counts(feed, make_requests(200)), sizes, strict=True):
        assert (each == min(size, 90)).all()
    items = feed.matcher.candidates(make_requests(200)).items
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in items)


def test_unborn_items_are_no_candidates():
    feed = Feed.create(dataclasses.replace(BIG, new_items=0.6))
    for day in (0, 5):
        items = feed.matcher.candidates(make_requests(200, day=day)).items
        assert feed.corpus.birth_days[items[items >= 0]].max() <= day


def test_candidates_differ_from_request_to_request_and_suit_the_user():
    feed = Feed.create(BIG)
    requests = make_requests(200)
    items = feed.matcher.candidates(requests).items
    later = feed.matcher.candidates(dataclasses.replace(requests, numbers=requests.numbers + 1)).items
    kept = np.mean([len(set(a) & set(b)) / 200 for a, b in zip(items.tolist(), later.tolist(), strict=True)])
    assert 0.4 < kept < 0.7  # half of the pool each time
    everything = np.tile(np.arange(3_000, dtype=np.int32), (200, 1))
    assert feed.appeal(requests, items).mean() > feed.appeal(requests, everything).mean() + 0.5
    other = np.roll(items, 1, axis=0)
    assert feed.match(requests, items).mean() > feed.match(requests, other).mean() + 0.2


@pytest.mark.parametrize(("kind", "size", "wanted"), [("flood", 1.0, 100), ("flood", 0.5, 75), ("outage", 0.9, 5)])
def test_shocks_change_how_many_candidates_one_channel_gives(kind, size, wanted):
    feed = Feed.create(dataclasses.replace(BIG, shocks=(Shock(2, "article", kind, size),)))
    assert [each[0] for each in counts(feed, make_requests(200, day=2))] == [50, wanted, 50, 50]
    assert [each[0] for each in counts(feed, make_requests(200, day=1))] == [50, 50, 50, 50]
    items = feed.matcher.candidates(make_requests(200, day=2)).items
    assert all(len(set(row)) == len(row) for row in items.tolist())


def test_a_flawless_matcher_knows_users_better():
    def regret(noise):
        feed = Feed.create(dataclasses.replace(BIG, matcher_noise=noise))
        requests = make_requests(200)
        return feed.match(requests, feed.matcher.candidates(requests).items).mean()

    assert regret(0.0) > regret(3.0) + 0.1
