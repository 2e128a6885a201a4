"""What a ranker shows to a panel of requests: channel mix, distinct lists, how much users' feeds differ.

AUC does not tell whether a ranker shows everybody the same list; these figures do, so every report has both.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike


@dataclasses.dataclass(frozen=True)
class PanelStatistics:
    """Figures of the lists of a panel.

    Attributes:
      requests: R, lists in the panel.
      users: distinct users.
      distinct_lists: distinct sequences of items; order counts.
      distinct_lists_per_user: `distinct_lists / users`: 1 or more when users get lists of their own, near 0 when all
        get the same; NaN for an empty panel.
      channel_shares: channel -> its share of all placed items.
      between_user_channel_variance: see `between_user_channel_variance`.
    """

    requests: int
    users: int
    distinct_lists: int
    distinct_lists_per_user: float
    channel_shares: Mapping[str, float]
    between_user_channel_variance: float


def panel_statistics(channels: ArrayLike, item_ids: ArrayLike, user_ids: ArrayLike) -> PanelStatistics:
    """Figures of ranked lists.

    Args:
      channels: [R, T] channel names.
      item_ids: [R, T] item ids; "" marks a position without an item, which counts nowhere.
      user_ids: [R] who asked; a user may ask more than once.

    Raises:
      ValueError: the shapes do not fit each other.
    """
    channel, item, user = (np.asarray(values, dtype=object) for values in (channels, item_ids, user_ids))
    if item.ndim != 2 or channel.shape != item.shape or user.shape != item.shape[:1]:
        raise ValueError(
            f"channels and item_ids must be [R, T] and user_ids [R]; got {channel.shape}, {item.shape} and {user.shape}"
        )
    placed = item != ""
    users, distinct = len(set(user)), len(set(map(tuple, item)))
    return PanelStatistics(
        requests=len(item),
        users=users,
        distinct_lists=distinct,
        distinct_lists_per_user=distinct / users if users else float("nan"),
        channel_shares=channel_shares(channel[placed]),
        between_user_channel_variance=between_user_channel_variance(
            np.broadcast_to(user[:, np.newaxis], item.shape)[placed], channel[placed]
        ),
    )


def channel_shares(channels: ArrayLike) -> dict[str, float]:
    """Share of each channel among rows, in the order of channel names.

    Args:
      channels: [N] channel of each row.
    """
    shares = pd.Series(np.asarray(channels, dtype=object), dtype=object).value_counts(normalize=True).sort_index()
    return {str(channel): float(share) for channel, share in shares.items()}


def between_user_channel_variance(user_ids: ArrayLike, channels: ArrayLike) -> float:
    """How much users' channel mixes differ: variance over users of a channel's share, averaged over the channels.

    A user's share of a channel is taken over all rows of that user; each user counts once; the variance is the
    population's (divided by the number of users); channels are those that occur. 0 means every user sees the same mix.
    Shares of few rows vary by chance alone, about p (1 - p) / rows per channel: compare rankers on the same requests.

    Args:
      user_ids: [N] user of each row.
      channels: [N] channel of each row.

    Returns:
      The variance, in [0, 0.25]; NaN without rows.
    """
    user, channel = (np.asarray(values, dtype=object) for values in (user_ids, channels))
    if not len(user):
        return float("nan")
    shares = pd.crosstab(user, channel, normalize="index")
    return float(shares.var(axis=0, ddof=0).mean())
