"""Builds a list position by position from candidates (Sec. 3.1): channel first, then the item inside it.

The history is encoded once; each position then takes two searches, and each placed item one GRU step per level. What is
reported of a list (Q, click probability, propensities) is computed for all positions at once when it is complete.
"""

from collections.abc import Sequence

import tensorflow as tf

from hrlrec_tf import exploration, retrieval
from hrlrec_tf.candidates import Candidates, Request, Seen, first_of_each, kinds
from hrlrec_tf.exploration import Choice
from hrlrec_tf.networks.actor import to_action_space
from hrlrec_tf.networks.cumulative import Placed, read_counts, read_placed, read_profile
from hrlrec_tf.networks.embeddings import Batch
from hrlrec_tf.networks.hrl_rec import HrlRecNetwork
from hrlrec_tf.networks.level import StateLevel
from hrlrec_tf.quotas import Quotas
from hrlrec_tf.ranking_state import Encoded, Prefix, User, interaction

# What a ranked position holds; see `Ranker.rank`.
OUTPUTS = {
    "index": tf.int32,
    "item_id": tf.string,
    "channel": tf.string,
    "click_probability": tf.float32,
    "q_channel": tf.float32,
    "q_item": tf.float32,
    "propensity_channel": tf.float32,
    "propensity_item": tf.float32,
    "explored": tf.int64,
}


