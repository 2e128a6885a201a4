"""The two levels of HRL-Rec on shared embedding tables (Sec. 3.1 to 3.3).

The paper's "low-level agent" is the channel level here, its "high-level agent" the item level.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from hrlrec_tf.config import Config, NetworkConfig
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.features import FeatureSpec
from hrlrec_tf.networks.actor import Actor, to_action_space
from hrlrec_tf.networks.click_head import ClickHead
from hrlrec_tf.networks.critic import Critic
from hrlrec_tf.networks.cumulative import CumulativePath, Placed, Profile
from hrlrec_tf.networks.embeddings import Batch, Rows, SessionEmbedding
from hrlrec_tf.networks.session import Embedded, embed
from hrlrec_tf.networks.state_encoder import StateEncoder


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class Level(tf.keras.layers.Layer):
    """State encoder, actor, critics and click head of one level.

    Args:
      level: `channel` or `item`; the item level's state also contains the channel constraint.
      config: sizes and forms.
    """

    # A subclass may put another encoder of the same interface here.
    encoder_type: type[tf.keras.layers.Layer] = StateEncoder

    def __init__(self, level: str, config: NetworkConfig, **kwargs: Any) -> None:
        super().__init__(**{"name": level, **kwargs})
        self.level, self.config = level, config
        dtype, dim = self.dtype_policy, config.embedding_dim
        self.encoder = self.encoder_type(
            config.state_dim,
            config.attention_heads,
            config.dropout,
            config.sequence,
            config.fields,
            config.window,
            dtype=dtype,
            name="encoder",
        )
        self.cumulative = CumulativePath(dim, dtype=dtype, name="cumulative")
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

    def start_critics(self, mean_return: float) -> None:
        """Starts every critic at the mean logged return; see `Critic.start_at`."""
        for critic in self.critics:
            critic.start_at(mean_return)

    def fields(self, profile: tf.Tensor, rows: Rows) -> tf.Tensor:
        """The n = 4 fields of eq. 1 for each row: [B, S, 4, D]."""
        a = tf.broadcast_to(profile[:, tf.newaxis], tf.shape(rows.context))
        current, counts = (
            (rows.channel, rows.channel_counts) if self.level == "channel" else (rows.item, rows.item_counts)
        )
        return tf.stack([a, rows.context, current, counts], axis=2)

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
        channels: tf.Tensor,
    ) -> tf.Tensor:
        """Encoder state, short path and, at the item level, the channel constraint: [B, T, S]."""
        if self.level == "channel":
            return tf.concat([hidden, self.cumulative(profile, placed, context)], axis=-1)
        constraint = tf.one_hot(channels, embedding.channels)
        short_path = self.cumulative(profile, placed, context, constraint)
        return tf.concat([hidden, short_path, embedding.channel_embeddings(channels)], axis=-1)

    def get_config(self) -> dict:
        return {**super().get_config(), "level": self.level, "config": dataclasses.asdict(self.config)}

    @classmethod
    def from_config(cls, config: dict) -> "Level":
        """Inverse of `get_config`."""
        return cls(**{**config, "config": _network_config(config["config"])})


def history_rows(spec: FeatureSpec, config: NetworkConfig) -> int:
    """History rows that `network.sequence_length` asks for: m - T + 1 with a fixed window, m with a sliding one.

    Raises:
      ConfigError: the sessions carry fewer, or a fixed window has no room for the list.
    """
    length, rows = config.sequence_length, spec.history_length
    if length and config.window == "fixed" and length < spec.list_length:
        raise ConfigError(
            f"network.sequence_length is {length}, less than a list of {spec.list_length}; set network.window=sliding"
        )
    wanted = {"fixed": length - spec.list_length + 1, "sliding": length}[config.window] if length else rows
    if wanted > rows:
        raise ConfigError(
            f"network.sequence_length is {length} and needs {wanted} history rows, but the sessions carry {rows}; "
            f"prepare them with sequence_length: {length} and window: {config.window}"
        )
    return wanted


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class HrlRecNetwork(tf.keras.Model):
    """Channel selector and item recommender.

    Args:
      spec: the log's features.
      sizes: vocabulary name -> number of ids.
      config: sizes and forms.
      click_score: what predicts clicks, `click` (the click heads) or `q` (the critics); see `Config.click_score`.
    """

    level_type: type[Level] = Level

    def __init__(
        self,
        spec: FeatureSpec,
        sizes: Mapping[str, int],
        config: NetworkConfig,
        click_score: str = "click",
        **kwargs: Any,
    ) -> None:
        # Without autocast: numbers such as seconds must reach their buckets unrounded.
        super().__init__(autocast=False, **kwargs)
        self.spec, self.config, self.click_score = spec, config, click_score
        dtype, dim = self.dtype_policy, config.embedding_dim
        self.embedding = SessionEmbedding(
            spec, sizes, dim, config.user_id, history_rows(spec, config), dtype=dtype, name="embedding"
        )
        self.channel_level = self.level_type("channel", config, dtype=dtype)
        self.item_level = self.level_type("item", config, dtype=dtype)

    @property
    def levels(self) -> dict[str, Level]:
        """Level name -> level, channel first."""
        return {"channel": self.channel_level, "item": self.item_level}

    def displayed_actions(self, embedded: Embedded) -> tf.Tensor:
        """Displayed items in the actions' space: what a_t would have been: [B, T, D]."""
        return to_action_space(embedded.items, self.config.action_space)

    def call(self, batch: Batch, training: bool = False) -> dict[str, tf.Tensor]:
        """Click probability and both levels' Q values of each displayed item: [B, T] each."""
        embedded = embed(self.embedding, batch)
        displayed = self.displayed_actions(embedded)
        outputs, scores = {}, []
        for name, level in self.levels.items():
            states = level.states(embedded, self.embedding, training=training)
            scores.append(self.click_scores(level, states, level.actor(states), embedded.items))
            # Both of two critics are called, so that one call makes every weight; a graph drops the second.
            outputs[f"q_{name}"] = [critic(states, displayed) for critic in level.critics][0]
        outputs["click_probability"] = self.click_probability(*scores)
        return outputs

    def click_scores(self, level: Level, states: tf.Tensor, actions: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """What one level says of items [..., D] in states [..., S], with its actions [..., D]: [...].

        Click logits (eq. 16); with `click_score=q`, where the click heads are not trained, Q values.
        """
        # In any case, for one call makes every weight; a graph drops what is not used.
        logits = level.click_head(actions, items, states)
        if self.click_score == "click":
            return logits
        return level.critic(states, to_action_space(items, self.config.action_space))

    def click_probability(self, channel_scores: tf.Tensor, item_scores: tf.Tensor) -> tf.Tensor:
        """Sigmoid of the mean of the two levels' click logits.

        With `click_score=q` a number in (0, 1) that orders items as the mean of both levels' Q does, and is no
        probability; a softsign, which tells large values apart longer than a sigmoid does.
        """
        mean = (channel_scores + item_scores) / 2
        return tf.sigmoid(mean) if self.click_score == "click" else (1 + tf.nn.softsign(mean)) / 2

    def get_config(self) -> dict:
        return {
            "name": self.name,
            "dtype": self.dtype_policy.name,
            "spec": self.spec.to_dict(),
            "sizes": dict(self.embedding.sizes),
            "config": dataclasses.asdict(self.config),
            "click_score": self.click_score,
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects: Mapping[str, Any] | None = None) -> "HrlRecNetwork":
        """Inverse of `get_config`; the weights are made by the first call."""
        spec, network = FeatureSpec.from_dict(config["spec"]), _network_config(config["config"])
        return cls(**{**config, "spec": spec, "config": network})


def _network_config(fields: Mapping[str, Any]) -> NetworkConfig:
    return Config.from_dict({"network": fields}).network
