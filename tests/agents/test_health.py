import math

import numpy as np
import pytest
import tensorflow as tf
import tiny

from hrlrec_tf.agents import health
from hrlrec_tf.agents.health import DEAD_WINDOW, HealthMonitor
from hrlrec_tf.errors import TrainingError

from .conftest import parts_of

GOOD = {
    f"{level}_{name}": value
    for level in ("channel", "item")
    for name, value in {
        "critic_loss": 0.5,
        "click_loss": 0.6,
        "similarity_loss": -0.9,
        "cloning_loss": 0.1,
        "actor_loss": -0.3,
        "q_mean": 0.3,
        "smallest_q_mean": 0.3,
        "return_mean": 0.31,
        "dead_share": 0.0,
    }.items()
} | {"loss": 1.5, "gradient_norm": 2.0}


@pytest.fixture
def monitor() -> HealthMonitor:
    return HealthMonitor(tiny.config())


def feed(monitor: HealthMonitor, **changes: float) -> None:
    monitor.add(monitor.pack({name: tf.constant(value) for name, value in (GOOD | changes).items()}))


def test_gradient_norms_by_part(make_agent, experience):
    agent = make_agent()
    with tf.GradientTape() as tape:
        loss = agent.loss(experience, training=True).loss
    slopes = tape.gradient(loss, agent.model.trainable_variables)
    found = {name: float(norm) for name, norm in health.gradient_norms(agent.model, slopes).items()}
    slope_of = {
        variable.ref(): 0.0 if slope is None else np.square(getattr(slope, "values", slope)).sum()
        for variable, slope in zip(agent.model.trainable_variables, slopes)
    }
    squares = {part: sum(slope_of[v.ref()] for v in variables) for part, variables in parts_of(agent.model).items()}
    for level in ("channel", "item"):
        squares[f"{level} encoder"] += squares.pop(f"{level} cumulative")
    assert found == pytest.approx(
        {f"{part.replace(' ', '_')}_gradient_norm": math.sqrt(square) for part, square in squares.items()}, rel=1e-4
    )
    whole = agent.train(experience).extra.metrics["gradient_norm"]
    assert math.sqrt(sum(norm**2 for norm in found.values())) == pytest.approx(float(whole), rel=1e-4)


def test_a_part_without_a_gradient(make_agent):
    model = make_agent().model
    norms = health.gradient_norms(model, [None] * len(model.trainable_variables))
    assert len(norms) == 10 and all(norm == 0 for norm in norms.values())


def test_correlation_of_valid_rows():
    rng = np.random.default_rng(2)
    one, other = rng.normal(size=(2, 5, 4)).astype(np.float32)
    valid = (rng.uniform(size=(5, 4)) < 0.6).astype(np.float32)
    inside = valid > 0
    expected = np.corrcoef(one[inside], other[inside])[0, 1]
    assert float(health.correlation(*map(tf.constant, (one, other, valid)))) == pytest.approx(expected, rel=1e-4)
    # Neither a dead critic nor an empty batch is an error.
    assert health.correlation(tf.zeros([5, 4]), tf.constant(other), tf.constant(valid)) == 0
    assert health.correlation(tf.constant(one), tf.constant(other), tf.zeros([5, 4])) == 0


class TestMeans:
    def test_of_an_epoch(self, monitor):
        for loss in (1.0, 2.0, 6.0):
            feed(monitor, loss=loss)
        assert monitor.batches == 3
        means = monitor.finish_epoch(step=3)
        assert means["loss"] == 3.0 and means["item_q_mean"] == pytest.approx(0.3) and means.keys() == GOOD.keys()
        assert monitor.batches == 0
        feed(monitor, loss=8.0)
        assert monitor.finish_epoch(step=4)["loss"] == 8.0

    def test_do_not_depend_on_when_they_were_looked_at(self, monitor):
        other, values = HealthMonitor(tiny.config()), np.random.default_rng(0).normal(size=50) ** 3
        for step, loss in enumerate(values, start=1):
            for each, period in ((monitor, 7), (other, 50)):
                feed(each, loss=float(loss))
                if step % period == 0:
                    each.check(step)
        assert monitor.finish_epoch(50) == other.finish_epoch(50)

    def test_survive_in_a_checkpoint(self, monitor, tmp_path):
        for loss in (0.1, 0.2):
            feed(monitor, loss=loss)
        monitor.check(2)
        path = tf.train.Checkpoint(health=monitor).save(str(tmp_path / "ckpt"))
        feed(monitor, loss=0.6)
        resumed = HealthMonitor(tiny.config())
        tf.train.Checkpoint(health=resumed).restore(path).assert_existing_objects_matched()
        assert resumed.batches == 2
        feed(resumed, loss=0.6)
        assert resumed.finish_epoch(3) == monitor.finish_epoch(3)


