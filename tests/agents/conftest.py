"""Agents on tiny sessions."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
import tiny

from hrlrec_tf.agents.builder import build_agent
from hrlrec_tf.agents.experience import ListExperience
from hrlrec_tf.agents.hierarchy import HrlRecAgent
from hrlrec_tf.data.input import SessionReader
from hrlrec_tf.networks.hrl_rec import HrlRecNetwork

MakeAgent = Callable[..., HrlRecAgent]


class _Reusable:
    """An agent that can be put back to its start; building one takes longer than a training step."""

    def __init__(self, agent: HrlRecAgent) -> None:
        self.agent = agent
        optimizers = [agent.optimizer, *(level.optimizer for level in agent.levels.values())]
        followers = [level._update_target for level in agent.levels.values()]
        self._variables = [
            *agent.model.variables,
            *agent.target.variables,
            agent.train_step_counter,
            *(variable for optimizer in optimizers for variable in optimizer.variables),
            *(variable for follower in followers for variable in follower.variables),
        ]
        self._start = [variable.numpy() for variable in self._variables]

    def restart(self) -> HrlRecAgent:
        for variable, value in zip(self._variables, self._start):
            variable.assign(value)
        return self.agent


@pytest.fixture(scope="package")
def _built() -> dict[tuple[str, ...], _Reusable]:
    return {}


@pytest.fixture
def make_agent(reader: SessionReader, _built: dict[tuple[str, ...], _Reusable]) -> MakeAgent:
    """Yields an agent of `settings` at its start, with weights that differ enough for every gradient to show."""

    def make(*settings: str) -> HrlRecAgent:
        if settings not in _built:
            tf.keras.utils.set_random_seed(3)
            agent = build_agent(tiny.config("network.critic_head=linear", *settings), reader)
            rng = np.random.default_rng(5)
            for variable in agent.model.trainable_variables:
                variable.assign_add(rng.normal(0, 0.2, variable.shape))
            agent.initialize()
            _built[settings] = _Reusable(agent)
        return _built[settings].restart()

    return make


@pytest.fixture(scope="package")
def experience(reader: SessionReader) -> ListExperience:
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
    return reached(tape, network, value)


def reached(tape: tf.GradientTape, network: HrlRecNetwork, loss: tf.Tensor) -> set[str]:
    """Parts that get a gradient other than zero from a loss on the tape."""
    slopes = tape.gradient(loss, parts_of(network))
    return {
        part
        for part, own in slopes.items()
        if any(slope is not None and np.abs(tf.convert_to_tensor(slope)).max() > 0 for slope in own)
    }
