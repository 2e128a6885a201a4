"""What building a list goes on from: the user, the candidates, and what stands above the next position."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import tensorflow as tf

from hrlrec_tf.candidates import Candidates, Seen
from hrlrec_tf.networks.cumulative import Placed, Profile
from hrlrec_tf.networks.embeddings import Batch
from hrlrec_tf.networks.joint_interaction import JointInteraction
from hrlrec_tf.networks.level import StateLevel
from hrlrec_tf.networks.state_encoder import Carry

Interact = Callable[[Mapping[str, tf.Tensor]], dict[str, tf.Tensor]]


class Prefix(NamedTuple):
    """What stands above the next position."""

    available: tf.Tensor  # [B, N] bool
    hidden: dict[str, Carry]  # level -> what its encoder carries on
    placed: Placed
    seen: Seen


class User(NamedTuple):
    """Who asks, as embeddings, before the list."""

    profile: tf.Tensor  # [B, D]
    cumulative: Profile
    contexts: list[tf.Tensor]  # [B, D] field (b) of each position
    feedback: dict[str, tf.Tensor]  # level -> embedding of unknown feedback, [D]
    hidden: dict[str, Carry]  # level -> its encoder's memory of the history
    seen: Seen
    interact: Interact  # fields to rows, by level; see `interaction`


class Encoded(NamedTuple):
    """What does not change from position to position."""

    user: User
    items: tf.Tensor  # [B, N, D]
    actions: tf.Tensor  # [B, N, D] the items in the actions' space
    directions: tf.Tensor  # [B, N, D] the same, of unit length
    channels: tf.Tensor  # [B, N] int32 in [0, B * N), equal for candidates of one channel of one request alone
    candidates: Candidates

    def in_channel_of(self, index: tf.Tensor) -> tf.Tensor:
        """Which candidates have the channel of the candidates `index` [B]: [B, N] bool."""
        return self.channels == tf.gather(self.channels, tf.expand_dims(index, 1), batch_dims=1)

    def counts(self, prefix: Prefix, index: tf.Tensor) -> Batch:
        """`features.COUNTS` of the candidates `index` [B], shown below a prefix: [B] each."""
        names = (self.candidates.channel, self.candidates.tags)
        return prefix.seen.counts(*(tf.gather(each, index, batch_dims=1) for each in names))

    def channel_ids(self, index: tf.Tensor) -> tf.Tensor:
        """Channel ids of the candidates `index` [B, ...]: [B, ...] int64."""
        return tf.gather(self.candidates.rows["channel"], index, batch_dims=1)


def interaction(levels: Mapping[str, StateLevel]) -> Interact:
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
