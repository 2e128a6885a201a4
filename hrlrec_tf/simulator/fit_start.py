"""What a log says outright about its world, and which logs cannot be fitted."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from hrlrec_tf.errors import LogError
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.log_profile import Floats, LogProfile
from hrlrec_tf.simulator.traffic import WEEKEND

MOST_CHANNELS = 8  # of a fitted world; those with the fewest rows become one, `OTHER`
OTHER = "other"

_LEAST = {"rows": 1_000, "lists": 100, "users": 20, "items": 20}
_CANDIDATES = 800  # of a request, about
_MOST_DAYS = 366
_MOST_LISTS_PER_VISIT = 100


def world(log: LogProfile, start: WorldConfig) -> WorldConfig:
    """A first guess: all that is read off, and neutral values for what rounds must find.

    Raises:
      LogError: the log cannot be fitted.
    """
    refuse(log)
    count, positions = len(log.channels), len(log.position_rows)
    cycle = _weekdays(log)
    weights = 1 + cycle * np.where(log.weekend, WEEKEND[-1], WEEKEND[0])
    return dataclasses.replace(
        start,
        users=log.users,
        **item_sizes(log.items, log.item_shares, positions),
        days=log.days,
        requests_per_day=max(round(log.lists / weights.sum()), 1),
        positions=positions,
        list_lengths=tuple((log.length_shares / log.length_shares.sum()).tolist()),
        start_date=log.start.isoformat(),
        channel_names=log.channels,
        channel_intercepts=(0.0,) * count,
        dwell_scales=(1.0,) * count,
        policy_channels=(0.0,) * count,
        click_intercept=float(np.clip(special.logit(log.click_rate) - 1, -10, 5)),
        hour_shares=tuple((log.hours / log.hours.sum()).tolist()),
        weekday_cycle=cycle,
        max_requests=int(np.clip(log.most_lists_per_visit, start.max_requests, _MOST_LISTS_PER_VISIT)),
        candidates_per_channel=min(start.candidates_per_channel, max(_CANDIDATES // count, positions)),
        explore_share=_explored(log, start),
        shocks=(),
    )


def item_sizes(items: float, shares: Floats, positions: int) -> dict[str, Any]:
    """Fields of the corpus: no channel without an item, and enough of them for lists."""
    count = max(round(items), 20, 2 * positions)
    rounded = np.maximum(shares / shares.sum(), 1.01 / count)
    return {"items": count, "channel_shares": tuple((rounded / rounded.sum()).tolist())}


def refuse(log: LogProfile) -> None:
    """Raises LogError, with the remedy, for a log that no world can be fitted to."""
    for name, least in _LEAST.items():
        if getattr(log, name) < least:
            raise LogError(
                f"a world cannot be fitted to {getattr(log, name)} {name}; give a log with {least:,} or more"
            )
    if not log.clicks or log.clicks == log.rows:
        what = "no click" if not log.clicks else "only clicked rows"
        raise LogError(f"a world cannot be fitted to a log with {what}; check the column `clicks`")
    if len(log.channels) < 2:
        raise LogError(
            f"a world cannot be fitted to a log with one channel ({log.channels[0]}); map a column that tells kinds of "
            "items apart to `channel` in dataset.yaml"
        )
    if log.days > _MOST_DAYS:
        raise LogError(f"a world has at most {_MOST_DAYS} days and this log {log.days:,}; give a part of it")
    if log.hours.max() == 1 and log.days == 1:
        raise LogError(
            "all lists fall into one hour, so that nothing says who comes back; check the column `timestamp`"
        )


def notes(log: LogProfile, merged: Sequence[str], rejected: int) -> list[str]:
    """What the fit had to leave open or to change, in sentences.

    Args:
      log: what was fitted. merged: channels that became OTHER. rejected: rows that were not used.
    """
    found = []
    if rejected:
        found.append(f"{rejected:,} rows were rejected; hrlrec prepare says why")
    if merged:
        found.append(f"channels with the fewest rows are fitted as one, {OTHER}: {', '.join(merged)}")
    if len(log.position_rows) == 1:
        found.append("all lists have one row: nothing says how clicks fall with the position")
    if np.isnan(log.dwell_medians).any():
        absent = [name for name, value in zip(log.channels, log.dwell_medians, strict=True) if np.isnan(value)]
        found.append(f"no dwell time of clicked rows in {', '.join(absent)}: dwell times are the simulator's own")
    if never := [name for name, count in zip(log.channels, log.channel_clicks, strict=True) if not count]:
        found.append(f"channels without a click: {', '.join(never)}")
    if log.weekend.all() or not log.weekend.any():
        found.append("the log has no weekdays and weekend to compare: no weekday cycle")
    return found


def _explored(log: LogProfile, start: WorldConfig) -> float:
    """The log's own share; where it has none, no more than leaves the smallest channel small."""
    smallest = len(log.channels) * float(log.impression_shares.min()) / 2
    return log.explored_share or min(start.explore_share, smallest)


def _weekdays(log: LogProfile) -> float:
    """The cycle c from (1 + 2.5 c) / (1 - c) = lists of a weekend day / lists of a weekday."""
    weekend = log.weekend
    if weekend.all() or not weekend.any():
        return 0.0
    ratio = log.lists_by_day[weekend].mean() / max(log.lists_by_day[~weekend].mean(), 1e-9)
    return float(np.clip((ratio - 1) / (ratio + 2.5), 0, 0.5))
