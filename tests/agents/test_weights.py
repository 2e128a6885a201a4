"""Inverse-propensity weights in training: what they reach, and that they are off by default."""

import types

import numpy as np
import pytest
import tensorflow as tf
import tiny

from hrlrec_tf import training
from hrlrec_tf.agents.experience import row_weights
from hrlrec_tf.errors import DataError

# Losses whose gradient depends on displayed rows alone, and on no other row of the batch.
DISPLAYED = ("losses.similarity=0", "losses.beta=0")
CAP = "losses.propensity_cap=4"


def shown_with(experience, *propensities: float):
    """The experience with one propensity for each list, 1 for those left."""
    values = np.ones(experience.valid.shape, np.float32)
    values[: len(propensities)] = np.array(propensities)[:, None]
    return experience._replace(propensity=tf.constant(values))


def repeated(experience, times: int):
    """The experience with its first list `times` times."""
    order = [0] * times + list(range(1, experience.valid.shape[0]))
    return tf.nest.map_structure(lambda values: tf.gather(values, order), experience)


def loss_and_slopes(agent, experience):
    with tf.GradientTape() as tape:
        info = agent.loss(experience)
    slopes = tape.gradient(info.loss, agent.model.trainable_variables)
    return info.extra.metrics, [tf.convert_to_tensor(slope).numpy() for slope in slopes if slope is not None]


def test_a_weight_is_a_number_of_copies(make_agent, experience):
    """A list that was shown with probability 1/4 teaches what four such lists would."""
    _, once = loss_and_slopes(make_agent(*DISPLAYED), experience)
    copies, expected = loss_and_slopes(make_agent(*DISPLAYED), repeated(experience, 4))
    weighted, found = loss_and_slopes(make_agent(*DISPLAYED, CAP), shown_with(experience, 0.25))
    for level in ("channel", "item"):
        for loss in ("critic_loss", "click_loss", "action_click_loss"):
            np.testing.assert_allclose(weighted[f"{level}_{loss}"], copies[f"{level}_{loss}"], rtol=1e-4)
    for mine, other in zip(found, expected):
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-5)
    assert max(np.abs(mine - other).max() for mine, other in zip(found, once)) > 1e-3


def test_what_is_not_about_displayed_rows_has_no_weights(make_agent, experience):
    plain, _ = loss_and_slopes(make_agent(), experience)
    weighted, _ = loss_and_slopes(make_agent(CAP), shown_with(experience, 0.25, 0.5))
    for level in ("channel", "item"):
        for name in ("actor_loss", "similarity_loss", "cloning_loss", "q_mean", "return_mean", "q_return_correlation"):
            assert weighted[f"{level}_{name}"] == plain[f"{level}_{name}"], name
        assert weighted[f"{level}_critic_loss"] != plain[f"{level}_critic_loss"]


def test_effective_sample_size_and_capped_share(make_agent, experience):
    metrics, _ = loss_and_slopes(make_agent(CAP), shown_with(experience, 0.1, 0.25, 0.5))
    valid = experience.valid.numpy()
    weights = valid * np.array([4, 4, 2, 1, 1, 1, 1, 1])[:, None]
    np.testing.assert_allclose(metrics["effective_sample_size"], weights.sum() ** 2 / (weights**2).sum(), rtol=1e-5)
    np.testing.assert_allclose(metrics["capped_share"], valid[0].sum() / valid.sum(), rtol=1e-5)


def test_equal_propensities_change_nothing(make_agent, experience):
    plain, slopes = loss_and_slopes(make_agent(), experience)
    weighted, found = loss_and_slopes(make_agent(CAP), shown_with(experience, *[0.5] * 8))
    np.testing.assert_allclose(weighted["loss"], plain["loss"], rtol=1e-5)
    for mine, other in zip(found, slopes):
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-6)


def test_off_by_default_to_the_bit(make_agent, experience):
    assert row_weights(experience, 0.0) is experience.valid
    plain, slopes = loss_and_slopes(make_agent(), shown_with(experience))
    ignored, found = loss_and_slopes(make_agent(), shown_with(experience, 0.1, 0.3))
    assert "effective_sample_size" not in plain and plain.keys() == ignored.keys()
    assert all(plain[name] == ignored[name] for name in plain)
    for mine, other in zip(found, slopes):
        np.testing.assert_array_equal(mine, other)


class TestStart:
    def start(self, make_agent, experience, *settings: str):
        run = training._Run.__new__(training._Run)
        run.config, run.agent = tiny.config(*settings), make_agent(*settings)
        run.stream = types.SimpleNamespace(epoch=lambda epoch: tf.data.Dataset.from_tensors(experience))
        started = types.SimpleNamespace()
        for name, level in run.agent.model.levels.items():
            level.start_critics = lambda value, name=name: setattr(started, name, value)
        run._start_critics()
        for level in run.agent.model.levels.values():
            del level.start_critics
        return started

    def test_critics_start_at_the_weighted_return(self, make_agent, experience):
        settings = ("losses.gamma=0", CAP)
        found = self.start(make_agent, shown_with(experience, 0.25), *settings).channel
        weights = experience.valid.numpy() * np.array([4, 1, 1, 1, 1, 1, 1, 1])[:, None]
        expected = (weights * experience.channel_reward.numpy()).sum() / weights.sum()
        np.testing.assert_allclose(found, expected, rtol=1e-5)

    def test_a_log_without_propensities_is_refused(self, make_agent, experience):
        with pytest.raises(DataError, match="losses.propensity_cap is 4.0, but each propensity of the first 1 batches"):
            self.start(make_agent, shown_with(experience), CAP)
        self.start(make_agent, shown_with(experience))
