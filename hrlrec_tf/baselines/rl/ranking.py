"""Builds a list with a network of one level: at each position the candidate that the level prefers, of any channel."""

from collections.abc import Sequence

import tensorflow as tf

from hrlrec_tf import exploration, retrieval
from hrlrec_tf.candidates import Candidates, Request
from hrlrec_tf.ranking import Ranker, flat
from hrlrec_tf.ranking_state import Encoded, Prefix


class FlatRanker(Ranker):
    """Ranks and scores candidates with a `FlatNetwork` or a `QNetwork`, as `Ranker` does with HRL-Rec.

    `q_channel` is 0: there is no channel level. `click_probability` orders candidates as Q does and is no probability.
    """

    def score(self, request: Request, candidates: Candidates) -> tf.Tensor:
        """What orders the candidates by Q as if each were shown first: [B, N]; 0 for padding."""
        level, encoded = self.network.item_level, self.encode(self.read(request), candidates)
        state = self.state(level, 0, encoded, self.start(encoded))
        scores = self.network.click_probability(level.critic(tf.expand_dims(state, 1), encoded.actions))
        return tf.where(candidates.item_id != "", scores, 0.0)

    def policy(self, t: int, encoded: Encoded, prefix: Prefix, allowed: tf.Tensor) -> exploration.Policy:
        """The network's choices for position t, from 0, among the candidates `allowed` [B, N]."""
        level = self.network.item_level
        preferences = level.preferences(self.state(level, t, encoded, prefix), encoded.actions)

        def inside(index: tf.Tensor) -> tf.Tensor:
            """The policy's item in the channel of `index`."""
            return retrieval.best(preferences, allowed & encoded.in_channel_of(index))

        return exploration.Policy(retrieval.best(preferences, allowed), inside)

    def report(
        self, encoded: Encoded, prefixes: Sequence[Prefix], index: tf.Tensor, counts: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """What the network says of the candidates `index` [B, T] of a list, [B, T] each; it reads no counts."""
        level = self.network.item_level
        states = flat(self.states(level, encoded, prefixes))
        q_item = level.critic(states, flat(tf.gather(encoded.actions, index, batch_dims=1)))
        q_item = tf.reshape(q_item, tf.shape(index))
        return {
            "q_item": q_item,
            "q_channel": tf.zeros_like(q_item),
            "click_probability": self.network.click_probability(q_item),
        }
