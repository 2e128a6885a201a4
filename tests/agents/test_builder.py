import numpy as np
import pytest
import tensorflow as tf
import tiny

from hrlrec_tf.agents.builder import build_agent, build_network


@pytest.mark.parametrize("setting", ["losses.gamma=0.3", "losses.ctr=0", "network.critics=2"])
def test_every_weight_is_made(reader, setting):
    config = tiny.config(setting)
    agent = build_agent(config, reader)
    before = len(agent.model.variables)
    agent.loss(tiny.experience(reader, tiny.random_batch(reader), config))
    assert len(agent.model.variables) == len(agent.target.variables) == before > 50


def test_targets_start_as_the_online_networks_and_are_not_the_same_variables(reader):
    agent = build_agent(tiny.config(), reader)
    assert not {id(v) for v in agent.model.variables} & {id(v) for v in agent.target.variables}
    for online, target in zip(agent.model.variables, agent.target.variables):
        np.testing.assert_array_equal(online, target)


def test_the_seed_decides_the_weights(reader):
    def weights(seed: int) -> list[np.ndarray]:
        tf.keras.utils.set_random_seed(seed)
        return build_network(tiny.config(), reader).get_weights()

    first, again, other = weights(1), weights(1), weights(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other))
