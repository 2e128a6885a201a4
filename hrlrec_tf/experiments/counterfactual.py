"""What the log alone says of a policy by inverse propensities, to be laid beside what an A/B test says.

At the first position nothing stands above, so the policy's choice for a logged request is what it would have shown. The
estimate of its click rate there is self-normalised IPS (`evaluation/off_policy.py`), at two levels:

* item: logged clicks where the policy would have shown the very item, over the item's propensity;
* channel: where it would have taken the channel, over the channel's propensity: what its channels are worth with the
  logging policy's items in them.

Below an effective sample of LEAST_SAMPLE lists there is no value: of 800 candidates an explored one is rarely the
policy's own.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hrlrec_tf.evaluation import off_policy
from hrlrec_tf.simulator.days import simulate_day
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.policy import LoggingPolicy, Policy
from hrlrec_tf.simulator.requests import Requests
from hrlrec_tf.simulator.traffic import Open
from hrlrec_tf.simulator.trial import Stage

LEAST_SAMPLE = 30
_REPLICATES = 1_000


def first_position(
    stage: Stage, make_policy: Callable[[Stage], Policy], logged: Sequence[int], judged: Sequence[int]
) -> dict[str, dict[str, Any]]:
    """Click rate at position 1 under a policy, from days under the logging policy.

    Args:
      stage: the morning of the first logged day; goes on to the last evening.
      make_policy: the policy on a stage.
      logged: all days of the log, from the first.
      judged: those of them whose lists count.

    Returns:
      `item` and `channel` -> value, low, high (a bootstrap over users), effective_sample_size, lists, reason.
    """
    policy, logging = make_policy(stage), LoggingPolicy(stage.feed)
    traffic = Open(stage.feed, stage.states)
    parts: list[tuple[np.ndarray, ...]] = []
    for day in logged:
        for lists in simulate_day(stage.feed, logging, traffic, day):
            if day in judged:
                wanted, logged_choice = _first_items(stage.feed, policy, lists.requests), lists.choice
                chances = (logged_choice.propensity_channel[:, 0], logged_choice.propensity_item[:, 0])
                parts.append((wanted, lists.items[:, 0], lists.clicks[:, 0], lists.requests.users, *chances))
            stage.journal.add(lists)
    wanted, shown, clicks, users, of_channel, within = (np.concatenate(each) for each in zip(*parts, strict=True))
    channels = stage.feed.corpus.channels
    return {
        "item": _estimate(clicks, of_channel * within, wanted == shown, users),
        "channel": _estimate(clicks, of_channel, channels[wanted] == channels[shown], users),
    }


def _first_items(feed: Feed, policy: Policy, requests: Requests) -> np.ndarray:
    """[requests]: the item that a policy would have shown first."""
    candidates = feed.matcher.candidates(requests)
    places = policy.lists(requests, candidates).places[:, :1]
    first: np.ndarray = np.take_along_axis(candidates.items, places, axis=1)[:, 0]
    return first


def _estimate(clicks: np.ndarray, propensity: np.ndarray, same: np.ndarray, users: np.ndarray) -> dict[str, Any]:
    lists = off_policy.LoggedLists(
        reward=clicks[:, np.newaxis].astype(float),
        logging=np.minimum(propensity, 1.0)[:, np.newaxis],
        target=same[:, np.newaxis].astype(float),
        valid=np.ones((len(clicks), 1), bool),
        user=users,
    )
    weights = off_policy.importance_weights(lists, "position")
    terms = off_policy.self_normalized(lists, weights)
    found = off_policy.estimate(lists, weights, terms, LEAST_SAMPLE, _REPLICATES, seed=0)
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "effective_sample_size": float(found.effective_sample_size[0]),
        "lists": len(clicks),
        "reason": found.reason,
    }
