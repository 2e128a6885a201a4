import dataclasses
import math

import pytest

from hrlrec_tf.errors import ConfigError
from hrlrec_tf.simulator.config import LIST_EFFECTS_OFF, Shock, WorldConfig

BOUNDED = [field for field in dataclasses.fields(WorldConfig) if field.metadata]


def test_default_log_has_about_100_000_impressions():
    config = WorldConfig()
    assert config.days * config.requests_per_day * config.positions == 100_100


def test_start_timestamp_is_midnight_utc_in_milliseconds():
    assert WorldConfig(start_date="2024-01-02").start_timestamp == 1_704_153_600_000


@pytest.mark.parametrize("field", BOUNDED, ids=lambda field: field.name)
@pytest.mark.parametrize("beyond", ["low", "high"])
def test_out_of_range_is_refused_by_field_name(field, beyond):
    value = field.metadata["low"] - 1 if beyond == "low" else field.metadata["high"] + 1
    with pytest.raises(ConfigError, match=rf"^{field.name} must be from .*, got {value}$"):
        WorldConfig(**{field.name: value})


@pytest.mark.parametrize("field", BOUNDED, ids=lambda field: field.name)
@pytest.mark.parametrize("value", ["1", None, True, math.nan])
def test_wrong_type_is_refused_by_field_name(field, value):
    with pytest.raises(ConfigError, match=f"^{field.name} must be"):
        WorldConfig(**{field.name: value})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"users": 10.5}, "users must be a whole number"),
        ({"items": 30, "positions": 20}, "items must be at least twice positions"),
        ({"new_items": 0.95, "items": 100}, "new_items leaves 5 of 100 items on day 0, fewer than positions"),
        ({"candidates_per_channel": 2}, r"candidates_per_channel gives 8 candidates for 10 positions"),
        ({"click_model": "magic"}, "click_model 'magic' is unknown; choose one of examination, cascade"),
        ({"channel_intercepts": (0.0,)}, "channel_intercepts must be a tuple of 4"),
        ({"dwell_scales": (1.0, 1.0, 0.0, 1.0)}, "dwell_scales must be from 0.001 to 1000"),
        ({"channel_shares": (0.5, 0.5)}, "channel_shares must be a tuple of 4"),
        ({"channel_shares": (0.5, 0.5, 0.5, -0.5)}, "channel_shares must be above 0"),
        ({"channel_shares": (0.25, 0.25, 0.25, 0.2)}, "channel_shares must be above 0 and sum to 1"),
        ({"channel_shares": (0.001, 0.333, 0.333, 0.333), "items": 100}, "channel_shares leaves a channel without"),
        ({"start_date": "yesterday"}, "start_date must be a date"),
        ({"start_date": 20240101}, "start_date must be a date"),
    ],
)
def test_impossible_worlds_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        WorldConfig(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"channel": "radio"}, "channel 'radio' is unknown; choose one of news"),
        ({"kind": "fire"}, "kind 'fire' is unknown; choose one of flood, outage, quality"),
        ({"size": 1.5}, "size of a flood must be from 0 to 1"),
        ({"kind": "quality", "size": 6.0}, "size of a quality must be from -5 to 5"),
        ({"day": -1}, "day must be at least 0"),
    ],
)
def test_impossible_shocks_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        Shock(**{"day": 1, "channel": "news", "kind": "flood", "size": 0.5, **values})


def test_shocks_of_a_day_add_up_by_channel():
    shocks = (Shock(1, "news", "flood", 0.5), Shock(1, "news", "flood", 0.25), Shock(2, "article", "outage", 0.5))
    world = WorldConfig(shocks=shocks)
    assert world.shock_sizes("flood", 1) == [0.75, 0.0, 0.0, 0.0]
    assert world.shock_sizes("flood", 2) == [0.0] * 4
    assert world.shock_sizes("outage", 2) == [0.0, 0.5, 0.0, 0.0]


def test_weekdays_follow_the_start_date():
    assert [WorldConfig(start_date="2024-01-05").weekday(day) for day in range(4)] == [4, 5, 6, 0]


def test_every_list_effect_can_be_switched_off():
    world = WorldConfig(**LIST_EFFECTS_OFF)
    assert all(getattr(world, name) == 0 for name in LIST_EFFECTS_OFF)
