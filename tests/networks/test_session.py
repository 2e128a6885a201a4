import numpy as np
import pytest
import tensorflow as tf
import tiny

from hrlrec_tf.agents.experience import FEEDBACK
from hrlrec_tf.networks.embeddings import SessionEmbedding
from hrlrec_tf.networks.session import embed


@pytest.fixture(scope="module")
def embedding(reader):
    return SessionEmbedding(reader.spec, reader.sizes, 8)


@pytest.fixture(scope="module")
def batch(reader):
    return tiny.random_batch(reader, 6)


def test_rows_are_the_history_and_all_but_the_last_of_the_list(embedding, batch, reader):
    embedded = embed(embedding, batch)
    length = reader.spec.history_length + reader.spec.list_length - 1
    assert embedded.mask.shape == (6, length) and embedded.rows.item.shape == (6, length, 8)
    expected = np.concatenate([batch["history_item_id"] > 0, batch["item_id"][:, :-1] > 0], axis=1)
    np.testing.assert_array_equal(embedded.mask, expected)
    history = embedding.history(batch)
    for mine, theirs in zip(embedded.rows, history):
        np.testing.assert_array_equal(mine[:, : reader.spec.history_length], theirs)


def test_what_stands_above_a_position_excludes_it(embedding, batch):
    placed = embed(embedding, batch).placed
    assert np.abs(placed.channels[:, 0]).max() == np.abs(placed.tags[:, 0]).max() == 0
    channel = batch["channel"].numpy()
    for t in range(1, channel.shape[1]):
        expected = [[np.sum(row[:t] == c) for c in range(embedding.channels)] for row in channel]
        np.testing.assert_allclose(placed.channels[:, t], expected)


def test_labels_are_not_read(embedding, batch):
    """Without any feedback of the list in the batch, everything is embedded as before."""
    without = {name: values for name, values in batch.items() if name not in FEEDBACK}
    tf.nest.map_structure(np.testing.assert_array_equal, embed(embedding, without), embed(embedding, batch))
