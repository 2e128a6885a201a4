"""RL competitors on tiny sessions."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
import tiny

from hrlrec_tf.agents.builder import Design, build_network, compose_agent
from hrlrec_tf.agents.experience import ListExperience
from hrlrec_tf.baselines.rl import config
from hrlrec_tf.baselines.rl.config import RlConfig
from hrlrec_tf.baselines.rl.designs import DESIGNS
from hrlrec_tf.data.input import Batch, SessionReader

DQNS = ("dqn-lr", "dqn-gru", "double-dueling-dqn")
FLAT = (*DQNS, "ddpg")
TINY = (
    *("network.embedding_dim=8", "network.state_dim=12", "network.min_item_impressions=0"),
    *("training.batch_size=16", "training.seed=1"),
)


def settings(model: str, *more: str) -> RlConfig:
    """A model's settings in tiny sizes, with no noise where it has any, and `more`."""
    known = config.default(model).to_dict()
    quiet = {"network.attention_heads": 2, "network.dropout": 0.0, "losses.action_noise": 0.0}
    mine = [f"{name}={value}" for name, value in quiet.items() if name.split(".")[1] in known[name.split(".")[0]]]
    return config.default(model).override([*TINY, *mine, *more])


@pytest.fixture(scope="package")
def make_agent(reader: SessionReader) -> Callable:
    """Makes an agent of a model with some settings: weights large enough to show every gradient, equal targets."""
    networks: dict[tuple, tuple] = {}

    def make(model: str, *more: str):
        wanted = settings(model, *more)
        design: Design = DESIGNS[model]
        key = (model, wanted.network)
        if key not in networks:
            tf.keras.utils.set_random_seed(3)
            pair = [build_network(wanted, reader, name, design) for name in ("online", "target")]
            rng = np.random.default_rng(5)
            networks[key] = (*pair, [w + rng.normal(0, 0.2, w.shape) for w in pair[0].get_weights()])
        online, target, start = networks[key]
        for network in (online, target):
            network.set_weights(start)
        return compose_agent(wanted, online, target, design)

    return make


@pytest.fixture(scope="package")
def batch(reader: SessionReader) -> Batch:
    """Eight lists of one to four rows, one of them cut by a time cut, with items that come back and unknown ones."""
    batch = tiny.random_batch(reader, 8, seed=4)
    rows, unknown = batch["weight"].numpy(), reader.sizes["item_id"] - 1
    ids = batch["item_id"].numpy()
    full = np.flatnonzero(rows.sum(axis=1) == rows.shape[1])
    assert len(full) >= 2
    rows[full[0], 2:] = 0
    ids[full[1], [0, 2]] = unknown
    ids[full[1], 3] = ids[full[1], 1]
    return {**batch, "weight": tf.constant(rows), "item_id": tf.constant(ids)}


@pytest.fixture(scope="package")
def experience(reader: SessionReader, batch: Batch) -> ListExperience:
    """The same lists as experience, with the rewards of clicks and dwell time."""
    return tiny.experience(reader, batch, config.default("dqn-gru"))
