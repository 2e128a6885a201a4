import numpy as np
import pytest
import tensorflow as tf

from hrlrec_tf.agents.policy import as_time_step
from hrlrec_tf.features import CANDIDATE


def test_policy_ranks_greedily(make_agent, observation):
    policy = make_agent().policy
    step = policy.action(as_time_step(observation))
    assert step.action.shape == (3, 4) and step.action.dtype == policy.action_spec.dtype
    assert (np.sort(step.action, axis=1) == np.arange(4)).all()
    assert set(step.info) == set(policy.info_spec)
    for name, spec in policy.info_spec.items():
        assert step.info[name].dtype == spec.dtype and step.info[name].shape[1:] == spec.shape
    expected = tf.gather(observation[f"{CANDIDATE}item_id_text"], step.action, batch_dims=1)
    assert step.info["item_id"].numpy().tolist() == expected.numpy().tolist()
    assert step.info["explored"].numpy().max() == 0
    np.testing.assert_array_equal(step.info["propensity_channel"], 1)
    again = policy.action(as_time_step(observation))
    np.testing.assert_array_equal(step.action, again.action)


def test_collect_policy_explores_and_says_how_likely_it_was(make_agent, observation):
    tf.random.set_seed(2)
    many = tf.nest.map_structure(lambda values: tf.repeat(values, 300, axis=0), observation)
    policy = make_agent().collect_policy
    step = policy.action(as_time_step(many))
    assert (np.sort(step.action, axis=1) == np.arange(4)).all()
    assert 0.07 < step.info["explored"].numpy().mean() < 0.13
    propensity = (step.info["propensity_channel"] * step.info["propensity_item"]).numpy()
    assert ((0 < propensity) & (propensity <= 1)).all()
    # At the first position: .1 / 4 each, and .9 more for the greedy choice.
    first = {round(float(value), 5) for value in propensity[:, 0]}
    assert first == {0.025, 0.925}


def test_collect_policy_explores_channels(make_agent, observation):
    """Candidates of news, video, article and news: a channel has a third of its share, an item a quarter."""
    tf.random.set_seed(3)
    policy = make_agent("network.channel_exploration=0.5").collect_policy
    many = tf.nest.map_structure(lambda values: tf.repeat(values, 300, axis=0), observation)
    info = policy.action(as_time_step(many)).info
    propensity = (info["propensity_channel"] * info["propensity_item"]).numpy()[:, 0]
    kept, channel, item = 0.9, 0.1 * 0.5 / 3, 0.1 * 0.5 / 4
    possible = {kept + channel + item, channel + item, item}  # greedy, best of another channel, any other
    assert {round(float(value), 5) for value in propensity} == {round(value, 5) for value in possible}


def test_policies_follow_the_trained_weights(make_agent, observation, experience):
    agent = make_agent("training.learning_rate=0.01")
    before = agent.policy.action(as_time_step(observation)).info["click_probability"]
    agent.train(experience)
    after = agent.policy.action(as_time_step(observation)).info["click_probability"]
    assert np.abs(after - before).max() > 1e-5
    for policy in (agent.policy, agent.collect_policy):
        assert {id(v) for v in policy.variables()} == {id(v) for v in agent.model.variables}


def test_an_exploring_policy_has_no_distribution(make_agent, observation):
    with pytest.raises(NotImplementedError, match="an exploring policy yields lists"):
        make_agent().collect_policy.distribution(as_time_step(observation))
