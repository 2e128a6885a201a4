"""DDPG on whole lists (Sec. 3.4): TF-Agents' DdpgAgent, with a list as one experience.

The stock agent takes two-step trajectories, so a list of T positions gives T - 1 transitions and the last reward is
lost. Here one observation is a whole session, actions and values are [T, D] and [T], and position T is the terminal
step.
"""

from typing import Any, NamedTuple

import tensorflow as tf
from tf_agents.agents import tf_agent
from tf_agents.agents.ddpg import ddpg_agent
from tf_agents.networks import network
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import time_step as ts
from tf_agents.utils import common

from hrlrec_tf import losses
from hrlrec_tf.agents import health
from hrlrec_tf.agents.experience import ListExperience
from hrlrec_tf.config import LossConfig, TrainingConfig
from hrlrec_tf.networks.embeddings import Batch
from hrlrec_tf.networks.hrl_rec import HrlRecNetwork, Level
from hrlrec_tf.networks.session import Embedded, embed


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
        self._head = model.levels[level].critic
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
        return self._head(self.states(observation, training), actions), network_state


class LevelLosses(NamedTuple):
    """One level's DDPG losses and health of a batch; scalars but for states and actions."""

    critic: tf.Tensor
    cloning: tf.Tensor
    states: tf.Tensor  # [B, T, S]
    actions: tf.Tensor  # [B, T, D], with the training noise
    q_mean: tf.Tensor
    return_mean: tf.Tensor
    correlation: tf.Tensor  # of Q and the logged return over valid positions
    dead_share: tf.Tensor  # share of valid positions whose Q is exactly 0: a ReLU critic that has died there


