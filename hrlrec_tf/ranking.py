"""Builds a list position by position from candidates (Sec. 3.1): channel first, then the item inside it.

The history is encoded once; each position then takes two searches, and each placed item one GRU step per level. What is
reported of a list (Q, click probability, propensities) is computed for all positions at once when it is complete.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from hrlrec_tf import exploration, retrieval
from hrlrec_tf.candidates import Candidates, Request, Seen, first_of_each, kinds
from hrlrec_tf.exploration import Choice
from hrlrec_tf.networks.actor import to_action_space
from hrlrec_tf.networks.cumulative import Placed, Profile, read_placed, read_profile
from hrlrec_tf.networks.hrl_rec import HrlRecNetwork
from hrlrec_tf.networks.joint_interaction import JointInteraction
from hrlrec_tf.networks.level import StateLevel
from hrlrec_tf.networks.state_encoder import Carry

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


class Prefix(NamedTuple):
    """What stands above the next position."""

    available: tf.Tensor  # [B, N] bool
    hidden: dict[str, Carry]  # level -> what its encoder carries on
    placed: Placed
    seen: Seen


class Encoded(NamedTuple):
    """What does not change from position to position."""

    profile: tf.Tensor  # [B, D]
    cumulative: Profile
    contexts: tf.Tensor  # [B, T, D] field (b) of the positions
    items: tf.Tensor  # [B, N, D]
    actions: tf.Tensor  # [B, N, D] the items in the actions' space
    directions: tf.Tensor  # [B, N, D] the same, of unit length
    channels: tf.Tensor  # [B, N] int32 in [0, B * N), equal for candidates of one channel of one request alone
    candidates: Candidates
    interact: Callable[[Mapping[str, tf.Tensor]], dict[str, tf.Tensor]]  # fields to rows, by level; see `_interaction`

    def in_channel_of(self, index: tf.Tensor) -> tf.Tensor:
        """Which candidates have the channel of the candidates `index` [B]: [B, N] bool."""
        return self.channels == tf.gather(self.channels, tf.expand_dims(index, 1), batch_dims=1)

    def channel_ids(self, index: tf.Tensor) -> tf.Tensor:
        """Channel ids of the candidates `index` [B, ...]: [B, ...] int64."""
        return tf.gather(self.candidates.rows["channel"], index, batch_dims=1)


class Ranker:
    """Ranks and scores candidates with a trained network.

    Args:
      network: both levels.
    """

    def __init__(self, network: HrlRecNetwork) -> None:
        self.network = network

    def rank(self, request: Request, candidates: Candidates, epsilon: tf.Tensor) -> dict[str, tf.Tensor]:
        """The list for each request.

        Args:
          request: of B users. candidates: N each. epsilon: [B] share of positions drawn at random.

        Returns:
          `index` into the candidates (-1 where none is left), `item_id`, `channel`, `click_probability`, `q_channel`,
          `q_item`, `propensity_channel`, `propensity_item`, `explored`; each [B, T].
        """
        encoded = self.encode(request, candidates)
        prefix, share = self.start(request, encoded), self.network.config.channel_exploration
        length = self.network.spec.list_length
        prefixes: list[Prefix] = []
        choices: list[Choice] = []
        # Unrolled: a loop in the graph costs as much as the positions themselves.
        for t, draws in enumerate(exploration.draw(epsilon, tf.shape(candidates.item_id)[1], length, share)):
            policy = self.policy(t, encoded, prefix)
            choices.append(exploration.choose(policy, encoded.channels, prefix.available, draws, share))
            prefixes.append(prefix)
            if t + 1 < length:
                prefix = self.advance(t, encoded, prefix, choices[-1].index)
        choice = Choice(*(tf.stack(values, axis=1) for values in zip(*choices, strict=True)))
        available = tf.stack([each.available for each in prefixes], axis=1)
        of_channel, of_item = exploration.propensities(choice, encoded.channels, available, epsilon, share)
        outputs = {
            **self.report(encoded, prefixes, choice.index),
            "index": choice.index,
            "item_id": tf.gather(candidates.item_id, choice.index, batch_dims=1),
            "channel": tf.gather(candidates.channel, choice.index, batch_dims=1),
            "propensity_channel": of_channel,
            "propensity_item": of_item,
            "explored": tf.cast(choice.explored, tf.int64),
        }
        filled = tf.reduce_any(available, axis=-1)
        return {name: tf.where(filled, value, _absent(name, value.dtype)) for name, value in outputs.items()}

    def score(self, request: Request, candidates: Candidates) -> tf.Tensor:
        """Click probability of each candidate as if it were shown first: [B, N]; 0 for padding."""
        encoded = self.encode(request, candidates)
        prefix = self.start(request, encoded)
        network = self.network
        channel_state = tf.expand_dims(self.state(network.channel_level, 0, encoded, prefix), 1)
        channel_action = network.channel_level.actor(channel_state)
        item_states, item_actions = self._item_level_of_each(0, encoded, prefix)
        probability = network.click_probability(
            network.click_scores(network.channel_level, channel_state, channel_action, encoded.items),
            network.click_scores(network.item_level, item_states, item_actions, encoded.items),
        )
        return tf.where(candidates.item_id != "", probability, 0.0)

    def encode(self, request: Request, candidates: Candidates) -> Encoded:
        """What does not change from position to position."""
        embedding, batch = self.network.embedding, request.batch
        items = embedding.item_embeddings(candidates.rows)
        actions = to_action_space(items, self.network.config.action_space)
        positions = tf.range(1, self.network.spec.list_length + 1, dtype=tf.int64)
        positions = tf.repeat(positions[tf.newaxis], tf.shape(candidates.item_id)[0], axis=0)
        return Encoded(
            profile=embedding.profile(batch),
            cumulative=read_profile(embedding, batch),
            contexts=embedding.list_context(batch, positions),
            items=items,
            actions=actions,
            directions=retrieval.directions(actions),
            channels=kinds(candidates.channel),
            candidates=candidates,
            interact=_interaction(self.network.levels),
        )

    def start(self, request: Request, encoded: Encoded) -> Prefix:
        """What stands above the first position: the history."""
        embedding, batch, item_id = self.network.embedding, request.batch, encoded.candidates.item_id
        history, mask = embedding.history(batch), embedding.history_mask(batch)
        levels = self.network.levels
        rows = encoded.interact({name: level.fields(encoded.profile, history) for name, level in levels.items()})
        hidden = {name: level.encoder.start(rows[name], encoded.profile, mask) for name, level in levels.items()}
        size = tf.shape(item_id)[0]
        return Prefix(
            # A second copy of an item would double its odds of being drawn.
            available=first_of_each(kinds(item_id), among=item_id != ""),
            hidden=hidden,
            placed=Placed(tf.zeros([size, embedding.channels]), tf.zeros([size, embedding.dim])),
            seen=Seen.of_request(request),
        )

    def state(
        self, level: StateLevel, t: int, encoded: Encoded, prefix: Prefix, channel: tf.Tensor | None = None
    ) -> tf.Tensor:
        """State of position t, from 0, under one channel constraint, ids [B]: [B, S]. The channel level has none."""
        hidden = level.encoder.read(prefix.hidden[level.level])
        context = encoded.contexts[:, t]
        return level.join(self.network.embedding, hidden, encoded.cumulative, prefix.placed, context, channel)

    def _item_level_of_each(self, t: int, encoded: Encoded, prefix: Prefix) -> tuple[tf.Tensor, tf.Tensor]:
        """Item level at position t as if each candidate's own channel were selected: states, actions [B, N, ...]."""
        level, embedding = self.network.item_level, self.network.embedding
        hidden, context = level.encoder.read(prefix.hidden[level.level]), encoded.contexts[:, t]
        hidden, context, *placed = (
            tf.repeat(values[:, tf.newaxis], embedding.channels, axis=1) for values in (hidden, context, *prefix.placed)
        )
        every = tf.repeat(tf.range(embedding.channels)[tf.newaxis], tf.shape(hidden)[0], axis=0)
        states = level.join(embedding, hidden, encoded.cumulative, Placed(*placed), context, every)
        own = encoded.candidates.rows["channel"]
        return tf.gather(states, own, batch_dims=1), tf.gather(level.actor(states), own, batch_dims=1)

    def policy(self, t: int, encoded: Encoded, prefix: Prefix) -> exploration.Policy:
        """The networks' choices for position t, from 0."""
        levels, config, available = self.network.levels, self.network.config, prefix.available
        wish = levels["channel"].actor(self.state(levels["channel"], t, encoded, prefix))

        def inside(index: tf.Tensor) -> tf.Tensor:
            """The policy's item in the channel of `index`."""
            state = self.state(levels["item"], t, encoded, prefix, encoded.channel_ids(index))
            similarities = retrieval.products(levels["item"].actor(state), encoded.directions)
            return retrieval.best(similarities, encoded.in_channel_of(index) & available)

        if config.channel_constraint == "hard":
            selected = retrieval.best(retrieval.products(wish, encoded.directions), available)
            return exploration.Policy(inside(selected), inside)
        _, actions = self._item_level_of_each(t, encoded, prefix)
        similarities = retrieval.cosine_similarities(actions, encoded.directions)
        wishes = retrieval.cosine_similarities(wish, encoded.directions)
        greedy = retrieval.select_softly(similarities, wishes, encoded.channels, available, config.channel_weight)
        return exploration.Policy(greedy, inside)

    def advance(self, t: int, encoded: Encoded, prefix: Prefix, index: tf.Tensor) -> Prefix:
        """Places a candidate [B] at position t, from 0: both encoders take a step, its channel and tags count, it cannot
        be shown again.
        """
        embedding, candidates = self.network.embedding, encoded.candidates
        channel, tags = (tf.gather(each, index, batch_dims=1) for each in (candidates.channel, candidates.tags))
        channel_id = encoded.channel_ids(index)
        rows = {"channel": channel_id, **prefix.seen.counts(channel, tags)}
        items = tf.gather(encoded.items, index, batch_dims=1)
        placed = embedding.placed_in(encoded.contexts[:, t], rows, items)
        levels = self.network.levels
        row = encoded.interact({name: level.fields(encoded.profile, placed) for name, level in levels.items()})
        hidden = {name: level.encoder.advance(prefix.hidden[name], row[name]) for name, level in levels.items()}
        added = read_placed(embedding, channel_id, tf.gather(candidates.rows["tags"], index, batch_dims=1))
        places = tf.range(tf.shape(prefix.available)[1])
        return Prefix(
            available=prefix.available & (places != tf.expand_dims(index, 1)),
            hidden=hidden,
            placed=Placed(*(before + new for before, new in zip(prefix.placed, added, strict=True))),
            seen=prefix.seen.add(channel, tags),
        )

    def report(self, encoded: Encoded, prefixes: Sequence[Prefix], index: tf.Tensor) -> dict[str, tf.Tensor]:
        """What the network says of the candidates `index` [B, T] of a list: `click_probability` and Q, [B, T] each."""
        # What was drawn may come from another channel than the one selected: the item level is told that one.
        channels = encoded.channel_ids(index)
        item, action = (flat(tf.gather(each, index, batch_dims=1)) for each in (encoded.items, encoded.actions))
        values, scores = {}, []
        for name, level in self.network.levels.items():
            states = flat(self.states(level, encoded, prefixes, channels))
            scores.append(self.network.click_scores(level, states, level.actor(states), item))
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
        return level.join(self.network.embedding, hidden, encoded.cumulative, placed, encoded.contexts, channels)


