"""Agents on tiny sessions."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
import tiny

from hrlrec_tf.agents.builder import build_network, compose_agent
from hrlrec_tf.agents.experience import ListExperience
from hrlrec_tf.agents.hierarchy import HrlRecAgent
from hrlrec_tf.agents.policy import ranking_observation_spec
from hrlrec_tf.config import Config
from hrlrec_tf.data.input import SessionReader
from hrlrec_tf.features import CANDIDATE
from hrlrec_tf.networks.hrl_rec import HrlRecNetwork

MakeAgent = Callable[..., HrlRecAgent]
CHANNELS = ("news", "video", "article")


class _Networks:
    """Online and target networks at their start; building them takes longer than a training step."""

    def __init__(self, config: Config, reader: SessionReader) -> None:
        tf.keras.utils.set_random_seed(3)
        self.online, self.target = build_network(config, reader), build_network(config, reader, "target")
        rng = np.random.default_rng(5)
        for variable in self.online.trainable_variables:  # or some gradients would be too small to show
            variable.assign_add(rng.normal(0, 0.2, variable.shape))
        self._start = self.online.get_weights()

    def restart(self) -> None:
        for network in (self.online, self.target):
            network.set_weights(self._start)


def _restart(agent: HrlRecAgent) -> HrlRecAgent:
    """Puts optimizers and counters back to their start, which is zero."""
    optimizers = [agent.optimizer, *(level.optimizer for level in agent.levels.values())]
    variables = [
        agent.train_step_counter,
        *(v for optimizer in optimizers for v in optimizer.variables if v is not optimizer.learning_rate),
        *(v for level in agent.levels.values() for v in level._update_target.variables),
    ]
    for variable in variables:
        variable.assign(tf.zeros_like(variable))
    return agent


@pytest.fixture(scope="package")
def make_agent(reader: SessionReader) -> MakeAgent:
    """Makes an agent of `settings` at its start. Agents of equal networks share them: use one at a time."""
    networks: dict[tuple, _Networks] = {}
    agents: dict[tuple[str, ...], HrlRecAgent] = {}

    def make(*settings: str) -> HrlRecAgent:
        config = tiny.config("network.critic_head=linear", *settings)
        key = (config.network, config.click_score)
        if key not in networks:
            networks[key] = _Networks(config, reader)
        networks[key].restart()
        if settings not in agents:
            agents[settings] = compose_agent(config, networks[key].online, networks[key].target)
        return _restart(agents[settings])

    return make


@pytest.fixture(scope="package")
def experience(reader: SessionReader) -> ListExperience:
    """Lists of one to four rows."""
    return tiny.experience(reader, tiny.random_batch(reader, 8, seed=4))


@pytest.fixture(scope="package")
def observation(reader: SessionReader) -> dict[str, tf.Tensor]:
    """Three requests whose candidates are the items of a displayed list, each in a channel of its own."""
    batch = tiny.random_batch(reader, 3, rows=4)
    count = 4
    spec = ranking_observation_spec(reader.spec)
    observation = {name: values for name, values in batch.items() if name in spec}
    for name in reader.spec.item:
        observation[CANDIDATE + name] = batch[name]
    observation[f"{CANDIDATE}item_id_text"] = tf.constant([[f"{b}-{i}" for i in range(count)] for b in range(3)])
    observation[f"{CANDIDATE}channel_text"] = tf.constant([[CHANNELS[i % 3] for i in range(count)]] * 3)
    observation[f"{CANDIDATE}tags_text"] = tf.fill([3, count, reader.spec.max_tags], "")
    observation["profile_channel_text"] = tf.constant([["news", "video"]] * 3)
    observation["profile_tag_text"] = tf.constant([["a", "b"]] * 3)
    assert set(observation) == set(spec)
    return observation


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
