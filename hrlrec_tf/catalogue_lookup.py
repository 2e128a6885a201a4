"""An item catalogue inside an exported model: features and embeddings by item id, and the nearest items of a channel.

Weights do not change when a catalogue does: an export of the same model with newer items is a refresh.
"""

import pathlib
import tempfile

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow_recommenders.layers.factorized_top_k import BruteForce

from hrlrec_tf import features, retrieval
from hrlrec_tf.candidates import Candidates, first_of_each, kinds
from hrlrec_tf.catalogue import ItemCatalogue
from hrlrec_tf.data.input import SessionReader
from hrlrec_tf.features import Kind
from hrlrec_tf.networks.actor import to_action_space
from hrlrec_tf.networks.list_network import ListNetwork
from hrlrec_tf.ranking import Ranker
from hrlrec_tf.ranking_state import User
from hrlrec_tf.serving_request import Inputs, read_request


class CatalogueLookup(tf.Module):
    """Items by id. Each table has one row more, the last, for what is no item of the catalogue.

    Args:
      catalogue: the items. reader: whose transform graph looks up their features. network: that embeds them.
    """

    def __init__(self, catalogue: ItemCatalogue, reader: SessionReader, network: ListNetwork) -> None:
        super().__init__(name="catalogue")
        self._spec, self._size = reader.spec, len(catalogue)
        self._scratch = tempfile.TemporaryDirectory(prefix="hrlrec-catalogue-")
        ids = pathlib.Path(self._scratch.name) / "catalogue_item_id"
        ids.write_text("".join(f"{name}\n" for name in catalogue.columns["item_id"]), encoding="utf-8")
        lines, numbers = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
        file = tf.lookup.TextFileInitializer(str(ids), tf.string, lines, tf.int64, numbers)
        self._places = tf.lookup.StaticHashTable(file, default_value=self._size)
        columns = {
            name: np.append(values, [reader.spec.item[name].absent]).astype(values.dtype)
            for name, values in catalogue.columns.items()
        }
        _, items = read_request(_without_user(columns, reader), reader)
        self._raw = {name: _constant(values) for name, values in columns.items()}
        self._rows = {name: _constant(values[0]) for name, values in items.rows.items()}
        self._tags = _constant(items.tags[0])
        self._embeddings = _constant(network.embedding.item_embeddings(items.rows)[0])

    @property
    def item_ids(self) -> list[str]:
        """All of them."""
        return [name.decode() for name in self._raw["item_id"].numpy()[:-1]]

    def candidates(self, item_id: tf.Tensor) -> tuple[Candidates, tf.Tensor, tf.Tensor]:
        """Candidates by id [B, N], their embeddings [B, N, D], and how many ids of each request are unknown [B] int64.

        What is unknown is left out, as padding is.
        """
        places = self._places.lookup(item_id)
        unknown = first_of_each(kinds(item_id), among=(places == self._size) & (item_id != ""))
        return *self.at(places), tf.reduce_sum(tf.cast(unknown, tf.int64), axis=-1)

    def at(self, places: tf.Tensor) -> tuple[Candidates, tf.Tensor]:
        """Candidates by their places [B, N] in the catalogue, and their embeddings."""
        rows = {name: tf.gather(values, places) for name, values in self._rows.items()}
        names = (tf.gather(values, places) for values in (self._raw["item_id"], self._raw["channel"], self._tags))
        return Candidates(rows, *names), tf.gather(self._embeddings, places)

    def complete(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        """Inputs with the catalogue's columns of the history's items; of an item that it lacks the id remains."""
        places = self._places.lookup(inputs["history_item_id"])
        known = {
            features.HISTORY + name: tf.gather(values, places)
            for name, values in self._raw.items()
            if name != "item_id"
        }
        return {**inputs, **known}


class Retrieval(tf.Module):
    """Items of a catalogue to rank, for requests without candidates: of each channel those nearest to what the item
    level would show first there.

    Args:
      lookup: of the catalogue. ranker: with an item level that acts. per_channel: most items of each channel.
    """

    def __init__(self, lookup: CatalogueLookup, ranker: Ranker, per_channel: int) -> None:
        super().__init__(name="retrieval")
        self._ranker = ranker
        space = ranker.network.config.action_space
        directions = retrieval.directions(to_action_space(lookup._embeddings[tf.newaxis, :-1], space))[0]
        channels, ids = lookup._raw["channel"].numpy()[:-1], lookup._rows["channel"].numpy()[:-1]
        self._channel_ids, indexes = [], []
        for channel in np.unique(channels):
            places = np.flatnonzero(channels == channel)
            index = BruteForce(k=min(per_channel, len(places)))
            index.index(tf.gather(directions, places), tf.constant(places, tf.int64))
            self._channel_ids.append(int(ids[places[0]]))
            indexes.append(index)
        self.tables = [index.variables for index in indexes]
        # Behind a plain object, or saving would trace the Keras layers once more.
        self._search = lambda channel, queries: indexes[channel](queries)[1]

    def places(self, user: User) -> tf.Tensor:
        """Places in the catalogue, [B, items] int64, by channel."""
        actions = self._ranker.first_actions(user)
        found = [self._search(place, actions[:, channel]) for place, channel in enumerate(self._channel_ids)]
        return tf.concat(found, axis=1)


def _without_user(columns: dict[str, np.ndarray], reader: SessionReader) -> dict[str, tf.Tensor]:
    """Inputs of `rank` with all items as the candidates of nobody."""
    inputs = {}
    for name, (kind, rank) in reader.spec.serving_inputs().items():
        absent: npt.NDArray = np.full([1] if rank == 1 else [1, 0], kind.absent, kind.dtype)
        values = (
            columns[name.removeprefix(features.CANDIDATE)][np.newaxis]
            if name.startswith(features.CANDIDATE)
            else absent
        )
        inputs[name] = tf.constant(values, tf.string if kind is Kind.STRING else tf.as_dtype(kind.dtype))
    return inputs


def _constant(values: np.ndarray | tf.Tensor) -> tf.Variable:
    """A variable that is never trained: kept beside the graph, which would grow with the catalogue otherwise."""
    return tf.Variable(tf.convert_to_tensor(values), trainable=False)
