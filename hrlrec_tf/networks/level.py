"""One level of a list-wise agent: its states, and what it says of actions in them (Sec. 3.1 to 3.3)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from hrlrec_tf.config import Config, NetworkConfig
from hrlrec_tf.networks.actor import Actor
from hrlrec_tf.networks.click_head import ClickHead
from hrlrec_tf.networks.critic import Critic
from hrlrec_tf.networks.cumulative import CumulativePath, Placed, Profile
from hrlrec_tf.networks.embeddings import Rows, SessionEmbedding
from hrlrec_tf.networks.session import Embedded
from hrlrec_tf.networks.state_encoder import StateEncoder

Parts = dict[str, list[tf.Variable]]


class StateLevel(tf.keras.layers.Layer):
    """State encoder and short path of one level; subclasses add what judges and chooses actions.

    Args:
      level: `channel` or `item`.
      config: sizes and forms.
    """

    # A subclass may put another encoder of the same interface here.
    encoder_type: type[tf.keras.layers.Layer] = StateEncoder
    short_path = "tanh"  # activation of the cumulative path

    def __init__(self, level: str, config: NetworkConfig, **kwargs: Any) -> None:
        super().__init__(**{"name": level, **kwargs})
        self.level, self.config = level, config
        self.encoder = self.make_encoder()
        self.cumulative = CumulativePath(
            config.embedding_dim, self.short_path, dtype=self.dtype_policy, name="cumulative"
        )

    @property
    def constrained(self) -> bool:
        """Whether a selected channel is part of the state: of the item level's (Sec. 3.1)."""
        return self.level == "item"

    @property
    def parts(self) -> Parts:
        """Trainable weights by the part of the level that they belong to."""
        return {"encoder": self.encoder.trainable_variables + self.cumulative.trainable_variables}

    def make_encoder(self) -> tf.keras.layers.Layer:
        """The state encoder."""
        config = self.config
        return self.encoder_type(
            config.state_dim,
            config.attention_heads,
            config.dropout,
            config.sequence,
            config.fields,
            config.window,
            dtype=self.dtype_policy,
            name="encoder",
        )

    def fields(self, profile: tf.Tensor, rows: Rows) -> tf.Tensor:
        """The n = 4 fields of eq. 1 for each row [B, S, D]: [B, S, 4, D]. For one row, S is left out."""
        a = profile if rows.context.shape.rank == 2 else tf.repeat(profile[:, tf.newaxis], tf.shape(rows.context)[1], 1)
        current, counts = (
            (rows.channel, rows.channel_counts) if self.level == "channel" else (rows.item, rows.item_counts)
        )
        return tf.stack([a, rows.context, current, counts], axis=-2)

    def states(self, embedded: Embedded, embedding: SessionEmbedding, training: bool = False) -> tf.Tensor:
        """States s_1..s_T of the logged list: [B, T, S]."""
        positions = embedded.context.shape[1]
        fields = self.fields(embedded.profile, embedded.rows)
        hidden = self.encoder(fields, embedded.profile, embedded.mask, positions, training=training)
        return self.join(embedding, hidden, embedded.cumulative, embedded.placed, embedded.context, embedded.channels)

    def join(
        self,
        embedding: SessionEmbedding,
        hidden: tf.Tensor,
        profile: Profile,
        placed: Placed,
        context: tf.Tensor,
        channels: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Encoder state, short path and, where there is one, the channel constraint: [B, T, S].

        For one position, T is left out of every argument and of the result.
        """
        if not self.constrained:
            return tf.concat([hidden, self.cumulative(profile, placed, context)], axis=-1)
        constraint = tf.one_hot(channels, embedding.channels)
        short_path = self.cumulative(profile, placed, context, constraint)
        return tf.concat([hidden, short_path, embedding.channel_embeddings(channels)], axis=-1)

    def get_config(self) -> dict:
        return {**super().get_config(), "level": self.level, "config": dataclasses.asdict(self.config)}

    @classmethod
    def from_config(cls, config: dict) -> "StateLevel":
        """Inverse of `get_config`."""
        return cls(**{**config, "config": network_config(config["config"])})


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class Level(StateLevel):
    """State encoder, actor, critics and click head of one level of HRL-Rec.

    Args:
      level: `channel` or `item`; the item level's state also contains the channel constraint.
      config: sizes and forms.
    """

    def __init__(self, level: str, config: NetworkConfig, **kwargs: Any) -> None:
        super().__init__(level, config, **kwargs)
        dtype, dim = self.dtype_policy, config.embedding_dim
        self.actor = Actor(dim, config.action_space, dtype=dtype, name="actor")
        self.critic = Critic(config.critic_head, config.critic_form, dim, dtype=dtype, name="critic")
        self.second_critic = (
            Critic(config.critic_head, config.critic_form, dim, dtype=dtype, name="second_critic")
            if config.critics == 2
            else None
        )
        self.click_head = ClickHead(config.click_head, dtype=dtype, name="click_head")

    @property
    def critics(self) -> list[Critic]:
        """One critic, or TD3's two. The first one is the level's Q everywhere but in TD targets."""
        return [self.critic] if self.second_critic is None else [self.critic, self.second_critic]

    @property
    def parts(self) -> Parts:
        """Trainable weights by the part of the level that they belong to."""
        return {
            **super().parts,
            "actor": self.actor.trainable_variables,
            "critic": [each for critic in self.critics for each in critic.trainable_variables],
            "click_head": self.click_head.trainable_variables,
        }

    def start_critics(self, mean_return: float) -> None:
        """Starts every critic at the mean logged return; see `Critic.start_at`."""
        for critic in self.critics:
            critic.start_at(mean_return)


def network_config(fields: Mapping[str, Any]) -> NetworkConfig:
    """The network's settings from plain values."""
    return Config.from_dict({"network": fields}).network
