"""Agents on tiny sessions."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import tensorflow as tf
import tiny

from hrlrec_tf.agents.builder import build_agent
from hrlrec_tf.agents.experience import ListExperience
from hrlrec_tf.agents.hierarchy import HrlRecAgent
from hrlrec_tf.networks.hrl_rec import HrlRecNetwork

MakeAgent = Callable[..., HrlRecAgent]


@pytest.fixture
def make_agent(reader) -> Iterator[MakeAgent]:
    """Builds an agent of `settings` whose weights differ enough for every gradient to show."""

    def make(*settings: str) -> HrlRecAgent:
        tf.keras.utils.set_random_seed(3)
        agent = build_agent(tiny.config("network.critic_head=linear", *settings), reader)
        rng = np.random.default_rng(5)
        for variable in agent.model.trainable_variables:
            variable.assign_add(rng.normal(0, 0.2, variable.shape))
        agent.initialize()
        return agent

    yield make


@pytest.fixture(scope="package")
def experience(reader) -> ListExperience:
    """Lists of one to four rows."""
    return tiny.experience(reader, tiny.random_batch(reader, 8, seed=4))


def parts_of(network: HrlRecNetwork) -> dict[str, list[tf.Variable]]:
    """Trainable weights by the part they belong to."""
    parts = {
        f"{name} {part}": getattr(level, part).trainable_variables
        for name, level in network.levels.items()
        for part in ("encoder", "cumulative", "actor", "critic", "click_head")
    }
    items = network.embedding.items.trainable_variables
    known = {id(variable) for variable in items}
    return {**parts, "items": items, "tables": [v for v in network.embedding.trainable_variables if id(v) not in known]}


def trained_by(network: HrlRecNetwork, loss: Callable[[], tf.Tensor]) -> set[str]:
    """Parts that get a gradient other than zero from a loss."""
    with tf.GradientTape() as tape:
        value = loss()
    parts = parts_of(network)
    found = set()
    for part, slopes in tape.gradient(value, parts).items():
        if any(slope is not None and np.abs(tf.convert_to_tensor(slope)).max() > 0 for slope in slopes):
            found.add(part)
    return found
