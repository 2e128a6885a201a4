"""Logs whose list effects are known, as the lists that the test reads; made without sessions, in milliseconds."""

import numpy as np

from hrlrec_tf.log_health.reading import Lists
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.days import simulate_day
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.policy import LoggingPolicy
from hrlrec_tf.simulator.state import UserStates
from hrlrec_tf.simulator.traffic import Fixed


def lists_of(user, item, channel, tags, clicks, by_rule=False, **rows) -> Lists:
    """Lists [L, T] of one split; what is not given is 0, and every row counts."""
    user, item, channel = np.asarray(user), np.asarray(item), np.asarray(channel)
    zeros = np.zeros(item.shape, np.int64)
    names = ("dwell_seconds", "channel_impressions", "channel_clicks", "tag_impressions", "tag_clicks")
    position = np.where(item >= 0, np.arange(item.shape[1]) + 1, 0)
    columns = {"clicks": np.asarray(clicks), "position": position, "weight": (item >= 0).astype(np.float32)}
    nothing = np.zeros(len(user), np.int64)
    return Lists(
        split=0, user=user, time=nothing, previous=nothing, history=nothing, seen=nothing, clicked=nothing,
        by_rule=np.full(len(user), by_rule), item=item, channel=channel, tags=np.asarray(tags),
        rows=dict.fromkeys(names, zeros) | columns | rows,
    )  # fmt: skip


def random_feed(seed, users=80, lists=25, length=6, effect=0.0, taste=1.0, ordered=True, by_rule=False) -> Lists:
    """Lists of 4 channels without tags.

    A policy that knows the users' taste shows what they like and, `ordered`, shows it first; nothing of the taste is in
    the counts. Each row of the same channel above adds `effect` to the log-odds of a click.
    """
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), lists)
    liked = taste * rng.standard_normal((users, 4))[user]
    pool = rng.integers(0, 4, (len(user), 3 * length))
    scores = np.take_along_axis(liked, pool, axis=1) + rng.gumbel(size=pool.shape)
    best = np.argsort(-scores, axis=1)[:, :length]
    channel = np.take_along_axis(pool, best if ordered else rng.permuted(best, axis=1), axis=1)
    earlier = np.tril(np.ones((length, length), bool), -1)
    above = ((channel[:, :, None] == channel[:, None, :]) & earlier).sum(axis=2)
    logits = -1 + np.take_along_axis(liked, channel, axis=1) + effect * above
    clicks = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    item = rng.integers(0, 50, channel.shape) * 4 + channel
    return lists_of(user, item, channel, np.full((*channel.shape, 1), -1), clicks, by_rule)


def simulated_feed(seed, fatigue, users=300, requests_per_day=150) -> Lists:
    """Lists of the package's own simulator, with fatigue of channels and tags or without."""
    sizes = {"users": users, "items": 400, "requests_per_day": requests_per_day}
    world = WorldConfig(**sizes, seed=seed, channel_fatigue=fatigue, tag_fatigue=fatigue, abandonment=0.0)
    feed = Feed.create(world)
    policy, traffic = LoggingPolicy(feed), Fixed(feed, UserStates(feed))
    parts = [part for day in range(world.days) for part in simulate_day(feed, policy, traffic, day)]
    item = np.concatenate([part.items for part in parts]).astype(np.int64)
    tags = feed.corpus.tags[item].astype(np.int64)
    return lists_of(
        np.concatenate([part.requests.users for part in parts]).astype(np.int64),
        item,
        feed.corpus.channels[item].astype(np.int32),
        np.where(tags < feed.corpus.tag_count, tags, -1),
        np.concatenate([part.clicks for part in parts]).astype(np.int64),
    )