class TestNotANumber:
    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            (
                ["item_return_mean", "item_critic_loss", "loss"],
                "the critic loss of the item recommender is nan in batch 13, for its rewards are: .*dwell_unit_seconds",
            ),
            (["channel_critic_loss", "loss"], "the critic loss of the channel selector is nan .* Q grew without bound"),
            (
                ["item_critic_loss", "item_click_loss", "item_similarity_loss", "item_actor_loss", "item_q_mean"],
                "critic loss of the item recommender .*so are the states: .*numeric column",
            ),
            (["item_click_loss"], "the click loss of the item recommender is nan in batch 13"),
            (["channel_similarity_loss"], "the similarity loss of the channel selector is nan in batch 13"),
            (["gradient_norm"], "gradient_norm is nan in batch 13 while every loss is finite"),
        ],
    )
    def test_names_loss_batch_and_cause(self, monitor, bad, message):
        """Three batches were fine; those after the first bad one tell nothing."""
        for _ in range(3):
            feed(monitor)
        feed(monitor, **dict.fromkeys(bad, math.nan))
        feed(monitor, **dict.fromkeys(GOOD, math.nan))
        with pytest.raises(TrainingError, match=message):
            monitor.check(step=14)

    def test_infinity_is_none(self, monitor):
        feed(monitor, channel_click_loss=math.inf)
        with pytest.raises(TrainingError, match="click loss of the channel selector is inf in batch 1"):
            monitor.finish_epoch(step=1)


class TestDeadCritic:
    DEAD = {"channel_dead_share": 1.0, "channel_smallest_q_mean": 0.0}

    def run(self, monitor: HealthMonitor, batches: int, **changes: float) -> None:
        for _ in range(batches):
            feed(monitor, **changes)
        monitor.check(batches)

    def test_stops_training(self, monitor):
        with pytest.raises(TrainingError) as caught:
            self.run(monitor, DEAD_WINDOW, **self.DEAD)
        assert str(caught.value) == (
            "the critic of the channel selector is dead: Q is 0 for 100.0 % of the rows of the last 100 batches, while "
            "the mean logged return is 0.31; its ReLU (eq. 5, 8) passes no gradient where it is 0, so it cannot "
            "recover: set network.critic_head to linear or softplus, or lower training.learning_rate"
        )

    def test_a_short_epoch_is_enough(self, monitor):
        self.run(monitor, 3, **self.DEAD)
        with pytest.raises(TrainingError, match="last 3 batches"):
            monitor.finish_epoch(3)

    def test_one_that_dies_late_is_found(self, monitor):
        self.run(monitor, DEAD_WINDOW)
        self.run(monitor, DEAD_WINDOW - 1, **self.DEAD)
        with pytest.raises(TrainingError, match="is dead"):
            self.run(monitor, 1, **self.DEAD)

    @pytest.mark.parametrize(
        "alive",
        [
            {"item_dead_share": 0.5},
            {"item_dead_share": 1.0, "item_smallest_q_mean": 0.0, "item_return_mean": 0.0},  # nothing was earned
            {"item_dead_share": 0.995, "item_smallest_q_mean": 0.3},  # rare and large: Q carries the return
        ],
    )
    def test_what_is_no_dead_critic(self, monitor, alive):
        self.run(monitor, DEAD_WINDOW, **alive)
        monitor.finish_epoch(DEAD_WINDOW)

    def test_a_level_that_is_not_trained_may_be_dead(self):
        self.run(HealthMonitor(tiny.config("losses.channel=0")), DEAD_WINDOW, **self.DEAD)

    def test_the_window_survives_in_a_checkpoint(self, monitor):
        self.run(monitor, DEAD_WINDOW - 1, **self.DEAD)
        resumed = HealthMonitor(tiny.config())
        resumed.deserialize(monitor.serialize())
        with pytest.raises(TrainingError, match="last 100 batches"):
            self.run(resumed, 1, **self.DEAD)
