"""HRL-Rec: channel selector and item recommender trained together on four losses (Sec. 3.4, eq. 18)."""

from typing import NamedTuple

import tensorflow as tf
from tf_agents.agents import tf_agent
from tf_agents.policies import tf_policy

from hrlrec_tf import losses
from hrlrec_tf.agents.ddpg import ListDdpgAgent
from hrlrec_tf.agents.experience import ListExperience, experience_spec, row_weights, weight_metrics
from hrlrec_tf.agents.update import Followers
from hrlrec_tf.config import Config
from hrlrec_tf.networks.embeddings import Batch
from hrlrec_tf.networks.hrl_rec import HrlRecNetwork
from hrlrec_tf.networks.session import Embedded, embed

Metrics = dict[str, tf.Tensor]


class HrlRecInfo(NamedTuple):
    """Extra of `LossInfo`: every loss part and health figure of a step by name, scalars."""

    metrics: Metrics


class _Parts(NamedTuple):
    """Eq. 18 in two parts, whose sum is L, and everything worth looking at."""

    every_batch: tf.Tensor  # what each batch minimises
    actors: tf.Tensor  # the actors' -Q part, for batches that are due
    metrics: Metrics


class HrlRecAgent(tf_agent.TFAgent):
    """Composes the DDPG agents of a network's levels: of two, or of the only one of flat DDPG.

    One optimizer minimises L = 5 L_channel + 5 L_item + L_ctr + L_similarity (eq. 18). The actors' -Q part of L_channel
    and L_item takes part in every `actor_period`-th batch only; its gradient reaches nothing but the actors. All
    levels' targets follow together.

    Args:
      model: online networks, built. target: networks of the same shape, built.
      observation_spec: of the sessions.
      config: all settings.
      policies: greedy and exploring policy that rank requests.
      train_step_counter: counts batches.
    """

    def __init__(
        self,
        model: HrlRecNetwork,
        target: HrlRecNetwork,
        observation_spec: Batch,
        config: Config,
        policies: tuple[tf_policy.TFPolicy, tf_policy.TFPolicy],
        train_step_counter: tf.Variable,
    ) -> None:
        self.model, self.target, self._config = model, target, config
        self.levels = {
            level: ListDdpgAgent(
                level, model, target, observation_spec, config.losses, config.training, train_step_counter
            )
            for level in model.levels
        }
        self.optimizer = tf.keras.optimizers.Adam(config.training.learning_rate)
        self.optimizer.build(model.trainable_variables)
        self._followers = Followers(model, target, config.training, train_step_counter)
        greedy, collect = policies
        super().__init__(
            time_step_spec=greedy.time_step_spec,
            action_spec=greedy.action_spec,
            policy=greedy,
            collect_policy=collect,
            train_sequence_length=None,
            num_outer_dims=1,
            training_data_spec=experience_spec(observation_spec, model.spec.list_length),
            train_step_counter=train_step_counter,
        )

    def _initialize(self) -> None:
        """Sets the targets equal to the online networks."""
        self._followers.start()

    @property
    def generators(self) -> dict[str, tf.random.Generator]:
        """Random state beside the networks', for checkpoints: each level's action noise."""
        return {name: level.noise for name, level in self.levels.items()}

    def _loss(self, experience: ListExperience, weights: None = None, training: bool = False) -> tf_agent.LossInfo:
        parts = self._parts(experience, training)
        return tf_agent.LossInfo(parts.every_batch + parts.actors, HrlRecInfo(parts.metrics))

    def _train(self, experience: ListExperience, weights: None = None) -> tf_agent.LossInfo:
        with tf.GradientTape() as tape:
            parts = self._parts(experience, training=True)
            trained = parts.every_batch + self.levels["item"].actor_due() * parts.actors
        norms = self._followers.step(tape.gradient(trained, self.model.trainable_variables), self.optimizer)
        return tf_agent.LossInfo(parts.every_batch + parts.actors, HrlRecInfo({**parts.metrics, **norms}))

    def _parts(self, experience: ListExperience, training: bool) -> _Parts:
        weights = self._config.losses
        embedded = embed(self.model.embedding, experience.observation)
        target_embedded = embed(self.target.embedding, experience.observation)
        of_rows = row_weights(experience, weights.propensity_cap)
        metrics = weight_metrics(experience, weights.propensity_cap)
        every_batch, actors = tf.constant(0.0), tf.constant(0.0)
        for level, agent in self.levels.items():
            parts = agent.level_losses(experience, embedded, target_embedded, training)
            head = self.model.levels[level].click_head
            logits = head(parts.actions, embedded.items, parts.states, embedded.counts)
            click = losses.click_loss(logits, experience.clicks, of_rows)
            action_click = click
            if head.reads_states:
                similarities = head.similarity_logits(parts.actions, embedded.items)
                action_click = losses.click_loss(similarities, experience.clicks, of_rows)
            similarity, nearest = self._similarity(level, parts.actions, embedded, experience.valid)
            scalars = {
                "critic_loss": parts.critic,
                "actor_loss": parts.actor,
                "click_loss": click,
                "action_click_loss": action_click,
                "similarity_loss": similarity,
                "cloning_loss": parts.cloning,
                "nearest_item_distance": 1 - nearest,
                **parts.health,
            }
            metrics |= {f"{level}_{name}": value for name, value in scalars.items()}
            every_batch += self._level_weight(level) * parts.critic + weights.behaviour_cloning * parts.cloning
            every_batch += weights.ctr * click + weights.action_ctr * action_click + weights.similarity * similarity
            actors += self._level_weight(level) * weights.beta * parts.actor
        every_batch += self._config.training.embedding_l2 * losses.embedding_norm(
            embedded.items, embedded.profile, experience.valid
        )
        pool = tf.reduce_sum(tf.cast(experience.valid > 0, tf.float32))
        return _Parts(every_batch, actors, {**metrics, "loss": every_batch + actors, "similarity_pool": pool})

    def _level_weight(self, level: str) -> float:
        return getattr(self._config.losses, level)

    def _similarity(
        self, level: str, actions: tf.Tensor, embedded: Embedded, valid: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Similarity loss (eq. 17) against the batch's items; see `ListDdpgAgent.nearest_items`."""
        displayed = self.model.displayed_actions(embedded)
        nearest, found = self.levels[level].nearest_items(actions, displayed, embedded, valid)
        return losses.similarity_loss(actions, nearest, valid * tf.cast(found, tf.float32))
