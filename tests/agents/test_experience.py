import numpy as np
import oracles
import pytest
import tiny

from hrlrec_tf.agents.experience import FEEDBACK, RewardModel
from hrlrec_tf.agents.policy import session_observation_spec
from hrlrec_tf.config import RewardConfig
from hrlrec_tf.errors import ConfigError

OWN = (2.0, 0.5, 0.3, 0.1)


@pytest.fixture(scope="module")
def batch(reader):
    return tiny.random_batch(reader, 5)


def test_rewards_of_logged_lists(reader, batch):
    channels = reader.vocabulary("channel")
    config = RewardConfig(channel_weights={channels[1]: OWN}, dwell_unit_seconds=10.0)
    experience = RewardModel(config, channels).experience(batch)
    np.testing.assert_array_equal(experience.channel_reward, batch["clicks"])
    rows = {name: values.numpy() for name, values in batch.items()}
    for place in np.ndindex(rows["clicks"].shape):
        names = ("clicks", "dwell_seconds", "new_tags_in_list", "new_tags_to_user")
        factors = [float(rows[name][place]) for name in names]
        factors[1] /= 10
        weights = OWN if rows["channel"][place] == 2 else config.weights
        expected = oracles.item_reward(factors, weights, config.biases, config.combine)
        np.testing.assert_allclose(experience.item_reward[place], expected, rtol=1e-5)


def test_unknown_channels_have_the_common_weights(reader):
    channels = reader.vocabulary("channel")
    model = RewardModel(RewardConfig(channel_weights=dict.fromkeys(channels, OWN)), channels)
    for channel, expected in (
        (0, RewardConfig().weights),
        (1, OWN),
        (len(channels), OWN),
        (len(channels) + 1, RewardConfig().weights),
    ):
        batch = {
            name: np.array([[value]])
            for name, value in {"clicks": 3, "new_tags_in_list": 0, "new_tags_to_user": 0}.items()
        }
        batch |= {
            "channel": np.array([[channel]]),
            "dwell_seconds": np.zeros((1, 1), np.float32),
            "weight": np.ones((1, 1)),
            "propensity_channel": np.ones((1, 1)),
            "propensity_item": np.ones((1, 1)),
        }
        reward = model.experience(batch).item_reward
        np.testing.assert_allclose(
            reward, [[oracles.item_reward((3, 0, 0, 0), expected, (0, 1, 1, 1), "power")]], rtol=1e-5
        )


def test_observation_is_the_session_without_its_feedback(reader, batch):
    experience = tiny.experience(reader, batch)
    assert set(experience.observation) == set(batch) - set(FEEDBACK) == set(session_observation_spec(reader.spec))
    np.testing.assert_array_equal(experience.valid, batch["weight"])
    np.testing.assert_array_equal(experience.clicks, batch["clicks"])
    np.testing.assert_array_equal(experience.propensity, batch["propensity_channel"] * batch["propensity_item"])


def test_weights_for_a_channel_that_no_row_has_are_refused(reader):
    with pytest.raises(ConfigError, match="names 'radio', which no training row has; channels: "):
        RewardModel(RewardConfig(channel_weights={"radio": OWN}), reader.vocabulary("channel"))
