"""Builds HRL-Rec for one log: networks, targets, agents and policies."""

import tensorflow as tf

from hrlrec_tf.agents.hierarchy import HrlRecAgent
from hrlrec_tf.agents.policy import ExploringPolicy, RankingPolicy, session_observation_spec
from hrlrec_tf.config import Config
from hrlrec_tf.data.input import Batch, SessionReader
from hrlrec_tf.networks.hrl_rec import HrlRecNetwork
from hrlrec_tf.ranking import Ranker

COLLECT_EPSILON = 0.1  # share of positions drawn at random by the collect policy


def build_network(config: Config, reader: SessionReader, name: str = "online") -> HrlRecNetwork:
    """Both levels with all weights made."""
    network = HrlRecNetwork(reader.spec, reader.sizes, config.network, config.click_score, name=name)
    network(_empty_batch(reader))
    return network


def build_agent(config: Config, reader: SessionReader) -> HrlRecAgent:
    """An initialised agent; its targets equal its online networks."""
    return compose_agent(config, build_network(config, reader), build_network(config, reader, "target"))


def compose_agent(config: Config, network: HrlRecNetwork, target: HrlRecNetwork) -> HrlRecAgent:
    """An initialised agent on networks that `build_network` made of `config`."""
    policy = RankingPolicy(Ranker(network))
    agent = HrlRecAgent(
        network,
        target,
        session_observation_spec(network.spec),
        config,
        policies=(policy, ExploringPolicy(policy, COLLECT_EPSILON)),
        train_step_counter=tf.Variable(0, dtype=tf.int64, name="train_step"),
    )
    agent.initialize()
    return agent


def _empty_batch(reader: SessionReader) -> Batch:
    """One session of padding."""
    spec = session_observation_spec(reader.spec)
    return {name: tf.zeros([1, *(size or 1 for size in tensor.shape)], tensor.dtype) for name, tensor in spec.items()}
