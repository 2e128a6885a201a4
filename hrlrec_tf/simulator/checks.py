"""Checks of single values of a world; each raises ConfigError with the field's name, what was received and the rule."""

import dataclasses
import datetime
import numbers
from typing import Any

from hrlrec_tf.errors import ConfigError

MOST_CHANNELS = 20


def check_number(field: dataclasses.Field[Any], value: Any) -> None:
    """A field's number has its type and lies within its bounds."""
    wanted = numbers.Integral if field.type is int else numbers.Real
    if isinstance(value, bool) or not isinstance(value, wanted):
        kind = "a whole number" if wanted is numbers.Integral else "a number"
        raise ConfigError(f"{field.name} must be {kind}, got {value!r}")
    low, high = field.metadata["low"], field.metadata["high"]
    if not low <= float(value) <= high:  # a NaN fails here too
        raise ConfigError(f"{field.name} must be from {low} to {high}, got {value}")


def check_names(names: Any) -> None:
    """Names of channels: some different words."""
    if not isinstance(names, tuple) or not all(isinstance(name, str) and name for name in names):
        raise ConfigError(f"channel_names must be a tuple of words, got {names!r}")
    if not 2 <= len(names) <= MOST_CHANNELS or len(set(names)) < len(names):
        raise ConfigError(f"channel_names must be 2 to {MOST_CHANNELS} different words, got {', '.join(names)}")


def check_shares(name: str, shares: Any, count: int, lowest: float) -> None:
    """Shares from `lowest` on that sum to 1."""
    if not isinstance(shares, tuple) or len(shares) != count:
        raise ConfigError(f"{name} must be a tuple of {count} numbers, got {shares!r}")
    real = all(isinstance(share, numbers.Real) and float(share) >= lowest for share in shares)
    if not real or abs(sum(shares) - 1) > 1e-6:
        rule = "above 0" if lowest else "at least 0"
        raise ConfigError(f"{name} must be {rule} and sum to 1, got {shares}")


def check_per_channel(name: str, values: Any, count: int, low: float, high: float) -> None:
    """A number per channel, within bounds."""
    if not isinstance(values, tuple) or len(values) != count:
        raise ConfigError(f"{name} must be a tuple of {count} numbers, got {values!r}")
    if not all(isinstance(value, numbers.Real) and low <= float(value) <= high for value in values):
        raise ConfigError(f"{name} must be from {low:g} to {high:g}, got {values}")


def check_date(date: Any) -> None:
    """A date in ISO 8601."""
    try:
        datetime.date.fromisoformat(date)
    except (TypeError, ValueError):
        raise ConfigError(f"start_date must be a date such as 2024-01-01, got {date!r}") from None
