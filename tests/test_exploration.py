import numpy as np
import pytest
import tensorflow as tf

from hrlrec_tf.exploration import epsilon_greedy

DRAWS = 20_000
CHANNELS = np.array(["news", "news", "video", "article", "video"])
AVAILABLE = np.array([True, True, True, False, True])
GREEDY = 2  # of channel video


def draw(epsilon: float):
    return epsilon_greedy(
        tf.fill([DRAWS], GREEDY),
        tf.constant(np.tile(CHANNELS, (DRAWS, 1))),
        tf.constant(np.tile(AVAILABLE, (DRAWS, 1))),
        tf.fill([DRAWS], np.float32(epsilon)),
    )


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_propensities_are_the_frequencies(epsilon):
    tf.random.set_seed(11)
    choice = draw(epsilon)
    index, channel = choice.index.numpy(), CHANNELS[choice.index]
    item = np.array([(1 - epsilon) * (i == GREEDY) + epsilon / 4 * AVAILABLE[i] for i in range(5)])
    of_channel = {"news": epsilon / 2, "video": 1 - epsilon + epsilon / 2}
    np.testing.assert_allclose(choice.propensity_channel, [of_channel[name] for name in channel], rtol=1e-5)
    np.testing.assert_allclose(choice.propensity_channel * choice.propensity_item, item[index], rtol=1e-5)
    assert np.isclose(item.sum(), 1) and np.isclose(sum(of_channel.values()), 1)
    frequency = np.bincount(index, minlength=5) / DRAWS
    np.testing.assert_array_less(np.abs(frequency - item), 5 * np.sqrt(item * (1 - item) / DRAWS) + 1e-9)
    np.testing.assert_allclose(choice.explored.numpy().mean(), epsilon, atol=0.02)


def test_what_is_not_explored_is_the_policys_choice():
    tf.random.set_seed(12)
    choice = draw(0.5)
    assert set(choice.index.numpy()[~choice.explored.numpy()]) == {GREEDY}
    assert set(choice.index.numpy()[choice.explored.numpy()]) == {0, 1, 2, 4}


def test_each_request_has_its_own_epsilon():
    tf.random.set_seed(13)
    choice = epsilon_greedy(
        tf.zeros([2], tf.int32), tf.constant([[1, 2]] * 2), tf.constant([[True, True]] * 2), tf.constant([0.0, 1.0])
    )
    assert choice.explored.numpy().tolist() == [False, True]
    np.testing.assert_allclose(choice.propensity_channel, [1.0, 0.5])
    np.testing.assert_allclose(choice.propensity_item, [1.0, 1.0])


def test_nothing_left_is_never_chosen_with_any_probability():
    choice = epsilon_greedy(
        tf.zeros([1], tf.int32), tf.constant([[1, 2]]), tf.constant([[False, False]]), tf.constant([1.0])
    )
    assert choice.propensity_channel.numpy().tolist() == [0.0] and choice.propensity_item.numpy().tolist() == [0.0]
