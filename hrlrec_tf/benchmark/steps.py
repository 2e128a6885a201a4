"""One training step of HRL-Rec, with this package's state encoder or with one of stock Keras layers."""

import dataclasses
from collections.abc import Mapping

import tensorflow as tf

from hrlrec_tf.agents.builder import compose_agent
from hrlrec_tf.agents.experience import ListExperience, RewardModel
from hrlrec_tf.agents.hierarchy import HrlRecAgent
from hrlrec_tf.benchmark.plain_keras import PlainStateEncoder
from hrlrec_tf.benchmark.workload import CHANNELS, Workload, random_batch
from hrlrec_tf.networks.hrl_rec import HrlRecNetwork
from hrlrec_tf.networks.level import Level


class PlainLevel(Level):
    """A level with the stock state encoder."""

    encoder_type = PlainStateEncoder


class PlainNetwork(HrlRecNetwork):
    """HRL-Rec with stock state encoders; all else is the same."""

    level_type = PlainLevel


class TrainingStep:
    """One critic and one actor update of both levels, traced as `hrlrec train` traces it, for batches of any size.

    Args:
      workload: sizes, and the batch to start with.
      plain: whether its state encoder is the plain one.
    """

    def __init__(self, workload: Workload, plain: bool = False) -> None:
        self.workload = workload
        self.agent = _agent(workload, PlainNetwork if plain else HrlRecNetwork)
        self.resize(workload.batch)
        signature = tf.nest.map_structure(
            lambda values: tf.TensorSpec([None, *values.shape[1:]], values.dtype), self.experience
        )
        self._train = tf.function(self._train_step, input_signature=[signature], autograph=False)

    def resize(self, batch: int) -> None:
        """Trains on `batch` lists from now on."""
        rewards = RewardModel(self.workload.config.rewards, CHANNELS)
        self.experience = rewards.experience(_tensors(dataclasses.replace(self.workload, batch=batch)))

    def run(self) -> float:
        """Trains on the batch; returns the loss, and so has waited for everything."""
        return float(self._train(self.experience))

    def _train_step(self, experience: ListExperience) -> tf.Tensor:
        return self.agent.train(experience).extra.metrics["loss"]


def _agent(workload: Workload, network_type: type[HrlRecNetwork]) -> HrlRecAgent:
    settings = workload.config
    one = _tensors(dataclasses.replace(workload, batch=1))
    networks = [
        network_type(workload.spec, workload.sizes, settings.network, name=name) for name in ("online", "target")
    ]
    for network in networks:
        network(one)
    return compose_agent(settings, *networks)


def _tensors(workload: Workload) -> Mapping[str, tf.Tensor]:
    return {name: tf.constant(values) for name, values in random_batch(workload).items()}
