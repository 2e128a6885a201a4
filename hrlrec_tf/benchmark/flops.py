"""Floating point operations of a training step, counted from its sizes.

A product [m, k] x [k, n] counts 2 m k n; nothing else is counted: neither sums, activations, normalisation and
optimizer, nor what an implementation computes twice. Backward costs twice the forward: one product for the inputs'
gradient, one for the weights'. The count is that of the plain Keras implementation, so that a share of the machine's
peak means the same for every implementation.

With B lists, S rows, T positions, n fields of size D, U units and, per level, states of size W:

| part | forward |
|---|---|
| GRU | 2 B S (n D + U) 3 U |
| attention's projections | 4 * 2 B S n D D |
| attention's scores and sums | 2 * 2 B S n n D |
| feed-forward | 2 * 2 B S n D 2D |
| initial state | 2 B D U |
| actor | 2 B T W D |
| critic | 2 B T (W + D) |
| click head | 2 B T 2 D |
| similarity search | 2 (B T) (B T) D |

Each level runs the encoder forward and backward online and forward in its target. The actor runs so too; the critic a
third time forward for -Q, with a gradient for its actions alone.
"""

from hrlrec_tf.benchmark.workload import Workload

FIELDS = 4  # n of eq. 1


def encoder_forward(workload: Workload) -> dict[str, int]:
    """One pass of one level's state encoder, by part."""
    network = workload.config.network
    dim, units = network.embedding_dim, network.state_dim
    rows = workload.batch * workload.rows
    return {
        "gru": 2 * rows * (FIELDS * dim + units) * 3 * units,
        "field interaction": 2 * rows * FIELDS * dim * (4 * dim + 2 * FIELDS + 4 * dim),
        "initial state": 2 * workload.batch * dim * units,
    }


def step(workload: Workload) -> dict[str, int]:
    """One critic and one actor update of both levels, by part."""
    dim, units = workload.config.network.embedding_dim, workload.config.network.state_dim
    positions = workload.batch * workload.list_length
    # Forward, twice that backward, and forward in the target; two levels.
    counted = {part: 2 * 4 * flops for part, flops in encoder_forward(workload).items()}
    counted["heads"] = 0
    for state in (units + dim, units + 2 * dim):  # the item level's state holds the selected channel's embedding
        actor, critic, click = state * dim, state + dim, 2 * dim
        counted["heads"] += 2 * positions * (4 * actor + 5 * critic + dim + 3 * click)
    counted["similarity search"] = 2 * 2 * positions * positions * dim
    return counted
