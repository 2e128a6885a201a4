"""The TF-Agents environment: contract, episodes, days, and the same clicks as the click model gives."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.drivers import dynamic_step_driver
from tf_agents.environments import tf_py_environment, utils
from tf_agents.metrics import tf_metrics
from tf_agents.policies import random_tf_policy

from hrlrec_tf.errors import ConfigError, PolicyError
from hrlrec_tf.simulator import clicks
from hrlrec_tf.simulator.config import Shock, WorldConfig
from hrlrec_tf.simulator.environment import FeedEnvironment, repaired
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.noise import Purpose, uniform
from hrlrec_tf.simulator.requests import Requests

WORLD = WorldConfig(users=60, items=200, requests_per_day=80, positions=4, candidates_per_channel=12)


def first_places(step, positions=4):
    """Each slot's first candidates."""
    return np.argsort(step.observation["candidate_item"] < 0, axis=1, kind="stable")[:, :positions].astype(np.int32)


def steps(environment, count):
    """`count` steps after the reset, as (step before, action, step after)."""
    before = environment.reset()
    for _ in range(count):
        action = first_places(before, environment.feed.config.positions)
        after = environment.step(action)
        yield before, action, after
        before = after


@pytest.mark.parametrize("values", [{}, {"positions": 1}, {"list_lengths": (0.5, 0.2, 0.2, 0.1)}])
def test_tf_agents_finds_it_valid(values):
    world = dataclasses.replace(WORLD, **values)
    utils.validate_py_environment(FeedEnvironment(world, 7, repair=True), episodes=30)
    utils.validate_py_environment(FeedEnvironment(world, 1, repair=True), episodes=3)


def test_a_driver_collects_from_it():
    environment = tf_py_environment.TFPyEnvironment(FeedEnvironment(WORLD, 5, repair=True))
    policy = random_tf_policy.RandomTFPolicy(environment.time_step_spec(), environment.action_spec())
    episodes, gains = tf_metrics.NumberOfEpisodes(), tf_metrics.AverageReturnMetric(batch_size=5)
    seen = []
    driver = dynamic_step_driver.DynamicStepDriver(
        environment, policy, observers=[episodes, gains, lambda t: seen.append(t)], num_steps=100
    )
    driver.run()
    assert episodes.result() > 10
    assert 0 < gains.result() < 30
    assert seen[0].action.shape == (5, 4)


def test_clicks_are_those_of_the_click_model():
    """The same lists for the same keys, from another feed object and from what the observation says."""
    environment, feed = FeedEnvironment(WORLD, 20), Feed.create(WORLD)
    rewards = 0.0
    number = np.zeros((2_000, WORLD.users), int)
    for before, action, after in steps(environment, 30):
        seen = before.observation
        within = np.flatnonzero(~before.is_last())
        assert (after.reward[before.is_last()] == 0).all()
        if not len(within):
            continue
        users, days, day = seen["user"][within], seen["day"][within], int(seen["day"][within[0]])
        assert (days == day).all()
        moods = (uniform(WORLD.seed, Purpose.MOOD, users, day) * WORLD.topics).astype(np.int32)
        fresh = before.is_first()[within]
        number[day, users[~fresh]] += 1  # within a visit lists are counted on
        number[day, users[fresh]] = environment.shown.requests.numbers[fresh]
        requests = Requests(
            day, users, number[day, users], seen["device"][within].astype(np.int8), moods, seen["timestamp"][within]
        )
        lists = np.take_along_axis(seen["candidate_item"], action, axis=1)[within]
        wanted = clicks.respond(feed, requests, lists).clicks.sum(axis=1)
        np.testing.assert_array_equal(after.reward[within], wanted)
        rewards += wanted.sum()
    assert rewards > 30


def test_visits_begin_go_on_and_end():
    kinds, lengths, running = set(), [], np.zeros(10, int)
    for before, _, after in steps(FeedEnvironment(WORLD, 10), 60):
        assert len(np.unique(after.observation["user"])) == 10
        kinds |= set(zip(before.step_type.tolist(), after.step_type.tolist(), strict=True))
        last = after.is_last()
        np.testing.assert_array_equal(after.discount, 1.0 - last)
        same = before.observation["user"] == after.observation["user"]
        assert same[~after.is_first()].all()
        moved = after.is_mid() & (after.observation["timestamp"] < before.observation["timestamp"] + 20_000)
        assert not moved.any()
        running = np.where(after.is_first(), 0, running + 1)
        lengths += running[last].tolist()
    assert kinds == {(0, 1), (0, 2), (1, 1), (1, 2), (2, 0)}  # after the last step the first of the next visit
    assert max(lengths) <= WORLD.max_requests and 1.2 < np.mean(lengths) < 4


