"""Builds HRL-Rec, or a model of another design, for one log: networks, targets, agents and policies."""

from typing import Any, NamedTuple

import tensorflow as tf

from hrlrec_tf.agents.hierarchy import HrlRecAgent
from hrlrec_tf.agents.policy import ExploringPolicy, RankingPolicy, session_observation_spec
from hrlrec_tf.config import Config
from hrlrec_tf.data.input import Batch, SessionReader
from hrlrec_tf.networks.hrl_rec import HrlRecNetwork
from hrlrec_tf.networks.list_network import ListNetwork
from hrlrec_tf.ranking import Ranker

COLLECT_EPSILON = 0.1  # share of positions drawn at random by the collect policy


class Design(NamedTuple):
    """What a model is made of."""

    network: type[ListNetwork]
    agent: type[Any]  # made, trained and looked into as `HrlRecAgent` is
    ranker: type[Ranker]


HRL_REC = Design(HrlRecNetwork, HrlRecAgent, Ranker)


def build_network(config: Config, reader: SessionReader, name: str = "online", design: Design = HRL_REC) -> ListNetwork:
    """All levels with all weights made."""
    sizes = reader.sizes_for(config.network.min_item_impressions)
    network = design.network(reader.spec, sizes, config.network, config.click_score, name=name)
    network(_empty_batch(reader))
    return network


def build_agent(config: Config, reader: SessionReader, design: Design = HRL_REC) -> Any:
    """An initialised agent; its targets equal its online networks."""
    online, target = (build_network(config, reader, name, design) for name in ("online", "target"))
    return compose_agent(config, online, target, design)


def compose_agent(config: Config, network: ListNetwork, target: ListNetwork, design: Design = HRL_REC) -> Any:
    """An initialised agent on networks that `build_network` made of `config`."""
    policy = RankingPolicy(design.ranker(network))
    agent = design.agent(
        network,
        target,
        session_observation_spec(network.spec),
        config,
        policies=(policy, ExploringPolicy(policy, COLLECT_EPSILON)),
        train_step_counter=tf.Variable(
            0, dtype=tf.int64, name="train_step", aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
        ),
    )
    agent.initialize()
    return agent


def _empty_batch(reader: SessionReader) -> Batch:
    """One session of padding."""
    spec = session_observation_spec(reader.spec)
    return {name: tf.zeros([1, *(size or 1 for size in tensor.shape)], tensor.dtype) for name, tensor in spec.items()}
