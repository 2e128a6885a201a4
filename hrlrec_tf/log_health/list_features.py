"""What may explain a click: the row itself, the rest of its list, what stands above it, and the feedback above it.

All from [L, T, T] matrices over pairs of rows of a list: `same` says that they share the channel, `tags` how many tags
they share, and an *order* who stands above whom. Another order gives the same features of a list that was never shown.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from hrlrec_tf.log_health.reading import Array, Lists, rows_of

FOLDS = 4
_PRIOR = 20.0  # impressions at the log's rate that an item or a user starts with
_CHANNELS = 30  # with a column of their own
_CHUNK_PAIRS = 1 << 24


@dataclasses.dataclass(frozen=True)
class Design:
    """One line per row with a row above it. N lines.

    Attributes:
      user, fold: [N] code of the user, and the part of the users it belongs to.
      clicked: [N] 0 or 1.
      groups: name -> columns -> [N], see the functions below.
      rule_share: share of the lists that a list rule made.
    """

    user: Array
    fold: Array
    clicked: Array
    groups: dict[str, dict[str, Array]]
    rule_share: float

    def matrix(self, *groups: str) -> Array:
        """[N, columns] of some groups, standardised; columns that do not vary are left out."""
        columns = [column for group in groups for column in self.groups[group].values()]
        values = np.column_stack([np.zeros((len(self.user), 0)), *columns]).astype(np.float64)
        spread = values.std(axis=0)
        varies = spread > 1e-9
        standard: Array = (values[:, varies] - values[:, varies].mean(axis=0)) / spread[varies]
        return standard


def design(lists: Sequence[Lists], seed: int = 0) -> Design:
    """The rows of lists that have a row above them, with everything that may explain their click.

    Groups: `base` (the row and its user), `rest` (the other rows of the list, wherever they stand; of lists that were
    asked for as a whole only), `above`, `shuffled` (as `above`, of a random order), `below`, `feedback` (clicks above).
    """
    chosen = [each.take((each.item >= 0).sum(axis=1) >= 2) for each in lists]
    item, channel, tags = (rows_of(chosen, name) for name in ("item", "channel", "tags"))
    valid = item >= 0
    clicked = ((rows_of(chosen, "clicks") > 0) & valid).astype(np.float64)
    users, user = np.unique(rows_of(chosen, "user"), return_inverse=True)
    rng = np.random.default_rng(seed)
    fold = rng.permutation(len(users))[user] % FOLDS
    rate, shown = _item_rates(item, clicked, valid, fold)
    pairs = _Pairs(channel, tags, valid, rate, clicked)
    place = np.broadcast_to(np.arange(item.shape[1]), item.shape)
    lines = valid & (place >= 1)
    order = _Order(place[:, None, :], place, pairs.pair)
    above = pairs.above(order)
    base = _base(chosen, pairs, above, rate, shown, clicked, valid)
    rule = rows_of(chosen, "by_rule")
    groups = {
        "base": base,
        "rest": {name: np.where(rule[:, None], 0.0, values) for name, values in pairs.rest().items()},
        "above": above,
        "shuffled": pairs.above(_random_order(place, pairs.pair, rule, rng)),
        "below": {"next_same_channel": pairs.next_same()},
        "feedback": pairs.feedback(order),
    }
    return Design(
        user=np.broadcast_to(user[:, None], item.shape)[lines],
        fold=np.broadcast_to(fold[:, None], item.shape)[lines],
        clicked=clicked[lines],
        groups={
            group: {name: values[lines].astype(np.float32) for name, values in columns.items()}
            for group, columns in groups.items()
        },
        rule_share=float(rule.mean()) if len(rule) else 0.0,
    )


class _Order:
    """Who stands above whom: row j above row i where `rank`, of j for i, is below the place of i.

    Attributes:
      above, previous: [L, T, T] whether j stands above i, and right above it.
    """

    def __init__(self, rank: Array, place: Array, pair: Array) -> None:
        self.above: Array = (rank < place[:, :, None]) & pair
        self.previous: Array = (rank + 1 == place[:, :, None]) & pair


def _random_order(place: Array, pair: Array, by_rule: Array, rng: np.random.Generator) -> _Order:
    """Each list in a random order; where a rule made the list, as many rows as stand above each, drawn anew for each.

    Where `base` does not know the rest of the list, a random order would tell less of it than the true one at late
    places, since it puts any number of rows above a row.
    """
    valid = pair.any(axis=2)
    order = np.argsort(np.argsort(np.where(valid, rng.random(place.shape), 2.0), axis=1), axis=1)
    drawn = np.argsort(np.argsort(np.where(pair, rng.random(pair.shape), 2.0), axis=2), axis=2)
    rank = np.where(by_rule[:, None, None], drawn, order[:, None, :])
    return _Order(rank, np.where(by_rule[:, None], place, order), pair)


class _Pairs:
    """Pairs of rows (i, j) of each list, j another row than i."""

    def __init__(self, channel: Array, tags: Array, valid: Array, rate: Array, clicked: Array) -> None:
        self.pair = valid[:, :, None] & valid[:, None, :] & ~np.eye(valid.shape[1], dtype=bool)
        self._same = (channel[:, :, None] == channel[:, None, :]) & self.pair
        self._tags = _shared_tags(tags) * self.pair
        self._rate, self._clicked = rate, clicked

    def above(self, order: "_Order") -> dict[str, Array]:
        """What stands above each row in an order: all [L, T], without any feedback."""
        above, previous = order.above, order.previous
        count = np.maximum(above.sum(axis=2), 1)
        same, tags = (self._same & above).sum(axis=2), (self._tags * above).sum(axis=2)
        return {
            "same_channel_above": same,
            "same_channel_share_above": same / count,
            "previous_same_channel": (self._same & previous).sum(axis=2),
            "tags_above": tags,
            "previous_shares_tag": ((self._tags * previous).sum(axis=2) > 0).astype(float),
            "appeal_above": (above * self._rate[:, None, :]).sum(axis=2) / count,
        }

    def rest(self) -> dict[str, Array]:
        """The list's other rows: how many are alike, and the sum of their places."""
        count = np.maximum(self.pair.sum(axis=2), 1)
        appeal = self.pair * self._rate[:, None, :]
        place = np.arange(self._rate.shape[1])
        return {
            "same_channel": self._same.sum(axis=2),
            "same_channel_share": self._same.sum(axis=2) / count,
            "tags": self._tags.sum(axis=2),
            "appeal": appeal.sum(axis=2) / count,
            "length": np.log1p(count),
            "same_channel_places": self._same @ place,
            "tags_places": self._tags @ place,
            "appeal_places": appeal @ place,
        }

    def next_same(self) -> Array:
        """Whether the row below has the same channel: what a click cannot owe to, unless the user read ahead."""
        following: Array = np.zeros(self._rate.shape)
        following[:, :-1] = self._same.diagonal(1, 1, 2)
        return following

    def feedback(self, order: "_Order") -> dict[str, Array]:
        """Clicks above each row: over all rows, on the row right above, and on rows of the same channel."""
        above, previous = order.above, order.previous
        clicked = self._clicked[:, None, :]
        return {
            "click_share_above": (above * clicked).sum(axis=2) / np.maximum(above.sum(axis=2), 1),
            "previous_clicked": (previous * clicked).sum(axis=2),
            "clicks_on_channel_above": ((self._same & above) * clicked).sum(axis=2),
        }


