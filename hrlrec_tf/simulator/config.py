"""Every parameter of the simulated world, with its default and its range.

Strengths and spreads are in log-odds of a click unless said otherwise; 0 switches the effect off.
"""

import dataclasses
import datetime
import numbers
from typing import Any

from hrlrec_tf.errors import ConfigError

CHANNELS = ("news", "article", "long_video", "short_video")


def _bounded(default: float, low: float, high: float) -> Any:
    """A field whose value must lie in [low, high]; the bounds travel as field metadata and are checked by name."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high})


@dataclasses.dataclass(frozen=True)
class WorldConfig:
    """One world. The same values give the same log, byte for byte.

    Raises:
      ConfigError: a value has the wrong type, is out of its range or contradicts another; the message names the field.
    """

    # Size. The defaults give 14 * 715 * 10 = 100,100 impressions.
    users: int = _bounded(1_000, 1, 100_000_000)
    items: int = _bounded(2_000, 20, 10_000_000)
    days: int = _bounded(14, 1, 366)
    requests_per_day: int = _bounded(715, 1, 100_000_000)  # of all users together
    positions: int = _bounded(10, 1, 50)  # list length T
    seed: int = _bounded(0, 0, 2**32 - 1)
    start_date: str = "2024-01-01"  # UTC date of day 0, a Monday by default

    # Corpus.
    channel_shares: tuple[float, ...] = (0.15, 0.25, 0.20, 0.40)  # of the items, in the order of CHANNELS; sums to 1
    topics: int = _bounded(10, 2, 64)
    tags_per_topic: int = _bounded(4, 3, 32)
    authors_per_topic: int = _bounded(6, 1, 1_000)
    popularity_spread: float = _bounded(0.8, 0, 3)  # sigma of the log exposure weight

    # Users.
    profile_share: float = _bounded(0.3, 0, 1)  # part of taste variance that age band and gender explain
    activity_spread: float = _bounded(0.7, 0, 3)  # sigma of the log request rate
    user_bias_spread: float = _bounded(0.4, 0, 3)  # how eagerly a user clicks on anything

    # Clicks.
    click_intercept: float = _bounded(-2.5, -10, 5)
    taste_strength: float = _bounded(1.3, 0, 5)
    channel_strength: float = _bounded(0.9, 0, 5)
    quality_strength: float = _bounded(0.6, 0, 5)
    device_strength: float = _bounded(0.3, 0, 5)
    position_decay: float = _bounded(0.25, 0, 3)  # examination of position t is t ** -position_decay
    channel_fatigue: float = _bounded(0.06, 0, 5)  # per earlier item of the same channel in the list
    tag_fatigue: float = _bounded(0.15, 0, 5)  # per earlier occurrence of one of the item's tags in the list

    # Dwell time, log scale: how much the match stretches it, and its noise.
    dwell_match: float = _bounded(0.3, 0, 2)
    dwell_noise: float = _bounded(0.5, 0, 2)

    # Traffic and logging policy.
    hour_cycle: float = _bounded(0.7, 0, 1)  # 0: flat day; 1: nothing at the quietest hour
    policy_pool: int = _bounded(50, 2, 1_000)  # candidates drawn by popularity per request
    policy_personal: float = _bounded(0.1, 0, 5)  # weight of what the policy knows of the user's taste
    policy_quality: float = _bounded(0.4, 0, 5)
    policy_noise: float = _bounded(1.0, 0, 10)
    explore_share: float = _bounded(0.05, 0, 1)  # positions filled uniformly from the whole corpus

    def __post_init__(self) -> None:
        """Checks types, ranges and the rules that span fields."""
        for field in dataclasses.fields(self):
            if field.metadata:
                _check_number(field, getattr(self, field.name))
        _check_shares(self.channel_shares)
        _check_date(self.start_date)
        if self.items < 2 * self.positions:
            raise ConfigError(
                f"items must be at least twice positions ({2 * self.positions}), got {self.items}; "
                "raise items or lower positions"
            )
        if self.policy_pool < 2 * self.positions:
            raise ConfigError(
                f"policy_pool must be at least twice positions ({2 * self.positions}), got {self.policy_pool}; "
                "raise policy_pool or lower positions"
            )
        if self.items * min(self.channel_shares) < 1:
            raise ConfigError(
                f"channel_shares leaves a channel without items: {min(self.channel_shares)} of {self.items} items; "
                "raise that share or items"
            )

    @property
    def start_timestamp(self) -> int:
        """Midnight UTC of day 0, in milliseconds."""
        midnight = datetime.datetime.fromisoformat(self.start_date).replace(tzinfo=datetime.timezone.utc)
        return int(midnight.timestamp()) * 1_000


def _check_number(field: dataclasses.Field[Any], value: Any) -> None:
    wanted = numbers.Integral if field.type is int else numbers.Real
    if isinstance(value, bool) or not isinstance(value, wanted):
        kind = "a whole number" if wanted is numbers.Integral else "a number"
        raise ConfigError(f"{field.name} must be {kind}, got {value!r}")
    low, high = field.metadata["low"], field.metadata["high"]
    if not low <= float(value) <= high:  # a NaN fails here too
        raise ConfigError(f"{field.name} must be from {low} to {high}, got {value}")


def _check_shares(shares: Any) -> None:
    if not isinstance(shares, tuple) or len(shares) != len(CHANNELS):
        raise ConfigError(f"channel_shares must be a tuple of {len(CHANNELS)} numbers, got {shares!r}")
    if not all(isinstance(share, numbers.Real) and float(share) > 0 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise ConfigError(f"channel_shares must be above 0 and sum to 1, got {shares}")


def _check_date(date: Any) -> None:
    try:
        datetime.date.fromisoformat(date)
    except (TypeError, ValueError):
        raise ConfigError(f"start_date must be a date such as 2024-01-01, got {date!r}") from None