def _interaction(levels: Mapping[str, StateLevel]) -> Callable[[Mapping[str, tf.Tensor]], dict[str, tf.Tensor]]:
    """Eq. 1 of all levels: from fields [..., n, D] by level to rows [..., n * D] by level."""
    layers = {name: level.encoder.interaction for name, level in levels.items()}
    if not all(JointInteraction.fits(layer) for layer in layers.values()):
        return lambda fields: {name: layer(fields[name]) for name, layer in layers.items()}
    joint = JointInteraction(list(layers.values()))

    def interact(fields: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        *leading, count, dim = next(iter(fields.values())).shape
        rows = joint([tf.reshape(fields[name], [-1, count, dim]) for name in layers])
        if len(leading) == 2:
            rows = [tf.reshape(each, [-1, leading[1], count * dim]) for each in rows]
        return dict(zip(layers, rows, strict=True))

    return interact


def flat(values: tf.Tensor) -> tf.Tensor:
    """[B, T, D] as [B * T, D]: layers run faster on matrices than on tensors of higher rank."""
    return tf.reshape(values, [-1, values.shape[-1]])


def _absent(name: str, dtype: tf.DType) -> tf.Tensor:
    """What a position holds when no candidate is left."""
    if dtype == tf.string:
        return tf.constant("")
    return tf.constant(-1 if name == "index" else 0, dtype)
