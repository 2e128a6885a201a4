"""DDPG on whole lists (Sec. 3.4): TF-Agents' DdpgAgent, with a list as one experience.

The stock agent takes two-step trajectories, so a list of T positions gives T - 1 transitions and the last reward is
lost. Here one observation is a whole session, actions and values are [T, D] and [T], and position T is the terminal
step.
"""

from typing import Any, NamedTuple

import tensorflow as tf
from tf_agents.agents import tf_agent
from tf_agents.agents.ddpg import ddpg_agent
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import time_step as ts
from tf_agents.utils import common

from hrlrec_tf import losses, retrieval
from hrlrec_tf.agents import health
from hrlrec_tf.agents.experience import ListExperience, experience_spec, row_weights
from hrlrec_tf.agents.list_networks import ListActorNetwork, ListCriticNetwork
from hrlrec_tf.agents.update import clip_and_apply
from hrlrec_tf.config import LossConfig, TrainingConfig
from hrlrec_tf.networks.embeddings import Batch
from hrlrec_tf.networks.hrl_rec import HrlRecNetwork
from hrlrec_tf.networks.level import Level
from hrlrec_tf.networks.session import Embedded, embed


class LevelLosses(NamedTuple):
    """One level's DDPG losses and health of a batch; scalars but for states and actions."""

    critic: tf.Tensor
    actor: tf.Tensor
    cloning: tf.Tensor
    states: tf.Tensor  # [B, T, S]
    actions: tf.Tensor  # [B, T, D], with the training noise
    health: dict[str, tf.Tensor]  # see `health.q_health`


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
        self.optimizer = tf.keras.optimizers.Adam(training_config.learning_rate)
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
            actor_optimizer=self.optimizer,
            critic_optimizer=self.optimizer,
            # The paper's Gaussian noise: an Ornstein-Uhlenbeck process that forgets everything at each step.
            ou_stddev=loss_config.action_noise,
            ou_damping=1.0,
            target_update_tau=training_config.target_tau,
            target_update_period=training_config.target_period,
            gamma=loss_config.gamma,
            gradient_clipping=training_config.gradient_clip,
            train_step_counter=train_step_counter,
        )
        self._training_data_spec = experience_spec(observation_spec, length)

    @property
    def online(self) -> Level:
        """This level's layers."""
        return self._model.levels[self.level]

    @property
    def level_variables(self) -> list[tf.Variable]:
        """What the level trains on its own: encoder, short path, critics, actor and the shared tables."""
        return self._critic_network.trainable_variables + self.online.actor.trainable_variables

    def reward(self, experience: ListExperience) -> tf.Tensor:
        """This level's reward: [B, T]."""
        return experience.channel_reward if self.level == "channel" else experience.item_reward

    def actor_due(self) -> tf.Tensor:
        """1.0 if the batch to come trains the actors on -Q, every `actor_period`-th one, else 0.0."""
        return tf.cast(self.train_step_counter % self._training_config.actor_period == 0, tf.float32)

    def td_target(self, experience: ListExperience, embedded: Embedded) -> tf.Tensor:
        """y_t of eq. 9, 12, from target networks only, without dropout: [B, T].

        Args:
          experience: the lists.
          embedded: the same lists, embedded by the target's tables.
        """
        level = self._target.levels[self.level]
        states = level.states(embedded, self._target.embedding)
        actions = self._bootstrap_actions(states, experience, embedded)
        q_t = losses.clipped_double([critic(states, actions) for critic in level.critics])
        q_tp1 = tf.pad(q_t[:, 1:], [[0, 0], [0, 1]])
        discount = losses.discounts(experience.valid)
        return losses.td_target(self.reward(experience), discount, q_tp1, self._loss_config.gamma)

    def _bootstrap_actions(self, states: tf.Tensor, experience: ListExperience, embedded: Embedded) -> tf.Tensor:
        """The target's action at each position: [B, T, D]."""
        displayed = self._target.displayed_actions(embedded)
        if self._loss_config.bootstrap == "logged":
            return displayed
        actions = self._target.levels[self.level].actor(states)
        if self._loss_config.bootstrap == "actor":
            return actions
        return self.nearest_items(actions, displayed, embedded, experience.valid)[0]

    def nearest_items(
        self, actions: tf.Tensor, displayed: tf.Tensor, embedded: Embedded, valid: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The displayed item of the batch nearest to each action; of the logged channel where a level is bound to one.

        Args:
          actions: [B, T, D]. displayed: [B, T, D] in the actions' space. embedded: the lists. valid: [B, T].

        Returns:
          The items [B, T, D] and whether there is one [B, T] bool.
        """
        channels = embedded.channels if self.online.constrained else None
        return retrieval.nearest_of_batch(actions, displayed, valid, channels, self._model.embedding.channels)

    def level_losses(
        self, experience: ListExperience, embedded: Embedded, target_embedded: Embedded, training: bool = True
    ) -> LevelLosses:
        """Critic loss (eq. 9, 12) on the logged action, the displayed item in the target's tables; actor loss (eq. 10,
        13).
        """
        online, valid = self.online, experience.valid
        states = online.states(embedded, self._model.embedding, training=training)
        displayed = tf.stop_gradient(self._target.displayed_actions(target_embedded))
        target = self.td_target(experience, target_embedded)
        q_values = [critic(states, displayed) for critic in online.critics]
        noise = self._noise(displayed) if training else 0.0
        actions = online.actor(states) + noise
        policy_actions = online.actor(tf.stop_gradient(states)) + noise
        returns = losses.discounted_return(self.reward(experience), losses.discounts(valid), self._loss_config.gamma)
        weights = row_weights(experience, self._loss_config.propensity_cap)
        return LevelLosses(
            critic=tf.add_n([losses.critic_loss(q_t, target, weights) for q_t in q_values]),
            actor=losses.actor_loss(online.critic, states, policy_actions, valid),
            cloning=losses.cloning_loss(actions, displayed, valid),
            states=states,
            actions=actions,
            health=health.q_health(q_values, returns, valid),
        )

    def _noise(self, actions: tf.Tensor) -> tf.Tensor:
        """Gaussian noise that joins actions in training (Sec. 3.4), of the shape of `actions`."""
        return self.noise.normal(tf.shape(actions), stddev=self._loss_config.action_noise)

    def _loss(self, experience: ListExperience, weights: None = None, training: bool = False) -> tf_agent.LossInfo:
        """L = L(critic) + beta L(actor) (eq. 11, 14)."""
        parts = self._parts(experience, training)
        return tf_agent.LossInfo(
            parts.critic + self._loss_config.beta * parts.actor, ddpg_agent.DdpgInfo(parts.actor, parts.critic)
        )

    def _train(self, experience: ListExperience, weights: None = None) -> tf_agent.LossInfo:
        with tf.GradientTape() as tape:
            loss, extra = self._loss(experience, training=True)
            trained = extra.critic_loss + self.actor_due() * self._loss_config.beta * extra.actor_loss
        variables = self.level_variables
        clip_and_apply(
            tape.gradient(trained, variables), variables, self.optimizer, self._training_config.gradient_clip
        )
        self.train_step_counter.assign_add(1)
        self._update_target()
        return tf_agent.LossInfo(loss, extra)

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
        return self.level_losses(experience, embedded, target_embedded, training)
