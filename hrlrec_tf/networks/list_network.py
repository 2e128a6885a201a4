"""What every network of whole lists has: embedding tables, levels on them, and one click score."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from hrlrec_tf.config import NetworkConfig
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.features import FeatureSpec
from hrlrec_tf.networks.actor import to_action_space
from hrlrec_tf.networks.embeddings import SessionEmbedding
from hrlrec_tf.networks.level import StateLevel, network_config
from hrlrec_tf.networks.session import Embedded


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


class ListNetwork(tf.keras.Model):
    """Base of networks that score and choose the items of whole lists, on one set of embedding tables.

    Args:
      spec: the log's features.
      sizes: vocabulary name -> number of ids.
      config: sizes and forms.
      click_score: what predicts clicks, `click` (the click heads) or `q` (the critics); see `Config.click_score`.
    """

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
        dim, rows = config.embedding_dim, history_rows(spec, config)
        self.embedding = SessionEmbedding(
            spec, sizes, dim, config.user_id, rows, dtype=self.dtype_policy, name="embedding"
        )
        self.make_levels()

    def make_levels(self) -> None:
        """Makes the layers of each level."""
        raise NotImplementedError

    @property
    def levels(self) -> Mapping[str, StateLevel]:
        """Level name -> level, channel first."""
        raise NotImplementedError

    def displayed_actions(self, embedded: Embedded) -> tf.Tensor:
        """Displayed items in the actions' space: what a_t would have been: [B, T, D]."""
        return to_action_space(embedded.items, self.config.action_space)

    def click_probability(self, *scores: tf.Tensor) -> tf.Tensor:
        """Sigmoid of the mean of the levels' click logits.

        With `click_score=q` a number in (0, 1) that orders items as the mean of the levels' Q does, and is no
        probability; a softsign, which tells large values apart longer than a sigmoid does.
        """
        mean = tf.add_n(scores) / len(scores)
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
    def from_config(cls, config: dict, custom_objects: Mapping[str, Any] | None = None) -> "ListNetwork":
        """Inverse of `get_config`; the weights are made by the first call."""
        spec, network = FeatureSpec.from_dict(config["spec"]), network_config(config["config"])
        return cls(**{**config, "spec": spec, "config": network})
