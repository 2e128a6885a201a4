"""The two levels of HRL-Rec on shared embedding tables (Sec. 3.1 to 3.3).

The paper's "low-level agent" is the channel level here, its "high-level agent" the item level.
"""

import tensorflow as tf

from hrlrec_tf.networks.actor import to_action_space
from hrlrec_tf.networks.embeddings import Batch
from hrlrec_tf.networks.level import Level
from hrlrec_tf.networks.list_network import ListNetwork
from hrlrec_tf.networks.session import embed


@tf.keras.utils.register_keras_serializable(package="hrlrec_tf")
class HrlRecNetwork(ListNetwork):
    """Channel selector and item recommender; arguments as of `ListNetwork`."""

    level_type: type[Level] = Level

    def make_levels(self) -> None:
        """Makes both levels."""
        self.channel_level = self.level_type("channel", self.config, dtype=self.dtype_policy)
        self.item_level = self.level_type("item", self.config, dtype=self.dtype_policy)

    @property
    def levels(self) -> dict[str, Level]:
        """Level name -> level, channel first."""
        return {"channel": self.channel_level, "item": self.item_level}

    def call(self, batch: Batch, training: bool = False) -> dict[str, tf.Tensor]:
        """Click probability and each level's Q value of each displayed item: [B, T] each."""
        embedded = embed(self.embedding, batch)
        displayed = self.displayed_actions(embedded)
        outputs, scores = {}, []
        for name, level in self.levels.items():
            states = level.states(embedded, self.embedding, training=training)
            scores.append(self.click_scores(level, states, level.actor(states), embedded.items, embedded.counts))
            # Both of two critics are called, so that one call makes every weight; a graph drops the second.
            outputs[f"q_{name}"] = [critic(states, displayed) for critic in level.critics][0]
        outputs["click_probability"] = self.click_probability(*scores)
        return outputs

    def click_scores(
        self, level: Level, states: tf.Tensor, actions: tf.Tensor, items: tf.Tensor, counts: tf.Tensor
    ) -> tf.Tensor:
        """What one level says of items [..., D] in states [..., S], with its actions [..., D] and the items' as-of
        counts [..., 6] (see `read_counts`): [...].

        Click logits (eq. 16); with `click_score=q`, where the click heads are not trained, Q values.
        """
        # In any case, for one call makes every weight; a graph drops what is not used.
        logits = level.click_head(actions, items, states, counts)
        if self.click_score == "click":
            return logits
        return level.critic(states, to_action_space(items, self.config.action_space))
