"""What servers hold in shards, and how it is copied."""

import pytest
import tensorflow as tf
import tiny

from hrlrec_tf.agents.builder import build_agent, build_network
from hrlrec_tf.distribution import parameter_servers
from hrlrec_tf.distribution.partitioner import EmbeddingPartitioner


class TestPartitioner:
    @pytest.fixture
    def made(self, reader):
        """The network, and the names of its variables that are split and that are not, where any table may be."""
        partitioner, split, whole = EmbeddingPartitioner(2, smallest_shard=1), [], []

        def note(next_creator, **kwargs):
            variable = next_creator(**kwargs)
            shards = partitioner(variable.shape, variable.dtype)
            (split if shards[:1] > [1] else whole).append(variable.name)
            assert all(each == 1 for each in shards[1:])
            return variable

        with tf.variable_creator_scope(note), partitioner.watch():
            network = build_network(tiny.config(), reader)
        return network, split, whole

    def test_embedding_tables_alone_are_split(self, made):
        network, split, whole = made
        assert split and all("embeddings" in name for name in split)
        assert whole and not any("embeddings" in name for name in whole)
        assert any("gate_kernel" in name for name in whole)
        assert len(split) == sum("embeddings" in variable.name for variable in network.variables)

    @pytest.mark.parametrize("rows, shards", [(10, 1), (1 << 14, 2), (1 << 20, 4)])
    def test_small_tables_stay_whole(self, rows, shards):
        """Of 32 numbers a row: a shard has 2,048 rows at least."""
        partitioner = EmbeddingPartitioner(4, smallest_shard=1 << 20)
        partitioner._table = True
        assert partitioner(tf.TensorShape([rows, 32]), tf.float32) == [shards, 1]


def test_shards_and_whole_weights_are_copied_both_ways():
    whole = [tf.Variable(tf.reshape(tf.range(10.0), [5, 2])), tf.Variable(7, dtype=tf.int64)]
    held = [tf.Variable(tf.zeros([3, 2])), tf.Variable(tf.zeros([2, 2])), tf.Variable(0, dtype=tf.int64)]
    groups = parameter_servers.shards(whole, held)
    assert [len(group) for group in groups] == [2, 1]
    parameter_servers.copy([[variable] for variable in whole], groups)
    assert held[0].numpy().tolist() == [[0, 1], [2, 3], [4, 5]] and held[1].numpy().tolist() == [[6, 7], [8, 9]]
    held[1].assign([[0, 0], [0, 1]])
    held[2].assign(8)
    parameter_servers.copy(groups, [[variable] for variable in whole])
    assert whole[0].numpy().tolist() == [[0, 1], [2, 3], [4, 5], [0, 0], [0, 1]] and int(whole[1]) == 8


def test_all_that_a_checkpoint_keeps_of_an_agent_is_copied(reader):
    """Weights, targets, Adam's state, noise and step of one agent to another."""
    one, other = (build_agent(tiny.config(), reader) for _ in range(2))
    for number, variable in enumerate(parameter_servers._weights(one)):
        variable.assign(tf.cast(tf.fill(variable.shape, number + 1), variable.dtype))
    parameter_servers.copy(*([[v] for v in parameter_servers._weights(agent)] for agent in (one, other)))
    names = ("model", "target", "optimizer")
    found = [value for name in names for value in getattr(other, name).variables]
    expected = [value for name in names for value in getattr(one, name).variables]
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine.numpy() == theirs.numpy()).all(), mine.name
    assert int(other.train_step_counter) == int(one.train_step_counter) > 1
    for level, generator in other.generators.items():
        assert (generator.state.numpy() == one.generators[level].state.numpy()).all()
