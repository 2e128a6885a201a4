"""Networks of one level: flat DDPG's actor and critic, and the Q networks of the DQNs.

The level is HRL-Rec's item level without the channel constraint: nobody selects a channel. A level says how much it
prefers each candidate; `FlatRanker` takes the most preferred one.
"""

import tensorflow as tf

from hrlrec_tf import retrieval
from hrlrec_tf.baselines.rl.linear_state import LinearStateEncoder
from hrlrec_tf.baselines.rl.q_heads import DuelingHead, QHead
from hrlrec_tf.config import NetworkConfig
from hrlrec_tf.networks.embeddings import Batch
from hrlrec_tf.networks.hrl_rec import HrlRecNetwork
from hrlrec_tf.networks.level import Level, Parts, StateLevel
from hrlrec_tf.networks.list_network import ListNetwork
from hrlrec_tf.networks.session import embed


class _OneLevel(ListNetwork):
    """A network of the item level alone."""

    level_type: type[StateLevel]

    def make_levels(self) -> None:
        """Makes the level."""
        self.item_level = self.level_type("item", self.config, dtype=self.dtype_policy)

    @property
    def levels(self) -> dict[str, StateLevel]:
        """The item level."""
        return {"item": self.item_level}


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class FlatLevel(Level):
    """The only level of flat DDPG: its actor's action meets the candidates of all channels."""

    constrained = False

    def preferences(self, states: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        """Cosine of the action in each state [B, S] with each candidate [B, N, D] in the actions' space: [B, N]."""
        return retrieval.cosine_similarities(self.actor(states), candidates)


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class FlatNetwork(_OneLevel, HrlRecNetwork):
    """Flat DDPG; arguments as of `ListNetwork`."""

    level_type = FlatLevel


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class QLevel(StateLevel):
    """State and Q of DQN; arguments as of `StateLevel`."""

    constrained = False
    head_type: type[QHead] = QHead

    def __init__(self, level: str, config: NetworkConfig, **kwargs: object) -> None:
        super().__init__(level, config, **kwargs)
        self.critic = self.head_type(
            config.critic_head, config.critic_form, config.embedding_dim, dtype=self.dtype_policy, name="critic"
        )

    @property
    def parts(self) -> Parts:
        """Trainable weights by the part of the level that they belong to."""
        return {**super().parts, "critic": self.critic.trainable_variables}

    def start_critics(self, mean_return: float) -> None:
        """Starts Q at the mean logged return; see `Critic.start_at`."""
        self.critic.start_at(mean_return)

    def preferences(self, states: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        """Q of each candidate [B, N, D] in the actions' space in each state [B, S]: [B, N]."""
        return self.critic(states[:, tf.newaxis], candidates)


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class LinearQLevel(QLevel):
    """Of DQN (LR): encoder and short path are linear."""

    short_path = "linear"

    def make_encoder(self) -> LinearStateEncoder:
        """The linear state."""
        return LinearStateEncoder(self.config.state_dim, dtype=self.dtype_policy, name="encoder")


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class DuelingLevel(QLevel):
    """Of double-dueling-DQN."""

    head_type = DuelingHead


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class QNetwork(_OneLevel):
    """DQN with the GRU state; arguments as of `ListNetwork`."""

    level_type: type[QLevel] = QLevel

    def call(self, batch: Batch, training: bool = False) -> dict[str, tf.Tensor]:
        """Q of each displayed item, and the number in (0, 1) that orders items as Q does: [B, T] each."""
        embedded = embed(self.embedding, batch)
        states = self.item_level.states(embedded, self.embedding, training=training)
        q_item = self.item_level.critic(states, self.displayed_actions(embedded))
        return {"q_item": q_item, "click_probability": self.click_probability(q_item)}


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class LinearQNetwork(QNetwork):
    """DQN (LR)."""

    level_type = LinearQLevel


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class DuelingQNetwork(QNetwork):
    """Double-dueling-DQN."""

    level_type = DuelingLevel
