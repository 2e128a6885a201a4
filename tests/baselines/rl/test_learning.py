"""What the RL competitors learn where half of the items are always clicked and the others never."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tiny
from test_ranking import LISTS, session, split

from hrlrec_tf import models
from hrlrec_tf.baselines.rl import config

GOOD = {"item_id1", "d", "item_id7", "item_id5"}  # of test_ranking's items, of all channels
STEPS = 40


@pytest.fixture(scope="module")
def logged(reader):
    """These items in every order, so that neither a position nor what stands above tells which are good."""
    built = []
    for user, items in enumerate(LISTS):
        for names in itertools.permutations(items):
            clicks = [int(name in GOOD) for name in names]
            built.append({**session(user, names), "clicks": clicks, "dwell_seconds": [0.0] * len(names)})
    return tiny.experience(reader, tiny.read(reader, *built), config.default("dqn-gru"))


@pytest.mark.parametrize("model", ["dqn-lr", "double-dueling-dqn", "ddpg"])
def test_good_items_come_first(make_agent, reader, logged, model):
    ddpg = ["training.actor_period=1", "losses.similarity=0"] if model == "ddpg" else []
    agent = make_agent(model, "training.learning_rate=0.03", "training.target_period=1", *ddpg)
    agent.model.item_level.start_critics(float(tf.reduce_mean(logged.item_reward)))
    request, candidates = split(reader, [session(user, names) for user, names in enumerate(LISTS)])
    good = np.array([[name in GOOD for name in names] for names in LISTS])
    ranker, step = models.ranker(agent.model), tf.function(agent.train, autograph=False)

    def lead() -> float:
        """By how much the worst good candidate's score lies above the best other one's, for the user who has least."""
        scores = ranker.score(request, candidates).numpy()
        return min(mine[best].min() - mine[~best].max() for mine, best in zip(scores, good))

    assert lead() < 0
    for _ in range(STEPS):
        step(logged)
    assert lead() > 0
    first = ranker.rank(request, candidates, tf.zeros([len(LISTS)]))["index"].numpy()[:, 0]
    assert good[np.arange(len(LISTS)), first].all()
