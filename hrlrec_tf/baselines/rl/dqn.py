"""DQN and Double DQN on whole lists: TF-Agents' agents, with a list as one experience.

As in `agents.ddpg`, one observation is a whole session and position T is the terminal step. Actions are candidates of
any number instead of a fixed few: the Q network says the Q of every item of the batch's pool (see `q_learning`), as a
function of its embedding. Unlike DDPG's logged action, which is a constant, a candidate is an input of the Q network,
so the TD loss trains the item tower through it.
"""

from typing import Any

import tensorflow as tf
from tf_agents.agents import tf_agent
from tf_agents.agents.dqn import dqn_agent
from tf_agents.networks import network
from tf_agents.policies import tf_policy
from tf_agents.specs import tensor_spec

from hrlrec_tf import losses
from hrlrec_tf.agents import health
from hrlrec_tf.agents.experience import ListExperience, experience_spec, row_weights, weight_metrics
from hrlrec_tf.agents.hierarchy import HrlRecInfo
from hrlrec_tf.agents.update import Followers
from hrlrec_tf.baselines.rl import q_learning
from hrlrec_tf.baselines.rl.networks import QNetwork
from hrlrec_tf.config import Config
from hrlrec_tf.networks.actor import to_action_space
from hrlrec_tf.networks.embeddings import Batch
from hrlrec_tf.networks.session import Embedded, embed

_MEMORY = 100  # batches over which the mean candidate is averaged


