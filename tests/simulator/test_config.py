import dataclasses
import math

import pytest

from hrlrec_tf.errors import ConfigError
from hrlrec_tf.simulator.config import WorldConfig

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
        ({"policy_pool": 19}, "policy_pool must be at least twice positions"),
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
