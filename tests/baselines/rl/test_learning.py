"""What the RL competitors learn where half of the items are always clicked and the others never."""

import numpy as np
import pytest
import tensorflow as tf
import tiny
from test_ranking import LISTS, session, split

from hrlrec_tf import models
from hrlrec_tf.baselines.rl import config

GOOD = {"item_id1", "d", "item_id7", "item_id5"}  # of test_ranking's items, of all channels
LEARNING = {  # model -> steps and settings: as fast as each learns
    "dqn-lr": (25, ["training.learning_rate=0.06"]),
    "double-dueling-dqn": (15, ["training.learning_rate=0.02"]),
    "ddpg": (15, ["training.learning_rate=0.02", "training.actor_period=1", "losses.similarity=0"]),
}


@pytest.fixture(scope="module")
def logged(reader):
    """Lists of these items whose clicks say which are good."""
    rng, built = np.random.default_rng(2), []
    for number in range(16):
        names = tuple(rng.permutation(LISTS[number % 4]))
        clicks = [int(name in GOOD) for name in names]
        built.append({**session(number, names), "clicks": clicks, "dwell_seconds": [0.0] * len(names)})
    return tiny.experience(reader, tiny.read(reader, *built), config.default("dqn-gru"))


@pytest.mark.parametrize("model", LEARNING)
def test_good_items_come_first(make_agent, reader, logged, model):
    steps, more = LEARNING[model]
    agent = make_agent(model, "training.target_period=1", *more)
    agent.model.item_level.start_critics(float(tf.reduce_mean(logged.item_reward)))
    request, candidates = split(reader, [session(number, names) for number, names in enumerate(LISTS)])
    good = np.array([[name in GOOD for name in names] for names in LISTS])
    ranker = models.ranker(agent.model)

    def share_in_order() -> float:
        """Of all pairs of a good and another candidate, those that Q orders rightly."""
        scores = ranker.score(request, candidates).numpy()
        pairs = [(a, b) for mine, best in zip(scores, good) for a in mine[best] for b in mine[~best]]
        return float(np.mean([a > b for a, b in pairs]))

    assert share_in_order() < 0.7
    for _ in range(steps):
        agent.train(logged)
    assert share_in_order() > 0.85
    first = ranker.rank(request, candidates, tf.zeros([len(LISTS)]))["index"].numpy()[:, 0]
    assert good[np.arange(len(LISTS)), first].all()