def test_days_pass_with_the_requests():
    world = dataclasses.replace(WORLD, weekday_cycle=0.2, start_date="2024-01-05")  # a Friday: 64, then 120 lists
    lists = np.zeros(50, int)
    for before, _, after in steps(FeedEnvironment(world, 8), 80):
        within = ~before.is_last()
        np.add.at(lists, before.observation["day"][within], 1)
        ended = after.observation["day"][within] == before.observation["day"][within]
        assert ended.all()  # no visit goes on into the next day
    full = lists[:3]
    assert (full >= [64, 120, 120]).all() and (full < np.array([64, 120, 120]) + 8).all()
    assert lists[3] > 0


def test_the_seed_decides():
    def run(world, size=6):
        return [
            (after.reward.tolist(), after.observation["candidate_item"].tolist())
            for *_, after in steps(FeedEnvironment(world, size), 15)
        ]

    assert run(WORLD) == run(WORLD)
    assert run(WORLD) != run(dataclasses.replace(WORLD, seed=1))


def test_observations_say_what_a_feed_knows():
    feed = Feed.create(WORLD)
    environment = FeedEnvironment(feed, 6)
    seen = environment.reset().observation
    items = seen["candidate_item"]
    there = items >= 0
    np.testing.assert_array_equal(seen["candidate_channel"][there], feed.corpus.channels[items[there]])
    assert (seen["candidate_channel"][~there] == -1).all() and (seen["candidate_tags"][~there] == -1).all()
    row, place = np.argwhere(there)[5]
    tags = seen["candidate_tags"][row, place]
    item = items[row, place]
    assert set(tags) - {-1} == set(feed.corpus.tags[item]) - {feed.corpus.tag_count}
    np.testing.assert_array_equal(seen["gender"], feed.users.gender[seen["user"]])
    np.testing.assert_array_equal(seen["age_band"], feed.users.age_band[seen["user"]])
    kept = {name: values.copy() for name, values in seen.items()}
    environment.step(first_places(environment.current_time_step()))
    for name, values in kept.items():  # a step does not write into what was handed out
        np.testing.assert_array_equal(seen[name], values)


def test_a_flood_and_an_outage_keep_the_shape():
    shocks = (Shock(0, "news", "outage", 1.0), Shock(1, "article", "flood", 1.0))
    environment = FeedEnvironment(dataclasses.replace(WORLD, items=600, shocks=shocks), 20)
    assert environment.action_spec().maximum == 5 * 12 - 1
    counts = {}
    for before, *_ in steps(environment, 20):
        there = (before.observation["candidate_item"] >= 0).sum(axis=1)
        counts |= dict(zip(before.observation["day"].tolist(), there.tolist(), strict=True))
    assert [counts[day] for day in range(3)] == [36, 60, 48]


def test_lists_that_cannot_be_shown_are_refused():
    environment = FeedEnvironment(WORLD, 2)
    places = first_places(environment.reset())
    twice, outside = places.copy(), places.copy()
    twice[1, 3] = twice[1, 0]
    outside[0, 2] = environment.action_spec().maximum + 1
    with pytest.raises(PolicyError, match="twice"):
        environment.step(twice)
    with pytest.raises(PolicyError, match="candidates stand at 0 to 47"):
        environment.step(outside)
    with pytest.raises(PolicyError, match="shape"):
        environment.step(places[:, :3])
    assert environment.step(places).reward.shape == (2,)  # a refusal changes nothing


def test_repair_changes_only_what_cannot_be_shown():
    items = np.array([[7, -1, 5, 4, 3], [7, 6, 5, 4, 3], [7, -1, 5, -1, -1]])
    places = np.array([[1, 3, 3], [4, 2, 0], [9, -3, 2]])
    np.testing.assert_array_equal(repaired(places, items), [[0, 3, 2], [4, 2, 0], [0, -1, 2]])


def test_more_slots_than_users_are_refused():
    with pytest.raises(ConfigError, match="batch_size must be from 1 to the world's 60 users, got 61"):
        FeedEnvironment(WORLD, 61)
    environment = FeedEnvironment(WORLD, 60)
    for *_, after in steps(environment, 5):
        assert len(np.unique(after.observation["user"])) == 60


def test_it_runs_inside_a_graph():
    environment = tf_py_environment.TFPyEnvironment(FeedEnvironment(WORLD, 3))

    @tf.function
    def step():
        items = environment.current_time_step().observation["candidate_item"]
        return environment.step(tf.argsort(tf.cast(items < 0, tf.int32), stable=True)[:, :4]).reward

    environment.reset()
    assert step().shape == (3,)
