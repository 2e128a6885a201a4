"""Fits a world to a log.

What a log says outright is taken from it: dates, list lengths, the hour and weekday cycles, how many users and items
occur. The rest is found by fixed-point rounds: a trial log of the world is measured as the log was, and every parameter
moves by what its statistic missed. A trial's luck is keyed, so that rounds differ by their parameters only.

| parameter | moved by |
|---|---|
| click_intercept, channel_intercepts | log-odds of the channel's click rate |
| position_decay, abandonment, both fatigues | log click rate by position; see `_position_effects` |
| policy_channels | log share of the impressions |
| dwell_scales | ratio of median dwell times of clicked rows |
| activity_spread | ratio of the standard deviations of log lists per user |
| another_request | log-odds of another list, from lists per user and day |
| users, items, channel_shares | how many users, and items of each channel, occur |

Sizes move in the first rounds only: a new size is a new draw of the world. Positions speak for the click model
`examination` alone. Nothing here looks at tastes, tags, satisfaction or new items: a log does not say them without a
model, so they stay what the world to start from says.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy import optimize, special

from hrlrec_tf.simulator import fit_start, log_profile, log_rows
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.days import simulate_day
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.log_profile import Floats, LogProfile
from hrlrec_tf.simulator.policy import LoggingPolicy
from hrlrec_tf.simulator.state import UserStates
from hrlrec_tf.simulator.traffic import Fixed

SIZE_ROUNDS, ROUNDS = 3, 6
_TRIAL_LISTS, _TRIAL_DAYS = 15_000, 28  # of a trial at most
_MOST_HIDDEN = 2.0  # users or items of the world per one that occurs in the log
_POLICY_STEP = 0.35  # of policy_channels per unit of log share: about what the best 1 % of many scores make of it
# Standard deviations around the start that a position effect may have before the data must speak for it.
_DECAY_SPREAD, _ABANDONMENT_SPREAD, _FATIGUE_SPREAD = 0.5, 0.05, 0.5  # the last of the start's fatigue
_FATIGUE_SLOPE = 0.1  # what a whole fatigue takes from the log click rate per position, about


def fit(log: LogProfile, start: WorldConfig, told: Callable[[], object] = lambda: None) -> WorldConfig:
    """The world whose log is most like a given one.

    Args:
      log: what is to be like.
      start: everything that a log does not say.
      told: is called after each of SIZE_ROUNDS + ROUNDS rounds.

    Raises:
      LogError: the log cannot be fitted.
    """
    config = fit_start.world(log, start)
    for _ in range(SIZE_ROUNDS):
        trial = measure_trial(config)
        config = resize(improve(config, log, trial, start), log, trial)
        told()
    tried = []
    for _ in range(ROUNDS):
        trial = measure_trial(config)
        tried.append((misfit(log, trial), config))
        config = improve(config, log, trial, start)
        told()
    return min(tried, key=lambda each: each[0])[1]


def measure_trial(config: WorldConfig) -> LogProfile:
    """What a log of a world is like, or of a smaller one: fewer users, each as busy, in some of the days."""
    days = min(config.days, _TRIAL_DAYS)
    lists = config.requests_per_day * config.days
    share = min(1.0, _TRIAL_LISTS / lists)
    users, requests = max(round(share * config.users), 1), max(round(share * lists / days), 1)
    feed = Feed.create(dataclasses.replace(config, users=users, requests_per_day=requests))
    policy, traffic = LoggingPolicy(feed), Fixed(feed, UserStates(feed))
    dates = np.linspace(0, config.days - 1, days).round().astype(int).tolist()
    shown = (lists for day in dates for lists in simulate_day(feed, policy, traffic, day))
    return dataclasses.replace(log_profile.measure(log_rows.of_days(feed, shown)), scale=share)


def misfit(log: LogProfile, trial: LogProfile) -> float:
    """Mean squared log ratio over the statistics that are fitted; 0 where a trial is exactly like the log."""
    groups: list[Floats] = [
        _log_odds(trial.channel_click_rates, trial) - _log_odds(log.channel_click_rates, log),
        np.log(_share(trial.impression_shares) / _share(log.impression_shares)),
        _position_ratios(log, trial),
        np.log(trial.lists_per_user / log.lists_per_user),
        np.log([trial.lists_per_visit / log.lists_per_visit]),
    ]
    return float(np.mean([np.mean(np.square(group)) for group in groups]))


def improve(config: WorldConfig, log: LogProfile, trial: LogProfile, start: WorldConfig) -> WorldConfig:
    """Moves every parameter that keeps the world's users and items by what its statistic missed."""
    wanted = _log_odds(log.channel_click_rates, log) - _log_odds(trial.channel_click_rates, trial)
    intercepts = config.click_intercept + np.array(config.channel_intercepts) + wanted
    level = float(np.clip(log.impression_shares @ intercepts, -10, 5))
    shares = np.log(_share(log.impression_shares) / _share(trial.impression_shares))
    weights = np.array(config.policy_channels) + _POLICY_STEP * shares
    dwell = np.nan_to_num(log.dwell_medians / trial.dwell_medians, nan=1.0)
    decay, abandonment, fatigue = _position_effects(config, log, trial, start)
    spread = config.activity_spread * log.activity_spread / max(trial.activity_spread, 0.01)
    again = special.logit(config.another_request) + np.log(_again(log) / _again(trial))
    return dataclasses.replace(
        config,
        click_intercept=level,
        channel_intercepts=_clipped(intercepts - level, -10, 10),
        policy_channels=_clipped(weights - weights.mean(), -10, 10),
        dwell_scales=_clipped(np.array(config.dwell_scales) * dwell, 1e-3, 1e3),
        position_decay=decay,
        abandonment=abandonment,
        channel_fatigue=fatigue * start.channel_fatigue,
        tag_fatigue=fatigue * start.tag_fatigue,
        activity_spread=float(np.clip(spread, 0.05, 3)),
        another_request=float(np.clip(special.expit(again), 0.001, 0.95)),
    )


