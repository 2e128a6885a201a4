import dataclasses
import math

import pytest
import tensorflow as tf

from hrlrec_tf.benchmark import flops
from hrlrec_tf.benchmark.plain_keras import PlainStateEncoder
from hrlrec_tf.benchmark.workload import QUICK, Workload

SMALL = dataclasses.replace(QUICK, batch=3, rows=5)


def products(graph: tf.Graph) -> int:
    """Floating point operations of all products in a graph, from the shapes of its tensors."""
    counted = 0
    for operation in graph.get_operations():
        shapes = [tensor.shape for tensor in operation.inputs]
        if operation.type == "MatMul":
            inner = shapes[0][0 if operation.get_attr("transpose_a") else 1]
            counted += 2 * math.prod(operation.outputs[0].shape) * inner
        elif operation.type == "Einsum":
            sizes = {}
            terms = operation.get_attr("equation").decode().split("->")[0].split(",")
            for letters, shape in zip(terms, shapes):
                sizes |= dict(zip(letters, shape))
            counted += 2 * math.prod(sizes.values())
        else:
            assert "MatMul" not in operation.type, operation.type
    return counted


@pytest.mark.parametrize("backward", [False, True])
def test_the_encoder_counts_what_its_graph_holds(backward):
    network = SMALL.config.network
    fields = tf.zeros([SMALL.batch, SMALL.rows, flops.FIELDS, network.embedding_dim])
    profile, mask = tf.zeros([SMALL.batch, network.embedding_dim]), tf.ones([SMALL.batch, SMALL.rows], tf.bool)
    encoder = PlainStateEncoder(network.state_dim, network.attention_heads, dropout=0.0)
    encoder(fields, profile, mask, SMALL.list_length)
    # A loop's body would stand in the graph once, and a function's not at all.
    encoder.gru.unroll, encoder.gru._could_use_gpu_kernel = True, False

    @tf.function(autograph=False)
    def run(fields, profile):
        with tf.GradientTape() as tape:
            tape.watch([fields, profile])
            states = encoder(fields, profile, mask, SMALL.list_length)
        return tape.gradient(states, [fields, profile, *encoder.trainable_variables]) if backward else states

    counted = products(run.get_concrete_function(fields, profile).graph)
    assert counted == (3 if backward else 1) * sum(flops.encoder_forward(SMALL).values())


def test_a_step_of_the_paper_by_hand():
    counted = flops.step(Workload())
    # 256 lists of 50 rows, 128 numbers in and 128 units, 3 gates; forward, backward (2) and target, two levels.
    assert counted["gru"] == 2 * 256 * 50 * 256 * 384 * 4 * 2
    # 51,200 fields of 32 numbers: four projections and a feed-forward of 64, and 4 x 4 scores and sums.
    assert counted["field interaction"] == 51_200 * 2 * (4 * 32 * 32 + 2 * 32 * 64 + 2 * 4 * 32) * 4 * 2
    assert counted["similarity search"] == 2 * 2560 * 2560 * 32 * 2
    assert counted["heads"] < 0.02 * sum(counted.values())
