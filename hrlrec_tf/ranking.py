"""Builds a list position by position from candidates (Sec. 3.1): channel first, then the item inside it.

The history is encoded once; each placed item is one GRU step per level.
"""

from typing import NamedTuple

import tensorflow as tf

from hrlrec_tf import exploration, retrieval
from hrlrec_tf.candidates import Candidates, Request, as_of_counts, first_of_each, kinds
from hrlrec_tf.networks.actor import to_action_space
from hrlrec_tf.networks.cumulative import Placed, Profile, read_placed, read_profile
from hrlrec_tf.networks.hrl_rec import HrlRecNetwork
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
    channels: tf.Tensor  # [B, T] string, "" from the position on
    tags: tf.Tensor  # [B, T, K] string


class _Position(NamedTuple):
    """Both levels at one position, given its channel."""

    states: dict[str, tf.Tensor]  # level -> [B, S]
    actions: dict[str, tf.Tensor]  # level -> [B, D]


class Encoded(NamedTuple):
    """What does not change from position to position."""

    profile: tf.Tensor  # [B, D]
    cumulative: Profile
    items: tf.Tensor  # [B, N, D]
    actions: tf.Tensor  # [B, N, D] the items in the actions' space
    channels: tf.Tensor  # [B, N] int32 in [0, B * N), equal for candidates of one channel of one request alone

    def in_channel_of(self, index: tf.Tensor) -> tf.Tensor:
        """Which candidates have the channel of the candidates `index` [B]: [B, N] bool."""
        return self.channels == tf.gather(self.channels, index, batch_dims=1)[:, tf.newaxis]


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
        encoded = self._encode(request, candidates)
        prefix = self._start(request, encoded, candidates)
        length = self.network.spec.list_length
        # A loop in the graph: unrolled, ten positions are ten times the operations to trace, save and load.
        columns = {name: tf.TensorArray(dtype, length) for name, dtype in OUTPUTS.items()}

        def place(t: tf.Tensor, prefix: Prefix, columns: dict[str, tf.TensorArray]) -> tuple:
            values, prefix = self._place(t, request, candidates, encoded, prefix, epsilon)
            return t + 1, prefix, {name: column.write(t - 1, values[name]) for name, column in columns.items()}

        _, _, columns = tf.while_loop(
            lambda t, *_: t <= length, place, (tf.constant(1), prefix, columns), maximum_iterations=length
        )
        return {name: tf.transpose(column.stack()) for name, column in columns.items()}

    def score(self, request: Request, candidates: Candidates) -> tf.Tensor:
        """Click probability of each candidate as if it were shown first: [B, N]; 0 for padding."""
        encoded = self._encode(request, candidates)
        prefix = self._start(request, encoded, candidates)
        network = self.network
        channel_state = self._state(network.channel_level, tf.constant(1), request, encoded, prefix)[:, tf.newaxis]
        channel_action = network.channel_level.actor(channel_state)
        item_states, item_actions = self._item_level_of_each(tf.constant(1), request, candidates, encoded, prefix)
        probability = network.click_probability(
            network.click_scores(network.channel_level, channel_state, channel_action, encoded.items),
            network.click_scores(network.item_level, item_states, item_actions, encoded.items),
        )
        return tf.where(candidates.item_id != "", probability, 0.0)

    def _encode(self, request: Request, candidates: Candidates) -> Encoded:
        embedding = self.network.embedding
        items = embedding.item_embeddings(candidates.rows)
        return Encoded(
            profile=embedding.profile(request.batch),
            cumulative=read_profile(embedding, request.batch),
            items=items,
            actions=to_action_space(items, self.network.config.action_space),
            channels=kinds(candidates.channel),
        )

    def _start(self, request: Request, encoded: Encoded, candidates: Candidates) -> Prefix:
        embedding, batch = self.network.embedding, request.batch
        history, mask = embedding.history(batch), embedding.history_mask(batch)
        hidden = {}
        for name, level in self.network.levels.items():
            fields = level.fields(encoded.profile, history)
            hidden[name] = level.encoder.start(fields, encoded.profile, mask)
        size, length, tags = tf.shape(candidates.item_id)[0], self.network.spec.list_length, self.network.spec.max_tags
        return Prefix(
            # A second copy of an item would double its odds of being drawn.
            available=first_of_each(kinds(candidates.item_id), among=candidates.item_id != ""),
            hidden=hidden,
            placed=Placed(tf.zeros([size, embedding.channels]), tf.zeros([size, embedding.dim])),
            channels=tf.ensure_shape(tf.fill([size, length], ""), [None, length]),
            tags=tf.ensure_shape(tf.fill([size, length, tags], ""), [None, length, tags]),
        )

    def _states(
        self, level: StateLevel, t: tf.Tensor, request: Request, encoded: Encoded, prefix: Prefix, channels: tf.Tensor
    ) -> tf.Tensor:
        """States of position t under each of the given channel constraints [B, C]: [B, C, S]."""
        count = tf.shape(channels)[1]
        position = tf.fill(tf.stack([tf.shape(channels)[0], 1]), tf.cast(t, tf.int64))
        context = self.network.embedding.list_context(request.batch, position)
        placed = Placed(*(tf.repeat(values[:, tf.newaxis], count, axis=1) for values in prefix.placed))
        hidden = tf.repeat(level.encoder.read(prefix.hidden[level.level])[:, tf.newaxis], count, axis=1)
        context = tf.repeat(context, count, axis=1)
        return level.join(self.network.embedding, hidden, encoded.cumulative, placed, context, channels)

    def _state(
        self,
        level: StateLevel,
        t: tf.Tensor,
        request: Request,
        encoded: Encoded,
        prefix: Prefix,
        channel: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """State of position t under one channel constraint [B]: [B, S]. The channel level has none."""
        if channel is None:
            channel = tf.zeros(tf.shape(encoded.profile)[:1], tf.int64)
        return self._states(level, t, request, encoded, prefix, channel[:, tf.newaxis])[:, 0]

    def _item_level_of_each(
        self, t: tf.Tensor, request: Request, candidates: Candidates, encoded: Encoded, prefix: Prefix
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Item level at position t as if each candidate's own channel were selected: states, actions [B, N, ...]."""
        level, channels = self.network.item_level, tf.range(self.network.embedding.channels)
        every_channel = tf.repeat(channels[tf.newaxis], tf.shape(encoded.profile)[0], axis=0)
        states = self._states(level, t, request, encoded, prefix, every_channel)
        own = candidates.rows["channel"]
        return tf.gather(states, own, batch_dims=1), tf.gather(level.actor(states), own, batch_dims=1)

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
        levels, config, available = self.network.levels, self.network.config, prefix.available
        state = self._state(levels["channel"], t, request, encoded, prefix)
        channel_action = levels["channel"].actor(state)
        wishes = retrieval.cosine_similarities(channel_action, encoded.actions)

        def item_level(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            channel = tf.gather(candidates.rows["channel"], index, batch_dims=1)
            item_state = self._state(levels["item"], t, request, encoded, prefix, channel)
            return item_state, levels["item"].actor(item_state)

        def inside(index: tf.Tensor, item_action: tf.Tensor) -> tf.Tensor:
            """The policy's item in the channel of `index`."""
            similarities = retrieval.cosine_similarities(item_action, encoded.actions)
            return retrieval.select_item(similarities, encoded.in_channel_of(index), available)

        if config.channel_constraint == "hard":
            selected = retrieval.nearest(wishes, available)
            item_state, item_action = item_level(selected)
            greedy = inside(selected, item_action)
        else:
            _, item_actions = self._item_level_of_each(t, request, candidates, encoded, prefix)
            similarities = retrieval.cosine_similarities(item_actions, encoded.actions)
            greedy = retrieval.select_softly(similarities, wishes, encoded.channels, available, config.channel_weight)
            item_state, item_action = item_level(greedy)
        policy = exploration.Policy(greedy, lambda index: inside(index, item_level(index)[1]))
        share = config.channel_exploration
        choice = exploration.epsilon_greedy(policy, encoded.channels, available, epsilon, share)
        # What was drawn may come from another channel, which the item level must then be told.
        item_state, item_action = tf.cond(
            tf.reduce_any(choice.explored), lambda: item_level(choice.index), lambda: (item_state, item_action)
        )
        position = _Position({"channel": state, "item": item_state}, {"channel": channel_action, "item": item_action})
        values = self._values(encoded, position, choice.index)
        outputs = list_outputs(candidates, choice, values, tf.reduce_any(available, axis=-1))
        return outputs, self._advance(t, request, candidates, encoded, prefix, choice.index)

    def _values(self, encoded: Encoded, position: _Position, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """What the network says of the chosen candidates [B]: [B] each."""
        item = tf.gather(encoded.items, index, batch_dims=1)
        action = tf.gather(encoded.actions, index, batch_dims=1)
        values, scores = {}, []
        for name, level in self.network.levels.items():
            state = position.states[name]
            scores.append(self.network.click_scores(level, state, position.actions[name], item))
            values[f"q_{name}"] = level.critic(state, action)
        return {**values, "click_probability": self.network.click_probability(*scores)}

    def _advance(
        self,
        t: tf.Tensor,
        request: Request,
        candidates: Candidates,
        encoded: Encoded,
        prefix: Prefix,
        index: tf.Tensor,
    ) -> Prefix:
        """Places one item: both encoders take a step, its channel and tags count, it cannot be shown again."""
        embedding = self.network.embedding
        shown = {name: tf.gather(values, index, batch_dims=1) for name, values in candidates.rows.items()}
        item_id = tf.gather(candidates.item_id, index, batch_dims=1)
        channel = tf.gather(candidates.channel, index, batch_dims=1)
        tags = tf.gather(candidates.tags, index, batch_dims=1)
        rows = {**shown, **as_of_counts(request, channel, tags, prefix.channels, prefix.tags)}
        position = tf.fill(tf.stack([tf.shape(index)[0], 1]), tf.cast(t, tf.int64))
        placed = embedding.placed(
            request.batch, {name: values[:, tf.newaxis] for name, values in rows.items()}, position
        )
        hidden = {
            name: level.encoder.advance(prefix.hidden[name], level.fields(encoded.profile, placed)[:, 0])
            for name, level in self.network.levels.items()
        }
        added = read_placed(embedding, shown["channel"], shown["tags"])
        here = tf.range(1, self.network.spec.list_length + 1) == t
        return Prefix(
            available=prefix.available & (candidates.item_id != item_id[:, tf.newaxis]),
            hidden=hidden,
            placed=Placed(*(before + new for before, new in zip(prefix.placed, added, strict=True))),
            channels=tf.where(here, channel[:, tf.newaxis], prefix.channels),
            tags=tf.where(here[:, tf.newaxis], tags[:, tf.newaxis], prefix.tags),
        )


def list_outputs(
    candidates: Candidates, choice: exploration.Choice, values: dict[str, tf.Tensor], filled: tf.Tensor
) -> dict[str, tf.Tensor]:
    """OUTPUTS of one position: `values` beside what was chosen; nothing where no candidate was left to choose.

    Args:
      candidates: of the requests. choice: one each, [B]. values: `click_probability`, `q_channel`, `q_item`, [B] each.
      filled: [B] bool, whether a candidate was left.
    """
    outputs = {
        **values,
        "index": choice.index,
        "item_id": tf.gather(candidates.item_id, choice.index, batch_dims=1),
        "channel": tf.gather(candidates.channel, choice.index, batch_dims=1),
        "propensity_channel": choice.propensity_channel,
        "propensity_item": choice.propensity_item,
        "explored": tf.cast(choice.explored, tf.int64),
    }
    return {name: tf.where(filled, value, _absent(name, value.dtype)) for name, value in outputs.items()}


def _absent(name: str, dtype: tf.DType) -> tf.Tensor:
    """What a position holds when no candidate is left."""
    if dtype == tf.string:
        return tf.constant("")
    return tf.constant(-1 if name == "index" else 0, dtype)