class ListDdpgAgent(ddpg_agent.DdpgAgent):
    """The channel selector or the item recommender.

    Args:
      level: `channel` or `item`.
      model: online networks. target: networks of the same shape that follow slowly.
      observation_spec: of the sessions a policy sees.
      loss_config: gamma, noise, weights.
      training_config: update periods, rates.
      train_step_counter: shared by composed agents.
    """

    def __init__(
        self,
        level: str,
        model: HrlRecNetwork,
        target: HrlRecNetwork,
        observation_spec: Batch,
        loss_config: LossConfig,
        training_config: TrainingConfig,
        train_step_counter: tf.Variable | None = None,
    ) -> None:
        self.level = level
        self._model, self._target = model, target
        self._loss_config, self._training_config = loss_config, training_config
        # Of the action noise, in a checkpoint, so that a resumed run draws what an unbroken one would.
        self.noise = tf.random.Generator.from_key_counter(training_config.seed, [0, level == "item"], "philox")
        length, dim = model.spec.list_length, model.config.embedding_dim
        super().__init__(
            time_step_spec=ts.time_step_spec(observation_spec, tf.TensorSpec([length], tf.float32, "reward")),
            action_spec=tensor_spec.BoundedTensorSpec([length, dim], tf.float32, -1.0, 1.0, "action"),
            actor_network=ListActorNetwork(model, level, observation_spec),
            critic_network=ListCriticNetwork(model, level, observation_spec),
            target_actor_network=ListActorNetwork(target, level, observation_spec),
            target_critic_network=ListCriticNetwork(target, level, observation_spec),
            actor_optimizer=tf.keras.optimizers.Adam(training_config.learning_rate),
            critic_optimizer=tf.keras.optimizers.Adam(training_config.learning_rate),
            target_update_tau=training_config.target_tau,
            target_update_period=training_config.target_period,
            gamma=loss_config.gamma,
            gradient_clipping=training_config.gradient_clip,
            train_step_counter=train_step_counter,
        )
        self.actor_optimizer.build(self.actor_variables)

    @property
    def actor_optimizer(self) -> tf.keras.optimizers.Optimizer:
        """Optimizer of the actor's -Q updates."""
        return self._actor_optimizer

    @property
    def online(self) -> Level:
        """This level's layers."""
        return self._model.levels[self.level]

    @property
    def actor_variables(self) -> list[tf.Variable]:
        """What the actor loss trains: the actor's own weights, not the encoder's."""
        return self.online.actor.trainable_variables

    def reward(self, experience: ListExperience) -> tf.Tensor:
        """This level's reward: [B, T]."""
        return experience.channel_reward if self.level == "channel" else experience.item_reward

    def td_target(self, experience: ListExperience, embedded: Embedded) -> tf.Tensor:
        """y_t of eq. 9, 12, from target networks only, without dropout: [B, T].

        Args:
          experience: the lists.
          embedded: the same lists, embedded by the target's tables.
        """
        level = self._target.levels[self.level]
        states = level.states(embedded, self._target.embedding)
        if self._loss_config.bootstrap == "actor":
            actions = level.actor(states)
        else:
            actions = self._target.displayed_actions(embedded)
        q_tp1 = tf.pad(level.critic(states, actions)[:, 1:], [[0, 0], [0, 1]])
        discount = losses.discounts(experience.valid)
        return losses.td_target(self.reward(experience), discount, q_tp1, self._loss_config.gamma)

    def critic_losses(
        self, experience: ListExperience, embedded: Embedded, target_embedded: Embedded, training: bool = True
    ) -> LevelLosses:
        """Critic loss (eq. 9, 12) on the logged action, which is the displayed item in the target's tables."""
        online, valid = self.online, experience.valid
        states = online.states(embedded, self._model.embedding, training=training)
        displayed = tf.stop_gradient(self._target.displayed_actions(target_embedded))
        q_t = online.critic(states, displayed)
        actions = online.actor(states)
        if training and self._loss_config.action_noise:
            actions += self.noise.normal(tf.shape(actions), stddev=self._loss_config.action_noise)
        returns = losses.discounted_return(self.reward(experience), losses.discounts(valid), self._loss_config.gamma)
        return LevelLosses(
            critic=losses.critic_loss(q_t, self.td_target(experience, target_embedded), valid),
            cloning=losses.cloning_loss(actions, displayed, valid),
            states=states,
            actions=actions,
            q_mean=losses.masked_mean(q_t, valid),
            return_mean=losses.masked_mean(returns, valid),
            correlation=health.correlation(q_t, returns, valid),
            dead_share=losses.masked_mean(tf.cast(q_t == 0, tf.float32), valid),
        )

    def policy_loss(self, states: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        """Actor loss -Q(sg(s), pi(sg(s))) (eq. 10, 13); differentiate it by `actor_variables` alone."""
        states = tf.stop_gradient(states)
        return losses.actor_loss(self.online.critic(states, self.online.actor(states)), valid)

    def update_actor(self, states: tf.Tensor, valid: tf.Tensor, weight: float) -> tf.Tensor:
        """One step of the actor on `weight` times its loss; returns the loss."""
        with tf.GradientTape() as tape:
            loss = self.policy_loss(states, valid)
            weighted = weight * loss
        self.apply(tape.gradient(weighted, self.actor_variables), self.actor_variables, self._actor_optimizer)
        return loss

    def apply(
        self, gradients: list, variables: list[tf.Variable], optimizer: tf.keras.optimizers.Optimizer
    ) -> tf.Tensor:
        """Clips by the global norm and applies; returns the norm before clipping."""
        pairs = [
            (gradient, variable)
            for gradient, variable in zip(gradients, variables, strict=True)
            if gradient is not None
        ]
        clipped, norm = tf.clip_by_global_norm([gradient for gradient, _ in pairs], self._gradient_clipping)
        optimizer.apply_gradients(zip(clipped, [variable for _, variable in pairs], strict=True))
        return norm

    def _loss(self, experience: ListExperience, weights: None = None, training: bool = False) -> tf_agent.LossInfo:
        parts = self._parts(experience, training)
        actor = self.policy_loss(parts.states, experience.valid)
        return tf_agent.LossInfo(
            parts.critic + self._loss_config.beta * actor, ddpg_agent.DdpgInfo(actor, parts.critic)
        )

    def _train(self, experience: ListExperience, weights: None = None) -> tf_agent.LossInfo:
        variables = self._critic_network.trainable_variables
        with tf.GradientTape() as tape:
            parts = self._parts(experience, training=True)
        self.apply(tape.gradient(parts.critic, variables), variables, self._critic_optimizer)
        actor = tf.cond(
            self.train_step_counter % self._training_config.actor_period == 0,
            lambda: self.update_actor(parts.states, experience.valid, self._loss_config.beta),
            lambda: self.policy_loss(parts.states, experience.valid),
        )
        self.train_step_counter.assign_add(1)
        self._update_target()
        return tf_agent.LossInfo(
            parts.critic + self._loss_config.beta * actor, ddpg_agent.DdpgInfo(actor, parts.critic)
        )

    def _get_target_updater(self, tau: float = 1.0, period: int = 1) -> common.Periodically:
        """Soft update of each target weight once: actor and critic share the encoder, which the stock agent moves
        twice.
        """
        pairs: dict[Any, tf.Variable] = {}
        for online, target in (
            (self._actor_network, self._target_actor_network),
            (self._critic_network, self._target_critic_network),
        ):
            pairs |= {
                source.ref(): follower for source, follower in zip(online.variables, target.variables, strict=True)
            }
        sources = [reference.deref() for reference in pairs]
        return common.Periodically(
            lambda: common.soft_variables_update(sources, list(pairs.values()), tau), period, "update_targets"
        )

    def _parts(self, experience: ListExperience, training: bool) -> LevelLosses:
        embedded = embed(self._model.embedding, experience.observation)
        target_embedded = embed(self._target.embedding, experience.observation)
        return self.critic_losses(experience, embedded, target_embedded, training)
