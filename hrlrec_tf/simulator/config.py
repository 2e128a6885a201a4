"""Every parameter of the simulated world, with its default and its range.

Strengths and spreads are in log-odds of a click unless said otherwise; 0 switches the effect off.
"""

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from hrlrec_tf.errors import ConfigError
from hrlrec_tf.simulator import checks

CHANNELS = ("news", "article", "long_video", "short_video")  # the kinds of channels there are; see `channel_kinds`
CLICK_MODELS = ("examination", "cascade")
SHOCKS = ("flood", "outage", "quality")
# Whatever lets one row of a list change another row's click, or one list the lists after it. Without these the best
# policy is greedy: a list's expected clicks are a sum over its rows, largest when the rows stand in order of appeal.
LIST_EFFECTS_OFF: Mapping[str, float] = {
    "channel_fatigue": 0.0,
    "tag_fatigue": 0.0,
    "abandonment": 0.0,
    "cascade_repeat": 0.0,
    "cascade_stop_click": 0.0,
    "cascade_stop_skip": 0.0,
    "novelty_satisfaction": 0.0,
    "another_satisfaction": 0.0,
    "return_strength": 0.0,
}


def _bounded(default: float, low: float, high: float) -> Any:
    """A field whose value must lie in [low, high]; the bounds travel as field metadata and are checked by name."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high})


@dataclasses.dataclass(frozen=True)
class Shock:
    """Something that happens to one channel for one day.

    Attributes:
      day: the day, from 0.
      channel: one of CHANNELS that the world has; channels of other names know no shocks.
      kind: `flood`: the matcher brings (1 + size) times as many candidates of the channel; `outage`: only (1 - size) of
        them arrive; `quality`: the quality of its items moves by `size`.
      size: in (0, 1] for flood and outage, in [-5, 5] for quality.
    """

    day: int
    channel: str
    kind: str
    size: float

    def __post_init__(self) -> None:
        if self.channel not in CHANNELS:
            raise ConfigError(f"shocks: channel {self.channel!r} is unknown; choose one of {', '.join(CHANNELS)}")
        if self.kind not in SHOCKS:
            raise ConfigError(f"shocks: kind {self.kind!r} is unknown; choose one of {', '.join(SHOCKS)}")
        low, high = (-5.0, 5.0) if self.kind == "quality" else (0.0, 1.0)
        if not low <= self.size <= high:
            raise ConfigError(f"shocks: size of a {self.kind} must be from {low:g} to {high:g}, got {self.size}")
        if self.day < 0:
            raise ConfigError(f"shocks: day must be at least 0, got {self.day}")


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
    list_lengths: tuple[float, ...] = ()  # shares of the lists that show 1, 2, ..., T rows; without: all show T
    seed: int = _bounded(0, 0, 2**32 - 1)
    start_date: str = "2024-01-01"  # UTC date of day 0, a Monday by default

    # Corpus.
    channel_names: tuple[str, ...] = CHANNELS  # 2 to 20; whatever is per channel is in this order
    channel_shares: tuple[float, ...] = (0.15, 0.25, 0.20, 0.40)  # of the items; sums to 1
    topics: int = _bounded(10, 2, 64)
    tags_per_topic: int = _bounded(4, 3, 32)
    authors_per_topic: int = _bounded(6, 1, 1_000)
    popularity_spread: float = _bounded(0.8, 0, 3)  # sigma of the log exposure weight
    new_items: float = _bounded(0.2, 0, 0.95)  # share of the items born after day 0, evenly over the days
    freshness_strength: float = _bounded(0.4, 0, 5)  # what a new-born item has over one that is forgotten
    freshness_half_life: float = _bounded(1.0, 0.01, 100)  # in units of the channel's own: news fade first

    # Users.
    profile_share: float = _bounded(0.3, 0, 1)  # part of taste variance that age band and gender explain
    activity_spread: float = _bounded(0.7, 0, 3)  # sigma of the log request rate
    user_bias_spread: float = _bounded(0.4, 0, 3)  # how eagerly a user clicks on anything
    taste_drift: float = _bounded(0.01, 0, 1)  # radians a day that tastes turn towards others

    # Clicks.
    click_model: str = "examination"  # one of CLICK_MODELS; see clicks.py
    click_intercept: float = _bounded(-3.0, -10, 5)
    channel_intercepts: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)  # per channel, on top
    taste_strength: float = _bounded(1.3, 0, 5)
    channel_strength: float = _bounded(0.9, 0, 5)
    quality_strength: float = _bounded(0.6, 0, 5)
    device_strength: float = _bounded(0.3, 0, 5)
    hour_strength: float = _bounded(0.2, 0, 5)  # every channel has its time of day
    mood_strength: float = _bounded(1.0, 0, 5)  # of the topic that a user is in the mood for on a day
    channel_fatigue: float = _bounded(0.06, 0, 5)  # per earlier item of the same channel in the list
    tag_fatigue: float = _bounded(0.15, 0, 5)  # per earlier occurrence of one of the item's tags in the list
    # Model `examination`.
    position_decay: float = _bounded(0.25, 0, 3)  # examination of position t is t ** -position_decay
    abandonment: float = _bounded(0.05, 0, 1)  # chance to leave after a position without any appeal
    # Model `cascade`.
    cascade_repeat: float = _bounded(0.05, 0, 1)  # share of appeal lost per repeated channel or tag
    cascade_stop_click: float = _bounded(0.15, 0, 1)  # chance to leave the list after a click
    cascade_stop_skip: float = _bounded(0.06, 0, 1)  # and after a row that was looked at in vain

    # Satisfaction: of a list = click_satisfaction * clicks + novelty_satisfaction * novelty of what was clicked.
    click_satisfaction: float = _bounded(0.5, 0, 5)
    novelty_satisfaction: float = _bounded(0.5, 0, 5)
    familiarity_decay: float = _bounded(0.8, 0, 1)  # of what a user remembers of a tag, per day
    another_request: float = _bounded(0.4, 0, 0.95)  # chance to ask for another list after an ordinary one
    another_satisfaction: float = _bounded(0.5, 0, 5)  # log-odds of another list per unit of satisfaction
    return_strength: float = _bounded(0.3, 0, 3)  # how much satisfaction of the last days raises the rate of visits
    max_requests: int = _bounded(8, 1, 100)  # lists of a visit

    # Dwell time, log scale: how much the match stretches it, and its noise.
    dwell_match: float = _bounded(0.3, 0, 2)
    dwell_noise: float = _bounded(0.5, 0, 2)
    dwell_scales: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)  # per channel, factors

    # Traffic.
    hour_cycle: float = _bounded(0.7, 0, 1)  # of the cycle; 0: flat day; 1: nothing at the quietest hour
    hour_shares: tuple[float, ...] = ()  # of the visits by hour of the day, UTC; without: a cycle with its peak at 20
    weekday_cycle: float = _bounded(0.0, 0, 0.5)  # how much busier Saturdays and Sundays are than the mean day

    # Matcher: the candidates of a request.
    candidates_per_channel: int = _bounded(200, 1, 2_000)
    matcher_groups: int = _bounded(64, 1, 4_096)  # of users that it tells apart
    matcher_noise: float = _bounded(0.5, 0, 10)  # of its idea of a user's taste
    matcher_quality: float = _bounded(0.5, 0, 5)

    # Logging policy.
    policy_personal: float = _bounded(0.1, 0, 5)  # weight of what the policy knows of the user's taste
    policy_quality: float = _bounded(0.4, 0, 5)
    policy_noise: float = _bounded(1.0, 0, 10)
    policy_channels: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)  # what it adds to the score of each channel's items
    explore_share: float = _bounded(0.05, 0, 1)  # positions filled uniformly from the candidates

    shocks: tuple[Shock, ...] = ()

    def __post_init__(self) -> None:
        """Checks types, ranges and the rules that span fields."""
        for field in dataclasses.fields(self):
            if field.metadata:
                checks.check_number(field, getattr(self, field.name))
        checks.check_names(self.channel_names)
        count = len(self.channel_names)
        checks.check_shares("channel_shares", self.channel_shares, count, lowest=1e-9)
        for name, low, high in (
            ("channel_intercepts", -10, 10), ("dwell_scales", 1e-3, 1e3), ("policy_channels", -10, 10)
        ):  # fmt: skip
            checks.check_per_channel(name, getattr(self, name), count, low, high)
        for shock in self.shocks:
            if shock.channel not in self.channel_names:
                raise ConfigError(f"shocks: channel {shock.channel!r} is none of channel_names; leave the shock out")
        if self.list_lengths:
            checks.check_shares("list_lengths", self.list_lengths, self.positions, lowest=0.0)
        if self.hour_shares:
            checks.check_shares("hour_shares", self.hour_shares, 24, lowest=0.0)
        checks.check_date(self.start_date)
        if self.click_model not in CLICK_MODELS:
            raise ConfigError(f"click_model {self.click_model!r} is unknown; choose one of {', '.join(CLICK_MODELS)}")
        self._check_that_lists_can_be_filled()

    def _check_that_lists_can_be_filled(self) -> None:
        if self.items * min(self.channel_shares) < 1 - 1e-6:
            raise ConfigError(
                f"channel_shares leaves a channel without items: {min(self.channel_shares)} of {self.items} items; "
                "raise that share or items"
            )
        if self.items < 2 * self.positions:
            raise ConfigError(
                f"items must be at least twice positions ({2 * self.positions}), got {self.items}; "
                "raise items or lower positions"
            )
        on_day_0 = int(self.items * (1 - self.new_items))
        if on_day_0 < self.positions:
            raise ConfigError(
                f"new_items leaves {on_day_0} of {self.items} items on day 0, fewer than positions "
                f"({self.positions}); lower new_items or raise items"
            )
        candidates = len(self.channel_names) * self.candidates_per_channel
        if candidates < self.positions:
            raise ConfigError(
                f"candidates_per_channel gives {candidates} candidates for {self.positions} positions; raise "
                "candidates_per_channel or lower positions"
            )

    def changed(self) -> dict[str, Any]:
        """Plain values of the fields that differ from their defaults: a new field changes no world that exists."""
        usual, values = dataclasses.asdict(WorldConfig()), dataclasses.asdict(self)
        return {name: value for name, value in values.items() if value != usual[name]}

    @property
    def channel_kinds(self) -> list[int]:
        """Per channel the place in CHANNELS of the one whose nature it has: devices, hours, lengths, half-life.

        A channel of one of those names has its nature; others take them in turn.
        """
        names = enumerate(self.channel_names)
        return [CHANNELS.index(name) if name in CHANNELS else n % len(CHANNELS) for n, name in names]

    @property
    def start_timestamp(self) -> int:
        """Midnight UTC of day 0, in milliseconds."""
        midnight = datetime.datetime.fromisoformat(self.start_date).replace(tzinfo=datetime.timezone.utc)
        return int(midnight.timestamp()) * 1_000

    def weekday(self, day: int) -> int:
        """0 (Monday) to 6 (Sunday)."""
        return (datetime.date.fromisoformat(self.start_date) + datetime.timedelta(day)).weekday()

    def shock_sizes(self, kind: str, day: int) -> list[float]:
        """Summed size of a kind of shock on a day, per channel."""
        at = [(shock.size, shock.channel) for shock in self.shocks if (shock.kind, shock.day) == (kind, day)]
        return [sum(size for size, channel in at if channel == name) for name in self.channel_names]
