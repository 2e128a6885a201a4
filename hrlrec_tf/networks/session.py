"""A batch of sessions as embeddings: what the states of a list are made from (Sec. 3.2)."""

from typing import NamedTuple

import tensorflow as tf

from hrlrec_tf import features
from hrlrec_tf.networks.cumulative import Placed, Profile, read_counts, read_placed, read_profile
from hrlrec_tf.networks.embeddings import Batch, Rows, SessionEmbedding


class Embedded(NamedTuple):
    """A batch of sessions as embeddings; everything a state may know, and nothing of the current list's feedback."""

    profile: tf.Tensor  # [B, D] field (a)
    rows: Rows  # [B, H + T - 1, D] history, then the rows above the last position
    mask: tf.Tensor  # [B, H + T - 1] bool
    context: tf.Tensor  # [B, T, D] field (b) of the positions
    cumulative: Profile
    placed: Placed  # [B, T, ...] what stands above each position
    channels: tf.Tensor  # [B, T] ids of the logged channels
    items: tf.Tensor  # [B, T, D] embeddings of the displayed items
    counts: tf.Tensor  # [B, T, 6] what the user had seen and clicked of their channels and tags; see `read_counts`


def embed(embedding: SessionEmbedding, batch: Batch) -> Embedded:
    """Embeds sessions; reads no label of the current list."""
    rows = {name: batch[name] for name in (*embedding.spec.item, *features.COUNTS)}
    above = {name: values[:, :-1] for name, values in rows.items()}
    history = embedding.history(batch)
    placed = embedding.placed(batch, above, batch["position"][:, :-1])
    added = read_placed(embedding, batch["channel"], batch["tags"])
    return Embedded(
        profile=embedding.profile(batch),
        rows=Rows(*(tf.concat(pair, axis=1) for pair in zip(history, placed, strict=True))),
        mask=tf.concat([embedding.history_mask(batch), above["item_id"] > 0], axis=1),
        context=embedding.list_context(batch, batch["position"]),
        cumulative=read_profile(embedding, batch),
        placed=Placed(*(tf.cumsum(values, axis=1, exclusive=True) for values in added)),
        channels=batch["channel"],
        items=embedding.item_embeddings(rows),
        counts=read_counts(rows),
    )
