"""What the RL competitors learn where half of the items are always clicked and the others never."""

import numpy as np
import pytest
import tensorflow as tf
import tiny
from test_ranking import LISTS, session, split

from hrlrec_tf import models
from hrlrec_tf.baselines.rl import config

from .conftest import FLAT

GOOD = {"item_id1", "d", "item_id7", "item_id5"}  # of test_ranking's items, of all channels
STEPS = 25


@pytest.fixture(scope="module")
def logged(reader):
    """Lists of these items whose clicks say which are good."""
    rng, built = np.random.default_rng(2), []
    for number in range(16):
        names = tuple(rng.permutation(LISTS[number % 4]))
        clicks = [int(name in GOOD) for name in names]
        built.append({**session(number, names), "clicks": clicks, "dwell_seconds": [0.0] * len(names)})
    return tiny.experience(reader, tiny.read(reader, *built), config.default("dqn-gru"))


@pytest.mark.parametrize("model", FLAT)
def test_good_items_come_first(make_agent, reader, logged, model):
    ddpg = ["training.actor_period=1", "losses.similarity=0"] if model == "ddpg" else []
    agent = make_agent(model, "training.learning_rate=0.02", "training.target_period=1", *ddpg)
    agent.model.item_level.start_critics(float(tf.reduce_mean(logged.item_reward)))
    request, candidates = split(reader, [session(number, names) for number, names in enumerate(LISTS)])
    good = np.array([[name in GOOD for name in names] for names in LISTS])
    ranker, nothing = models.ranker(agent.model), tf.zeros([len(LISTS)])
    for _ in range(STEPS):
        agent.train(logged)
    scores = ranker.score(request, candidates).numpy()
    for mine, best in zip(scores, good):
        assert mine[best].min() > mine[~best].max()
    first = ranker.rank(request, candidates, nothing)["index"].numpy()[:, 0]
    assert good[np.arange(len(LISTS)), first].all()
