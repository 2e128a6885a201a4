import numpy as np
import oracles
import pytest
import tensorflow as tf

from hrlrec_tf import rewards
from hrlrec_tf.config import RewardConfig
from hrlrec_tf.errors import ConfigError


def test_channel_reward_counts_clicks():
    reward = rewards.channel_reward(tf.constant([[0, 1, 3]], tf.int64))
    assert reward.dtype == tf.float32 and reward.numpy().tolist() == [[0, 1, 3]]


@pytest.mark.parametrize(
    ("combine", "factors", "weights", "biases", "expected"),
    [
        # (1 + 0)^1 + (3 + 1)^.5 + (0 + 1)^2 + (2 + 2)^0 = 1 + 2 + 1 + 1
        ("power", (1, 3, 0, 2), (1, 0.5, 2, 0), (0, 1, 1, 2), 5.0),
        # nothing earned: 0^1 and the biases' powers stay
        ("power", (0, 0, 0, 0), (1, 0.2, 0.1, 0.1), (0, 1, 1, 1), 3.0),
        # 1 * 1 + .5 * 4 + 2 * 1 + 0 * 4
        ("linear", (1, 3, 0, 2), (1, 0.5, 2, 0), (0, 1, 1, 2), 5.0),
        ("linear", (0, 2, 1, 1), (1, 0.1, 0.05, 0.05), (0, 0, 0, 0), 0.3),
    ],
)
def test_item_reward_by_hand(combine, factors, weights, biases, expected):
    reward = rewards.item_reward(
        tf.constant([factors], tf.float32), tf.constant([weights], tf.float32), biases, combine
    )
    np.testing.assert_allclose(reward, [expected], rtol=1e-6)


@pytest.mark.parametrize("combine", ["power", "linear"])
def test_item_reward_of_whole_lists(combine):
    rng = np.random.default_rng(0)
    factors, weights = rng.uniform(0, 5, (3, 4, 4)), rng.uniform(0.1, 2, (3, 4, 4))
    biases = (0.5, 1.0, 0.0, 2.0)
    reward = rewards.item_reward(tf.constant(factors, tf.float32), tf.constant(weights, tf.float32), biases, combine)
    expected = [
        [oracles.item_reward(factors[b, t], weights[b, t], biases, combine) for t in range(4)] for b in range(3)
    ]
    np.testing.assert_allclose(reward, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"biases": (-0.1, 1, 1, 1)}, "click is -0.1; the base of eq. 7 must not be negative"),
        ({"combine": "linear", "biases": (0, 1, -1, 1)}, "diversity is -1"),
        ({"weights": (0.0, 1, 1, 1)}, "rewards.weights: click raises a base of 0 to 0.0"),
        ({"weights": (-1.0, 1, 1, 1)}, "click raises a base of 0 to -1.0"),
        ({"channel_weights": {"news": (0.0, 1, 1, 1)}}, "rewards.news: click raises a base of 0"),
        ({"weights": (1.0, 1.0)}, "need four numbers"),
    ],
)
def test_refused_bases(settings, message):
    with pytest.raises(ConfigError, match=message):
        RewardConfig(**settings)


def test_a_weight_of_zero_is_fine_where_the_base_is_not():
    # (x + 1)^0 = 1, and in the linear form the term is off.
    assert RewardConfig(weights=(1, 0, 0, 0)).weights == (1, 0, 0, 0)
    assert RewardConfig(combine="linear", biases=(0,) * 4, weights=(0, 1, 0, 0)).weights == (0, 1, 0, 0)
