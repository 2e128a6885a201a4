"""Builds a list with a network of one level: at each position the candidate that the level prefers, of any channel."""

import tensorflow as tf

from hrlrec_tf import exploration, retrieval
from hrlrec_tf.candidates import Candidates, Request
from hrlrec_tf.ranking import Encoded, Prefix, Ranker, list_outputs


class FlatRanker(Ranker):
    """Ranks and scores candidates with a `FlatNetwork` or a `QNetwork`, as `Ranker` does with HRL-Rec.

    `q_channel` is 0: there is no channel level. `click_probability` orders candidates as Q does and is no probability.
    """

    def score(self, request: Request, candidates: Candidates) -> tf.Tensor:
        """What orders the candidates by Q as if each were shown first: [B, N]; 0 for padding."""
        level, encoded = self.network.item_level, self._encode(request, candidates)
        prefix = self._start(request, encoded, candidates)
        state = self._state(level, tf.constant(1), request, encoded, prefix)
        scores = self.network.click_probability(level.critic(state[:, tf.newaxis], encoded.actions))
        return tf.where(candidates.item_id != "", scores, 0.0)

    def _place(
        self,
        t: tf.Tensor,
        request: Request,
        candidates: Candidates,
        encoded: Encoded,
        prefix: Prefix,
        epsilon: tf.Tensor,
    ) -> tuple[dict[str, tf.Tensor], Prefix]:
        """Fills position t; returns its outputs and the prefix of position t + 1."""
        level, available = self.network.item_level, prefix.available
        state = self._state(level, t, request, encoded, prefix)
        preferences = level.preferences(state, encoded.actions)
        greedy = retrieval.best(preferences, available)

        def inside(index: tf.Tensor) -> tf.Tensor:
            """The policy's item in the channel of `index`."""
            return retrieval.best(preferences, available & encoded.in_channel_of(index))

        policy, share = exploration.Policy(greedy, inside), self.network.config.channel_exploration
        choice = exploration.epsilon_greedy(policy, encoded.channels, available, epsilon, share)
        q_item = level.critic(state, tf.gather(encoded.actions, choice.index, batch_dims=1))
        values = {
            "q_item": q_item,
            "q_channel": tf.zeros_like(q_item),
            "click_probability": self.network.click_probability(q_item),
        }
        outputs = list_outputs(candidates, choice, values, tf.reduce_any(available, axis=-1))
        return outputs, self._advance(t, request, candidates, encoded, prefix, choice.index)