class Ranker:
    """Ranks and scores candidates with a trained network.

    Args:
      network: both levels.
      quotas: bounds on each channel's rows in a list.
    """

    def __init__(self, network: HrlRecNetwork, quotas: Quotas | None = None) -> None:
        self.network, self._quotas = network, quotas

    def rank(self, request: Request, candidates: Candidates, epsilon: tf.Tensor) -> dict[str, tf.Tensor]:
        """The list for each request.

        Args:
          request: of B users. candidates: N each. epsilon: [B] share of positions drawn at random.

        Returns:
          `index` into the candidates (-1 where none is left), `item_id`, `channel`, `click_probability`, `q_channel`,
          `q_item`, `propensity_channel`, `propensity_item`, `explored`; each [B, T].
        """
        return self.rank_for(self.read(request), candidates, epsilon)

    def rank_for(
        self, user: User, candidates: Candidates, epsilon: tf.Tensor, items: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """`rank` for users that were read already, and candidates whose embeddings [B, N, D] may be known already."""
        encoded = self.encode(user, candidates, items)
        prefix, share = self.start(encoded), self.network.config.channel_exploration
        length = self.network.spec.list_length
        rule = None if self._quotas is None else self._quotas.rule(candidates.channel, prefix.available)
        prefixes: list[Prefix] = []
        choices: list[Choice] = []
        allowed: list[tf.Tensor] = []
        counts: list[Batch] = []
        # Unrolled: a loop in the graph costs as much as the positions themselves.
        for t, draws in enumerate(exploration.draw(epsilon, tf.shape(candidates.item_id)[1], length, share)):
            allowed.append(prefix.available if rule is None else rule(prefix.available, length - t))
            policy = self.policy(t, encoded, prefix, allowed[-1])
            choices.append(exploration.choose(policy, encoded.channels, allowed[-1], draws, share))
            prefixes.append(prefix)
            counts.append(encoded.counts(prefix, choices[-1].index))
            if t + 1 < length:
                prefix = self.advance(t, encoded, prefix, choices[-1].index, counts[-1])
        choice = Choice(*(tf.stack(values, axis=1) for values in zip(*choices, strict=True)))
        drawn_from = tf.stack(allowed, axis=1)
        of_channel, of_item = exploration.propensities(choice, encoded.channels, drawn_from, epsilon, share)
        outputs = {
            **self.report(encoded, prefixes, choice.index, tf.stack([read_counts(rows) for rows in counts], axis=1)),
            "index": choice.index,
            "item_id": tf.gather(candidates.item_id, choice.index, batch_dims=1),
            "channel": tf.gather(candidates.channel, choice.index, batch_dims=1),
            "propensity_channel": of_channel,
            "propensity_item": of_item,
            "explored": tf.cast(choice.explored, tf.int64),
        }
        filled = tf.reduce_any(drawn_from, axis=-1)
        return {name: tf.where(filled, value, _absent(name, value.dtype)) for name, value in outputs.items()}

    def score(self, request: Request, candidates: Candidates) -> tf.Tensor:
        """Click probability of each candidate as if it were shown first: [B, N]; 0 for padding."""
        encoded = self.encode(self.read(request), candidates)
        prefix, network = self.start(encoded), self.network
        channel_state = tf.expand_dims(self.state(network.channel_level, 0, encoded, prefix), 1)
        channel_action = network.channel_level.actor(channel_state)
        item_states, item_actions = self._item_level_of_each(0, encoded, prefix)
        counts = read_counts(prefix.seen.counts_of_each(candidates.channel, candidates.tags))
        probability = network.click_probability(
            network.click_scores(network.channel_level, channel_state, channel_action, encoded.items, counts),
            network.click_scores(network.item_level, item_states, item_actions, encoded.items, counts),
        )
        return tf.where(candidates.item_id != "", probability, 0.0)

    def read(self, request: Request) -> User:
        """Encodes users and their histories, before any candidate is known."""
        embedding, batch, levels = self.network.embedding, request.batch, self.network.levels
        profile, interact = embedding.profile(batch), interaction(levels)
        history, mask = embedding.history(batch), embedding.history_mask(batch)
        rows = interact({name: level.fields(profile, history) for name, level in levels.items()})
        positions = tf.range(1, self.network.spec.list_length + 1, dtype=tf.int64)
        positions = tf.repeat(positions[tf.newaxis], tf.shape(profile)[0], axis=0)
        return User(
            profile=profile,
            cumulative=read_profile(embedding, batch),
            contexts=tf.unstack(embedding.list_context(batch, positions), self.network.spec.list_length, axis=1),
            feedback=embedding.unknown_feedback(),
            hidden={name: level.encoder.start(rows[name], profile, mask) for name, level in levels.items()},
            seen=Seen.of_request(request),
            interact=interact,
        )

    def encode(self, user: User, candidates: Candidates, items: tf.Tensor | None = None) -> Encoded:
        """What does not change from position to position; see `rank_for`."""
        if items is None:
            items = self.network.embedding.item_embeddings(candidates.rows)
        actions = to_action_space(items, self.network.config.action_space)
        return Encoded(
            user=user,
            items=items,
            actions=actions,
            directions=retrieval.directions(actions),
            channels=kinds(candidates.channel),
            candidates=candidates,
        )

    def start(self, encoded: Encoded) -> Prefix:
        """What stands above the first position: the history."""
        item_id = encoded.candidates.item_id
        # A second copy of an item would double its odds of being drawn.
        return self._before(encoded.user, first_of_each(kinds(item_id), among=item_id != ""))

    def _before(self, user: User, available: tf.Tensor) -> Prefix:
        """A prefix of nothing."""
        size, embedding = tf.shape(user.profile)[0], self.network.embedding
        placed = Placed(tf.zeros([size, embedding.channels]), tf.zeros([size, embedding.dim]))
        return Prefix(available, user.hidden, placed, user.seen)

    def first_actions(self, user: User) -> tf.Tensor:
        """Actions of the item level at the first position as if each channel id were selected: [B, channel ids, D]."""
        return self._under_every_channel(
            0, user, self._before(user, tf.zeros([tf.shape(user.profile)[0], 0], tf.bool))
        )[1]

    def state(
        self, level: StateLevel, t: int, encoded: Encoded, prefix: Prefix, channel: tf.Tensor | None = None
    ) -> tf.Tensor:
        """State of position t, from 0, under one channel constraint, ids [B]: [B, S]. The channel level has none."""
        hidden = level.encoder.read(prefix.hidden[level.level])
        user = encoded.user
        return level.join(self.network.embedding, hidden, user.cumulative, prefix.placed, user.contexts[t], channel)

    def _under_every_channel(self, t: int, user: User, prefix: Prefix) -> tuple[tf.Tensor, tf.Tensor]:
        """Item level at position t as if each channel id were selected: states and actions, [B, channel ids, ...]."""
        level, embedding = self.network.item_level, self.network.embedding
        hidden, context = level.encoder.read(prefix.hidden[level.level]), user.contexts[t]
        hidden, context, *placed = (
            tf.repeat(values[:, tf.newaxis], embedding.channels, axis=1) for values in (hidden, context, *prefix.placed)
        )
        every = tf.repeat(tf.range(embedding.channels)[tf.newaxis], tf.shape(hidden)[0], axis=0)
        states = level.join(embedding, hidden, user.cumulative, Placed(*placed), context, every)
        return states, level.actor(states)

    def _item_level_of_each(self, t: int, encoded: Encoded, prefix: Prefix) -> tuple[tf.Tensor, tf.Tensor]:
        """Item level at position t as if each candidate's own channel were selected: states, actions [B, N, ...]."""
        own = encoded.candidates.rows["channel"]
        states, actions = self._under_every_channel(t, encoded.user, prefix)
        return tf.gather(states, own, batch_dims=1), tf.gather(actions, own, batch_dims=1)

    def policy(self, t: int, encoded: Encoded, prefix: Prefix, allowed: tf.Tensor) -> exploration.Policy:
        """The networks' choices for position t, from 0, among the candidates `allowed` [B, N]."""
        levels, config = self.network.levels, self.network.config
        wish = levels["channel"].actor.direction(self.state(levels["channel"], t, encoded, prefix))

        def inside(index: tf.Tensor) -> tf.Tensor:
            """The policy's item in the channel of `index`."""
            state = self.state(levels["item"], t, encoded, prefix, encoded.channel_ids(index))
            similarities = retrieval.products(levels["item"].actor.direction(state), encoded.directions)
            return retrieval.best(similarities, encoded.in_channel_of(index) & allowed)

        if config.channel_constraint == "hard":
            selected = retrieval.best(retrieval.products(wish, encoded.directions), allowed)
            return exploration.Policy(inside(selected), inside)
        _, actions = self._item_level_of_each(t, encoded, prefix)
        similarities = retrieval.cosine_similarities(actions, encoded.directions)
        wishes = retrieval.cosine_similarities(wish, encoded.directions)
        greedy = retrieval.select_softly(similarities, wishes, encoded.channels, allowed, config.channel_weight)
        return exploration.Policy(greedy, inside)

    def advance(self, t: int, encoded: Encoded, prefix: Prefix, index: tf.Tensor, counts: Batch) -> Prefix:
        """Places a candidate [B], with its as-of `counts`, at position t, from 0: both encoders take a step, its
        channel and tags count, and it cannot be shown again.
        """
        embedding, candidates, user = self.network.embedding, encoded.candidates, encoded.user
        channel, tags = (tf.gather(each, index, batch_dims=1) for each in (candidates.channel, candidates.tags))
        channel_id = encoded.channel_ids(index)
        rows = {"channel": channel_id, **counts}
        items = tf.gather(encoded.items, index, batch_dims=1)
        placed = embedding.placed_in(user.contexts[t], rows, user.feedback, items)
        levels = self.network.levels
        row = encoded.user.interact(
            {name: level.fields(encoded.user.profile, placed) for name, level in levels.items()}
        )
        hidden = {name: level.encoder.advance(prefix.hidden[name], row[name]) for name, level in levels.items()}
        added = read_placed(embedding, channel_id, tf.gather(candidates.rows["tags"], index, batch_dims=1))
        places = tf.range(tf.shape(prefix.available)[1])
        return Prefix(
            available=prefix.available & (places != tf.expand_dims(index, 1)),
            hidden=hidden,
            placed=Placed(*(before + new for before, new in zip(prefix.placed, added, strict=True))),
            seen=prefix.seen.add(channel, tags),
        )

    def report(
        self, encoded: Encoded, prefixes: Sequence[Prefix], index: tf.Tensor, counts: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """What the network says of a list: `click_probability` and Q, [B, T] each.

        Args:
          encoded, prefixes: of its positions.
          index: [B, T] candidates shown. counts: [B, T, 6] of theirs; see `read_counts`.
        """
        # What was drawn may come from another channel than the one selected: the item level is told that one.
        channels = encoded.channel_ids(index)
        item, action = (flat(tf.gather(each, index, batch_dims=1)) for each in (encoded.items, encoded.actions))
        counts = flat(counts)
        values, scores = {}, []
        for name, level in self.network.levels.items():
            states = flat(self.states(level, encoded, prefixes, channels))
            scores.append(self.network.click_scores(level, states, level.actor(states), item, counts))
            values[f"q_{name}"] = level.critic(states, action)
        values["click_probability"] = self.network.click_probability(*scores)
        return {name: tf.reshape(each, tf.shape(index)) for name, each in values.items()}

    def states(
        self, level: StateLevel, encoded: Encoded, prefixes: Sequence[Prefix], channels: tf.Tensor | None = None
    ) -> tf.Tensor:
        """States of all positions under their channel constraints, ids [B, T]: [B, T, S]."""
        hidden = tf.stack([level.encoder.read(prefix.hidden[level.level]) for prefix in prefixes], axis=1)
        above = zip(*(prefix.placed for prefix in prefixes), strict=True)
        placed = Placed(*(tf.stack(values, axis=1) for values in above))
        user = encoded.user
        return level.join(
            self.network.embedding, hidden, user.cumulative, placed, tf.stack(user.contexts, axis=1), channels
        )


def flat(values: tf.Tensor) -> tf.Tensor:
    """[B, T, D] as [B * T, D]: layers run faster on matrices than on tensors of higher rank."""
    return tf.reshape(values, [-1, values.shape[-1]])


def _absent(name: str, dtype: tf.DType) -> tf.Tensor:
    """What a position holds when no candidate is left."""
    if dtype == tf.string:
        return tf.constant("")
    return tf.constant(-1 if name == "index" else 0, dtype)
