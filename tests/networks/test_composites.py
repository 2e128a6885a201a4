"""Configs of what the layers are put together to; the weights are made by the first call."""

import json

import numpy as np
import pytest
import tiny

from hrlrec_tf.agents.builder import build_network
from hrlrec_tf.config import preset
from hrlrec_tf.features import FeatureSpec, Kind
from hrlrec_tf.networks.embeddings import SessionEmbedding
from hrlrec_tf.networks.hrl_rec import HrlRecNetwork
from hrlrec_tf.networks.level import Level


@pytest.fixture(scope="module")
def network(reader):
    return build_network(tiny.config(base=preset("best")), reader)


def again(layer):
    """The layer that its config, as JSON, makes."""
    copy = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    assert copy.get_config() == layer.get_config()
    return copy


def test_network(network, reader):
    copy, batch = again(network), tiny.random_batch(reader, 3)
    assert (copy.spec, copy.config) == (network.spec, network.config)
    copy(batch)
    copy.set_weights(network.get_weights())
    for name, values in copy(batch).items():
        np.testing.assert_array_equal(values, network(batch)[name])


def test_level(network):
    for level in network.levels.values():
        copy = again(level)
        assert isinstance(copy, Level) and (copy.level, copy.name) == (level.level, level.level)
        assert copy.config == network.config


def test_session_embedding(network, reader):
    copy, batch = again(network.embedding), tiny.random_batch(reader, 3)
    assert isinstance(copy, SessionEmbedding) and isinstance(network, HrlRecNetwork)
    for mine, theirs in zip(copy.history(batch), network.embedding.history(batch)):
        assert mine.shape == theirs.shape
    assert copy.sizes == network.embedding.sizes and copy.spec == reader.spec


def test_a_spec_and_its_plain_values():
    spec = FeatureSpec(3, 2, 1, {"user_age": Kind.FLOAT, "item_author": Kind.STRING})
    assert FeatureSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