def resize(config: WorldConfig, log: LogProfile, trial: LogProfile) -> WorldConfig:
    """As many users, and items of each channel, as let those of the log occur; up to _MOST_HIDDEN times as many.

    A trial with fewer users shows fewer items, and says nothing about how many a world needs.
    """
    users = config.users * log.users * trial.scale / trial.users
    occurring = log.items * log.item_shares
    items = config.items * np.array(config.channel_shares) * occurring / np.maximum(trial.items * trial.item_shares, 1)
    items = np.clip(items, occurring, _MOST_HIDDEN * occurring) if trial.scale == 1 else occurring
    return dataclasses.replace(
        config,
        users=round(np.clip(users, log.users, _MOST_HIDDEN * log.users)),
        **fit_start.item_sizes(items.sum(), items, config.positions),
    )


def _position_effects(
    config: WorldConfig, log: LogProfile, trial: LogProfile, start: WorldConfig
) -> tuple[float, float, float]:
    """(decay, abandonment, share of the start's fatigue): least squares on what is missing by position.

    Effects on the log click rate: -log t, -(t - 1) and, of both fatigues, which shrink in step and never grow, a part
    of the latter. Each is held near the start; what a log does not tell apart is shared out by the spreads.
    """
    places = np.arange(1, config.positions + 1)
    downwards = -(1 - log.click_rate) * (places - 1.0)
    effects = np.stack([-np.log(places), downwards, _FATIGUE_SLOPE * downwards], axis=1)
    # 1 / variance of a log rate, and 1 % that no world can be held to.
    weight = 1 / (1 / np.maximum(log.position_click_rates * log.position_rows, 1) + 1e-4)
    centred, missing = (
        values - np.average(values, axis=0, weights=weight) for values in (effects, _position_ratios(trial, log))
    )
    now = np.array([config.position_decay, config.abandonment, _fatigue_share(config, start)])
    usual = np.array([start.position_decay, start.abandonment, 1.0])
    held = 1 / np.array([_DECAY_SPREAD, _ABANDONMENT_SPREAD, _FATIGUE_SPREAD])
    rows = np.concatenate([np.sqrt(weight)[:, np.newaxis] * centred, np.diag(held)])
    wanted = np.concatenate([np.sqrt(weight) * (missing + centred @ now), held * usual])
    decay, abandonment, fatigue = optimize.lsq_linear(rows, wanted, bounds=([0, 0, 0], [3, 1, 1])).x.round(6).tolist()
    return decay, abandonment, fatigue


def _fatigue_share(config: WorldConfig, start: WorldConfig) -> float:
    whole = start.channel_fatigue + start.tag_fatigue
    return (config.channel_fatigue + config.tag_fatigue) / whole if whole else 1.0


def _position_ratios(base: LogProfile, other: LogProfile) -> Floats:
    """[T]: log ratio of click rates by position, each relative to the log's overall rate."""
    places = min(len(base.position_rows), len(other.position_rows))
    rates = [
        (profile.position_click_rates * profile.position_rows + 0.5)[:places] / (profile.position_rows + 1)[:places]
        for profile in (base, other)
    ]
    relative = [np.log(rate / profile.click_rate) for rate, profile in zip(rates, (base, other), strict=True)]
    ratios = np.zeros(len(base.position_rows))
    ratios[:places] = relative[1] - relative[0]
    return ratios


def _log_odds(rates: Floats, profile: LogProfile) -> Floats:
    """[K] log-odds of click rates, with half a click for each side."""
    rows = profile.impression_shares * profile.rows
    odds: Floats = np.log((rates * rows + 0.5) / ((1 - rates) * rows + 0.5))
    return odds


def _share(shares: Floats) -> Floats:
    return np.maximum(shares, 1e-4)


def _again(profile: LogProfile) -> float:
    return max(profile.lists_per_visit - 1, 0.01)


def _clipped(values: Floats, low: float, high: float) -> tuple[float, ...]:
    return tuple(np.clip(values, low, high).tolist())
