"""Actor and critic of one level as TF-Agents networks on whole lists."""

from typing import Any

import tensorflow as tf
from tf_agents.networks import network

from hrlrec_tf.networks.embeddings import Batch
from hrlrec_tf.networks.hrl_rec import HrlRecNetwork
from hrlrec_tf.networks.session import embed


class _LevelNetwork(network.Network):
    """What actor and critic of one level share as TF-Agents networks: the level's encoder on the shared tables."""

    def __init__(self, model: HrlRecNetwork, level: str, observation_spec: Batch, name: str) -> None:
        super().__init__(input_tensor_spec=observation_spec, state_spec=(), name=name)
        # Tracked one by one, so that `variables` are this level's and no other's.
        self._embedding = model.embedding
        self._encoder = model.levels[level].encoder
        self._cumulative = model.levels[level].cumulative
        self._states = model.levels[level].states
        self.built = True  # the layers are: `HrlRecNetwork` was called before

    def states(self, observation: Batch, training: bool) -> tf.Tensor:
        return self._states(embed(self._embedding, observation), self._embedding, training=training)


class ListActorNetwork(_LevelNetwork):
    """Observation of a list -> virtual actions [B, T, D]."""

    def __init__(self, model: HrlRecNetwork, level: str, observation_spec: Batch) -> None:
        super().__init__(model, level, observation_spec, name=f"{level}_actor")
        self._head = model.levels[level].actor
        self._output = tf.TensorSpec([model.spec.list_length, model.config.embedding_dim], tf.float32)

    def create_variables(self, input_tensor_spec: Batch | None = None, **kwargs: Any) -> tf.TensorSpec:
        """The layers are built; only the output's spec is asked for."""
        return self._output

    def call(
        self, observation: Batch, step_type: Any = (), network_state: Any = (), training: bool = False
    ) -> tuple[tf.Tensor, Any]:
        return self._head(self.states(observation, training)), network_state


class ListCriticNetwork(_LevelNetwork):
    """(Observation of a list, actions [B, T, D]) -> Q values [B, T]."""

    def __init__(self, model: HrlRecNetwork, level: str, observation_spec: Batch) -> None:
        super().__init__(model, level, observation_spec, name=f"{level}_critic")
        self._heads = model.levels[level].critics
        self._output = tf.TensorSpec([model.spec.list_length], tf.float32)

    def create_variables(self, input_tensor_spec: Batch | None = None, **kwargs: Any) -> tf.TensorSpec:
        """The layers are built; only the output's spec is asked for."""
        return self._output

    def call(
        self,
        inputs: tuple[Batch, tf.Tensor],
        step_type: Any = (),
        network_state: Any = (),
        training: bool = False,
    ) -> tuple[tf.Tensor, Any]:
        observation, actions = inputs
        return self._heads[0](self.states(observation, training), actions), network_state
