"""What a feed has written down about its users: the features of a request, kept up to date list by list.

The definitions are those of the Beam job (`data/asof.py`, `data/item_counts.py`): history rows and counts are strictly
before the list, within a list only impressions advance, and item counts are of the days before. A test compares them
with the sessions that `hrlrec prepare` makes of the same lists.
"""

import copy

import numpy as np
import numpy.typing as npt

from hrlrec_tf.simulator.days import ShownLists
from hrlrec_tf.simulator.feed import Feed

# Numbers of a history row, beside the item's features.
ROWS = {
    "item": np.int32,
    "clicks": np.int64,
    "dwell_seconds": np.float32,
    "position": np.int64,
    "timestamp": np.int64,
    "channel_impressions": np.int64,
    "channel_clicks": np.int64,
    "tag_impressions": np.int64,
    "tag_clicks": np.int64,
    "item_impressions_before": np.int64,  # of all users, on the days before the row
    "item_clicks_before": np.int64,
}
NO_ITEM = -1


class Journal:
    """History, profile and item counts of every user; memory grows with users and items.

    Args:
      feed: the world.
      history_length: H, rows kept per user.

    Attributes:
      rows: name -> [users, H], oldest first, `item` NO_ITEM where there is none.
      channel_impressions, channel_clicks: [users, channels].
      tag_impressions, tag_clicks: [users, tags + 1]; the last column is no tag.
      item_impressions, item_clicks: [items], over all users and the days before.
    """

    def __init__(self, feed: Feed, history_length: int) -> None:
        users, tags, items = feed.config.users, feed.corpus.tag_count + 1, feed.config.items
        channels = len(feed.config.channel_names)
        self._corpus = feed.corpus
        self.rows = {name: np.zeros((users, history_length), dtype) for name, dtype in ROWS.items()}
        self.rows["item"][:] = NO_ITEM
        self.channel_impressions, self.channel_clicks = (np.zeros((users, channels), np.int64) for _ in range(2))
        self.tag_impressions, self.tag_clicks = (np.zeros((users, tags), np.int64) for _ in range(2))
        self.item_impressions, self.item_clicks = (np.zeros(items, np.int64) for _ in range(2))
        self._day = 0
        self._impressions_today, self._clicks_today = (np.zeros(items, np.int64) for _ in range(2))

    def copy(self) -> "Journal":
        """One that goes on on its own."""
        return copy.deepcopy(self)

    def turn_to(self, day: int) -> None:
        """At midnight the last day's feedback joins the item counts."""
        if day != self._day:
            self.item_impressions += self._impressions_today
            self.item_clicks += self._clicks_today
            self._impressions_today[:] = 0
            self._clicks_today[:] = 0
            self._day = day

    def add(self, lists: ShownLists) -> None:
        """Writes down lists of different users."""
        self.turn_to(lists.requests.day)
        shown = lists.items >= 0
        users, rows = lists.requests.users, self._list_rows(lists)
        for name, values in rows.items():
            known, absent = self.rows[name], NO_ITEM if name == "item" else 0
            both = np.concatenate([known[users], np.where(shown, values, absent).astype(known.dtype)], axis=1)
            # An unfilled position is not a row: real ones move to the end, in their order.
            real = np.concatenate([np.ones_like(known[users], bool), shown], axis=1)
            order = np.argsort(real, axis=1, kind="stable")[:, -known.shape[1] :]
            known[users] = np.take_along_axis(both, order, axis=1)
        np.add.at(self._impressions_today, lists.items[shown], 1)
        np.add.at(self._clicks_today, lists.items[shown], lists.clicks[shown])
        for t in range(lists.items.shape[1]):
            here = np.flatnonzero(shown[:, t])
            item, user, clicked = lists.items[here, t], users[here], lists.clicks[here, t]
            self.channel_impressions[user, self._corpus.channels[item]] += 1
            self.channel_clicks[user, self._corpus.channels[item]] += clicked
            tags = self._corpus.tags[item]
            self.tag_impressions[user[:, np.newaxis], tags] += 1
            self.tag_clicks[user[:, np.newaxis], tags] += clicked[:, np.newaxis]
        self.tag_impressions[:, -1] = self.tag_clicks[:, -1] = 0

    def _list_rows(self, lists: ShownLists) -> dict[str, npt.NDArray]:
        """[requests, T] values of `ROWS` for rows just shown."""
        items, users = lists.items, lists.requests.users[:, np.newaxis]
        channels, tags = self._corpus.channels[items], self._corpus.tags[items]
        real_tags = tags < self._corpus.tag_count
        shown = items >= 0
        above = np.tri(items.shape[1], k=-1, dtype=bool) & shown[:, np.newaxis] & shown[:, :, np.newaxis]
        same_channel = ((channels[:, :, np.newaxis] == channels[:, np.newaxis]) & above).sum(axis=2)
        matches = (tags[:, :, np.newaxis, :, np.newaxis] == tags[:, np.newaxis, :, np.newaxis]) & real_tags[
            :, :, np.newaxis, :, np.newaxis
        ]
        same_tags = (matches.sum(axis=(3, 4)) * above).sum(axis=2)
        by_tag = users[..., np.newaxis]
        return {
            "item": items,
            "clicks": lists.clicks,
            "dwell_seconds": lists.dwell_seconds,
            "position": np.broadcast_to(np.arange(1, items.shape[1] + 1), items.shape),
            "timestamp": np.broadcast_to(lists.requests.timestamps[:, np.newaxis], items.shape),
            "channel_impressions": self.channel_impressions[users, channels] + same_channel,
            "channel_clicks": self.channel_clicks[users, channels],
            "tag_impressions": self.tag_impressions[by_tag, tags].sum(axis=2) + same_tags,
            "tag_clicks": self.tag_clicks[by_tag, tags].sum(axis=2),
            "item_impressions_before": self.item_impressions[items],
            "item_clicks_before": self.item_clicks[items],
        }
