"""Inverse propensities against what the judged policy really earns."""

import dataclasses

import numpy as np
import pytest

from hrlrec_tf.experiments import counterfactual
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.days import show, simulate_day
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.policy import Choice, LoggingPolicy, Oracle
from hrlrec_tf.simulator.traffic import Open
from hrlrec_tf.simulator.trial import Stage

WORLD = WorldConfig(
    users=400, items=60, days=6, requests_per_day=1_500, positions=8, candidates_per_channel=2, explore_share=0.5
)


class First:
    """The first candidate of all, whoever asks: an item of the first channel."""

    name = "first"

    def lists(self, requests, candidates):
        return Choice.certain(np.tile(np.arange(8), (len(requests), 1)))


def truth(world, policy):
    """Click rate at the first position if the policy had served the very requests of the log."""
    feed = Feed.create(world)
    stage = Stage.open(feed, 5)
    clicks, lists = 0.0, 0
    for day in range(6):
        for logged in simulate_day(feed, LoggingPolicy(feed), Open(feed, stage.states), day):
            served = show(feed, policy(feed), logged.requests)
            clicks += served.click_probability[:, 0].sum()
            lists += len(logged.requests)
    return clicks / lists


@pytest.mark.parametrize("policy", [lambda feed: First(), Oracle], ids=["first", "oracle"])
def test_it_finds_what_a_policy_would_have_earned(policy):
    stage = Stage.open(Feed.create(WORLD), 5)
    found = counterfactual.first_position(stage, lambda stage: policy(stage.feed), range(6), range(6))["item"]
    want = truth(WORLD, policy)
    assert found["low"] < want < found["high"] and found["high"] - found["low"] < 0.15
    assert found["effective_sample_size"] > 100 and found["reason"] == ""
    logged = truth(WORLD, LoggingPolicy)
    assert abs(logged - want) > 0.02  # another policy earns something else


def test_the_channel_level_is_worth_the_logging_policys_items():
    """Under the very logging policy both levels say what the log says."""
    world = dataclasses.replace(WORLD, explore_share=0.0)
    stage = Stage.open(Feed.create(world), 5)
    found = counterfactual.first_position(stage, lambda stage: LoggingPolicy(stage.feed), range(4), range(2, 4))
    assert found["item"]["value"] == found["channel"]["value"]
    assert found["item"]["effective_sample_size"] == pytest.approx(found["item"]["lists"])


def test_too_few_matches_have_no_value_and_a_reason():
    world = WorldConfig(users=100, items=400, days=3, requests_per_day=100)
    stage = Stage.open(Feed.create(world), 5)
    found = counterfactual.first_position(stage, lambda stage: Oracle(stage.feed), range(3), range(2, 3))
    assert np.isnan(found["item"]["value"]) and found["item"]["reason"]
    assert found["item"]["effective_sample_size"] < counterfactual.LEAST_SAMPLE