class ListQNetwork(network.Network):
    """Observation of B lists -> Q of every displayed item in every position's state, a table [P, P].

    Args:
      model: whose layers it uses. observation_spec: of one list.
    """

    def __init__(self, model: QNetwork, observation_spec: Batch) -> None:
        super().__init__(input_tensor_spec=observation_spec, state_spec=(), name=f"{model.name}_q")
        self._embedding, self._level = model.embedding, model.item_level
        self._displayed_actions = model.displayed_actions
        rule = model.spec.id_rule("item_id")
        # From here on ids are those of all items outside the vocabulary; hashed ids are taken for one item each.
        self.unknown = model.embedding.sizes["item_id"] - (0 if rule.kind == "hashed" else rule.unknown)
        self.built = True  # the layers are: the model was called before

    def create_variables(self, input_tensor_spec: Batch | None = None, **kwargs: Any) -> tf.TensorSpec:
        """The layers are built; only the output's spec is asked for."""
        return tf.TensorSpec([None], tf.float32)

    def call(
        self, observation: Batch, step_type: Any = (), network_state: Any = (), training: bool = False
    ) -> tuple[tf.Tensor, Any]:
        shown = tf.cast(observation["item_id"] > 0, tf.float32)
        available = q_learning.available(observation["item_id"], shown, self.unknown)
        return self.table(embed(self._embedding, observation), available, training), network_state

    def table(self, embedded: Embedded, available: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The same of embedded lists, where only some rows count: `available` [P, P] as in `q_learning`."""
        states = self._level.states(embedded, self._embedding, training=training)
        candidates = self._displayed_actions(embedded)
        return self._level.critic.table(_rows(states), _rows(candidates), available)


class ListDqnAgent(dqn_agent.DqnAgent):
    """DQN whose actions are the items of lists.

    Args:
      model: online network, built. target: a network of the same shape, built.
      observation_spec: of the sessions.
      config: all settings.
      policies: greedy and exploring policy that rank requests.
      train_step_counter: counts batches.
    """

    def __init__(
        self,
        model: QNetwork,
        target: QNetwork,
        observation_spec: Batch,
        config: Config,
        policies: tuple[tf_policy.TFPolicy, tf_policy.TFPolicy],
        train_step_counter: tf.Variable,
    ) -> None:
        self.model, self.target, self._config, self._policies = model, target, config, policies
        self.optimizer = tf.keras.optimizers.Adam(config.training.learning_rate)
        self.optimizer.build(model.trainable_variables)
        self._followers = Followers(model, target, config.training, train_step_counter)
        super().__init__(
            time_step_spec=policies[0].time_step_spec,
            action_spec=policies[0].action_spec,
            q_network=ListQNetwork(model, observation_spec),
            optimizer=self.optimizer,
            target_q_network=ListQNetwork(target, observation_spec),
            gamma=config.losses.gamma,
            train_step_counter=train_step_counter,
            training_data_spec=experience_spec(observation_spec, model.spec.list_length),
        )

    def _check_action_spec(self, action_spec: tensor_spec.BoundedTensorSpec) -> None:
        """Actions are candidates of any number, not a fixed few."""

    def _check_network_output(self, net: network.Network, label: str) -> None:
        """There is one value per candidate."""

    def _setup_policy(self, *_: Any) -> tuple[tf_policy.TFPolicy, tf_policy.TFPolicy]:
        return self._policies

    def _initialize(self) -> None:
        """Sets the target equal to the online network."""
        self._followers.start()

    @property
    def levels(self) -> dict[str, "ListDqnAgent"]:
        """This agent by the name of its only level."""
        return {"item": self}

    @property
    def generators(self) -> dict[str, tf.random.Generator]:
        """Random state beside the network's, for checkpoints: none."""
        return {}

    def reward(self, experience: ListExperience) -> tf.Tensor:
        """The reward that is learnt: [B, T]."""
        return experience.item_reward

    def available(self, experience: ListExperience) -> tf.Tensor:
        """Which items of the batch may stand at each position: [P, P] bool."""
        return q_learning.available(experience.observation["item_id"], experience.valid, self._q_network.unknown)

    def td_target(self, experience: ListExperience, embedded: Embedded, available: tf.Tensor) -> tf.Tensor:
        """y_t = r_t + gamma * Q of the best item at t + 1, by networks without dropout: [B, T].

        Args:
          experience: the lists. embedded: the same, by the online tables. available: see `available`.
        """
        table = self._target_q_network.table(embed(self.target.embedding, experience.observation), available)
        values = q_learning.greedy_value(table, available, self._chosen_by(embedded, available))
        best_t = tf.reshape(values, tf.shape(experience.valid))
        best_tp1 = tf.pad(best_t[:, 1:], [[0, 0], [0, 1]])
        discount = losses.discounts(experience.valid)
        return losses.td_target(self.reward(experience), discount, best_tp1, self._config.losses.gamma)

    def _chosen_by(self, embedded: Embedded, available: tf.Tensor) -> tf.Tensor | None:
        """The table whose maximum chooses the next item, where it is not the target's own."""
        return None

    def _loss(self, experience: ListExperience, weights: None = None, training: bool = False) -> tf_agent.LossInfo:
        """Squared TD error of the displayed items."""
        embedded, valid = embed(self.model.embedding, experience.observation), experience.valid
        available, gamma = self.available(experience), self._config.losses.gamma
        table = self._q_network.table(embedded, available, training)
        q_t = q_learning.displayed(table, valid)
        of_rows = row_weights(experience, self._config.losses.propensity_cap)
        critic = losses.critic_loss(q_t, self.td_target(experience, embedded, available), of_rows)
        length = losses.embedding_norm(embedded.items, embedded.profile, valid)
        loss = self._config.losses.item * critic + self._config.training.embedding_l2 * length
        returns = losses.discounted_return(self.reward(experience), losses.discounts(valid), gamma)
        figures = {"critic_loss": critic, **health.q_health([q_t], returns, valid)}
        pool = tf.reduce_sum(tf.cast(valid > 0, tf.float32))
        metrics = {f"item_{name}": value for name, value in figures.items()}
        metrics |= weight_metrics(experience, self._config.losses.propensity_cap)
        return tf_agent.LossInfo(loss, HrlRecInfo({**metrics, "loss": loss, "candidate_pool": pool}))

    def _train(self, experience: ListExperience, weights: None = None) -> tf_agent.LossInfo:
        with tf.GradientTape() as tape:
            loss, extra = self._loss(experience, training=True)
        norms = self._followers.step(tape.gradient(loss, self.model.trainable_variables), self.optimizer)
        return tf_agent.LossInfo(loss, HrlRecInfo({**extra.metrics, **norms}))


class ListDdqnAgent(ListDqnAgent, dqn_agent.DdqnAgent):
    """Double DQN with a dueling network: the online network chooses the next item, the target network values it."""

    def _chosen_by(self, embedded: Embedded, available: tf.Tensor) -> tf.Tensor:
        return self._q_network.table(embedded, available)

    def _train(self, experience: ListExperience, weights: None = None) -> tf_agent.LossInfo:
        self._remember(experience)
        return super()._train(experience)

    def _remember(self, experience: ListExperience) -> None:
        """Tells the dueling head what the mean candidate is: over the first batches their mean, then a moving one."""
        rows = {name: experience.observation[name] for name in self.model.spec.item}
        items = to_action_space(self.model.embedding.item_embeddings(rows), self.model.config.action_space)
        valid = tf.cast(experience.valid > 0, tf.float32)[..., tf.newaxis]
        mean = tf.math.divide_no_nan(tf.reduce_sum(items * valid, axis=[0, 1]), tf.reduce_sum(valid))
        rate = 1 / tf.cast(tf.minimum(self.train_step_counter + 1, _MEMORY), tf.float32)
        self.model.item_level.critic.remember(mean, rate)


def _rows(values: tf.Tensor) -> tf.Tensor:
    """[B, T, D] to [B * T, D]."""
    return tf.reshape(values, [-1, values.shape[-1]])