def _base(
    lists: Sequence[Lists],
    pairs: _Pairs,
    above: dict[str, Array],
    rate: Array,
    shown: Array,
    clicked: Array,
    valid: Array,
) -> dict[str, Array]:
    """The row and its user: place, channel, the item's click rate with other users, and the user's own as-of rates.

    The log's counts of a row include the list's rows above, which are taken out: nothing here knows them.
    """
    channel, position = rows_of(lists, "channel"), rows_of(lists, "position")
    overall = clicked.sum() / max(valid.sum(), 1)
    in_list, tags_in_list = above["same_channel_above"], above["tags_above"]
    counts = {
        "user": (rows_of(lists, "seen")[:, None], rows_of(lists, "clicked")[:, None]),
        "user_channel": (rows_of(lists, "channel_impressions") - in_list, rows_of(lists, "channel_clicks")),
        "user_tags": (rows_of(lists, "tag_impressions") - tags_in_list, rows_of(lists, "tag_clicks")),
    }
    columns = {"item_rate": rate, "item_shown": shown, "position": np.log1p(position)}
    prior = np.full(valid.shape, overall)
    for name, (impressions, clicks) in counts.items():
        # The user's rate leans on the log's, the rate with the channel or the tags on the user's.
        smoothed = (clicks + _PRIOR * prior) / (np.maximum(impressions, 0) + _PRIOR)
        prior = np.broadcast_to(smoothed, valid.shape) if name == "user" else prior
        columns[f"{name}_rate"] = np.broadcast_to(_logit(smoothed), valid.shape)
        columns[f"{name}_seen"] = np.broadcast_to(np.log1p(np.maximum(impressions, 0)), valid.shape)
    for place in range(1, valid.shape[1]):
        columns[f"place_{place + 1}"] = np.broadcast_to(np.arange(valid.shape[1]) == place, valid.shape)
    codes, sizes = np.unique(channel[valid], return_counts=True)
    for code in codes[np.argsort(-sizes, kind="stable")][:_CHANNELS]:
        columns[f"channel_{code}"] = channel == code
    return columns


def _item_rates(item: Array, clicked: Array, valid: Array, fold: Array) -> tuple[Array, Array]:
    """Smoothed log-odds of a click on each row's item and its log impressions, over the other folds' users: [L, T]."""
    rows_fold = np.broadcast_to(fold[:, None], item.shape)[valid]
    keys, code = np.unique(item[valid], return_inverse=True)
    impressions, clicks = (
        np.bincount(code * FOLDS + rows_fold, weights, len(keys) * FOLDS).reshape(-1, FOLDS)
        for weights in (None, clicked[valid])
    )
    others = impressions.sum(axis=1, keepdims=True) - impressions
    other_clicks = clicks.sum(axis=1, keepdims=True) - clicks
    overall = clicked.sum() / max(valid.sum(), 1)
    smoothed = (other_clicks + _PRIOR * overall) / (others + _PRIOR)
    rate, shown = np.zeros(item.shape), np.zeros(item.shape)
    rate[valid] = _logit(smoothed)[code, rows_fold]
    shown[valid] = np.log1p(others)[code, rows_fold]
    return rate, shown


def _shared_tags(tags: Array) -> Array:
    """How many tags each two rows of a list share: [L, T, T] of [L, T, K]."""
    count, length, most = tags.shape
    shared = np.zeros((count, length, length), np.int16)
    step = max(_CHUNK_PAIRS // (length * length), 1)
    for first in range(0, count, step):
        part = tags[first : first + step]
        used = [k for k in range(most) if (part[:, :, k] >= 0).any()]
        for k in used:
            for other in used:
                equal = part[:, :, None, k] == part[:, None, :, other]
                shared[first : first + step] += equal & (part[:, :, None, k] >= 0)
    return shared


def _logit(share: Array) -> Array:
    clipped = np.clip(share, 1e-4, 1 - 1e-4)
    return np.log(clipped / (1 - clipped))
