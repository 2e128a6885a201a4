"""Numbers, times and user data as the text of a page; what is missing is a dash."""

import datetime
import json
import math
import re
from typing import Any

DASH = "–"

# What XML 1.0 cannot hold, lone surrogates among it.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text(value: Any) -> str:
    """Any value as characters that a page can hold; not escaped."""
    return DASH if value is None else _UNPRINTABLE.sub("\ufffd", str(value))


def number(value: Any, digits: int = 3) -> str:
    """A number with fixed decimals."""
    return f"{value:,.{digits}f}" if finite(value) else DASH


def count(value: Any) -> str:
    """A whole number with thousands separators."""
    return f"{round(value):,}" if finite(value) else DASH


def percent(value: Any, digits: int = 1) -> str:
    """A share in [0, 1] as percent."""
    return f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%" if finite(value) else DASH


def time(milliseconds: Any) -> str:
    """Milliseconds since 1970 as UTC date and time."""
    if not finite(milliseconds):
        return DASH
    try:
        moment = datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.timezone.utc)
    except (OverflowError, ValueError, OSError):
        return DASH
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def setting(value: Any) -> str:
    """A setting's value as JSON, words without quotes."""
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def finite(value: Any) -> bool:
    """Whether `value` is a number and neither NaN nor infinite."""
    return not isinstance(value, (str, bytes)) and value is not None and math.isfinite(value)
