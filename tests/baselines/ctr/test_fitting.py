"""The training loop on rows drawn here: it learns, cuts, stops, keeps the best, resumes, repeats itself."""

import numpy as np
import pytest
import tensorflow as tf

from hrlrec_tf.baselines.ctr import config
from hrlrec_tf.baselines.ctr.fitting import Fit
from hrlrec_tf.baselines.ctr.inputs import Fields
from hrlrec_tf.baselines.ctr.model import build
from hrlrec_tf.baselines.ctr.rows import TrainingRows
from hrlrec_tf.errors import DataError, ModelError, TrainingError
from hrlrec_tf.evaluation import metrics

FIELDS = Fields({"user": 20, "item": 30})
QUICK = ("training.learning_rate=0.05", "training.batch_size=64", "training.embedding_l2=0.0001", "training.epochs=5")


def drawn(size: int, seed: int) -> TrainingRows:
    """Rows whose clicks depend on the item, and on user and item together."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, 20, size), rng.integers(0, 30, size)
    logit = np.random.default_rng(0).normal(size=30)[item] + np.where((user + item) % 2, 1.5, -1.5)
    clicks = rng.uniform(size=size) < 1 / (1 + np.exp(-logit))
    ids = tf.constant(np.stack([user, item + 20], axis=1), tf.int32)
    return TrainingRows({"ids": ids}, tf.constant(clicks, tf.float32))


TRAIN, VALIDATION = drawn(1500, 1), drawn(400, 2)


def fit(folder, model="fm", *settings, train=TRAIN, validation=VALIDATION) -> Fit:
    chosen = config.default(model).override([*QUICK, *settings])
    tf.keras.utils.set_random_seed(chosen.training.seed)
    return Fit(build(model, chosen, FIELDS), train, validation, chosen.training, folder)


def run(fitted: Fit) -> list[tuple]:
    told = []
    fitted.run(lambda *record: told.append(record))
    return told


def test_learns_what_needs_a_product(tmp_path):
    linear, crossed = fit(tmp_path / "lr", "lr"), fit(tmp_path / "fm", "fm", "training.epochs=20")
    run(linear), run(crossed)
    assert linear.best["validation_auc"] < 0.75 < 0.8 < crossed.best["validation_auc"]


def test_records_of_every_epoch(tmp_path):
    fitted = fit(tmp_path, "fm", "training.epochs=2", "training.patience=9")
    told = run(fitted)
    assert [(epoch, batches, split) for epoch, batches, split, _ in told] == [
        (1, 24, "train"),
        (1, 24, "validation"),
        (2, 48, "train"),
        (2, 48, "validation"),
    ]
    assert set(told[0][3]) == {"loss", "learning_rate"} and set(told[1][3]) == {"auc", "log_loss"}
    assert told[2][3]["loss"] < told[0][3]["loss"]


def test_one_epoch_is_one_pass_in_an_order_of_its_own(tmp_path, monkeypatch):
    fitted = fit(tmp_path)
    seen = []
    monkeypatch.setattr(fitted, "_steps", lambda order: seen.append(order.numpy()) or 0.0)
    fitted.train_epoch()
    fitted._epoch.assign_add(1)
    fitted.train_epoch()
    first, second = seen
    assert sorted(first) == sorted(second) == list(range(1500)) and first.tolist() != second.tolist()


def test_a_step_is_adam_on_the_clipped_gradient_of_loss_and_penalty(tmp_path):
    settings = (
        "training.batch_size=1500",
        "training.epochs=1",
        "training.gradient_clip=0.001",
        "training.embedding_l2=1",
    )
    fitted = fit(tmp_path, "lr", *settings)
    twin = build("lr", config.default("lr").override([*QUICK, *settings]), FIELDS)
    twin.set_weights(fitted.model.get_weights())
    with tf.GradientTape() as tape:
        logits = twin(TRAIN.features)
        loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(TRAIN.labels, logits))
        loss += 0.5 * tf.reduce_sum(tf.square(twin.formula.linear.table))
    gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, twin.trainable_variables), 0.001)
    tf.keras.optimizers.Adam(0.05).apply_gradients(zip(gradients, twin.trainable_variables))
    fitted.train_epoch()
    for found, expected in zip(fitted.model.get_weights(), twin.get_weights()):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_cuts_the_rate_and_stops_without_progress_and_keeps_the_best(tmp_path, monkeypatch):
    aucs, kept = iter([0.6, 0.7, 0.65, 0.69, 0.9]), []
    monkeypatch.setattr(metrics, "auc", lambda *_: next(aucs))
    fitted = fit(tmp_path, "fm", "training.plateau_cut=0.5", "training.patience=2")
    epoch = fitted.train_epoch
    monkeypatch.setattr(fitted, "train_epoch", lambda _: (epoch(), kept.append(fitted.model.get_weights()))[0])
    told = run(fitted)
    assert [values["learning_rate"] for _, _, split, values in told if split == "train"] == pytest.approx(
        [0.05, 0.05, 0.05, 0.025]
    )
    assert fitted.epoch == 4 and fitted.best == {"validation_auc": 0.7}
    for found, best in zip(fitted.model.get_weights(), kept[1]):
        np.testing.assert_array_equal(found, best)


@pytest.mark.parametrize("validation", [None, VALIDATION._replace(labels=tf.zeros([400]))], ids=["none", "one class"])
def test_without_a_validation_auc_all_epochs_run_and_the_newest_weights_stand(tmp_path, validation):
    fitted = fit(tmp_path, "lr", "training.epochs=3", "training.patience=1", validation=validation)
    told = run(fitted)
    assert fitted.epoch == 3 and fitted.best == {}
    assert [split for *_, split, _ in told].count("train") == 3
    assert all(set(values) == {"log_loss"} for *_, split, values in told if split == "validation")


def test_a_resumed_run_ends_as_an_unbroken_one(tmp_path):
    settings = ("deepfm", "network.dropout=0.5", "network.batch_norm=true", "training.patience=9")
    whole, broken = fit(tmp_path / "whole", *settings), fit(tmp_path / "broken", *settings)
    run(whole)

    def stop(epoch, *_):
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken.run(stop)
    resumed = fit(tmp_path / "broken", *settings)
    assert resumed.epoch == 2
    run(resumed)
    assert (resumed.epoch, resumed.batches, resumed.best) == (whole.epoch, whole.batches, whole.best)
    for found, expected in zip(resumed.model.get_weights(), whole.model.get_weights()):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_the_seed_decides(tmp_path):
    results = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        fitted = fit(tmp_path / name, "deepfm", "network.dropout=0.2", "training.epochs=2", f"training.seed={seed}")
        run(fitted)
        results.append(fitted.predict(VALIDATION))
    np.testing.assert_allclose(results[0], results[1], atol=1e-6)
    assert not np.allclose(results[0], results[2], atol=1e-3)


def test_a_loss_that_is_no_number_stops(tmp_path):
    fitted = fit(tmp_path)
    fitted.model.formula.linear.bias.assign(np.nan)
    with pytest.raises(TrainingError, match=r"the loss is nan in epoch 1; lower training.learning_rate \(it is 0.05\)"):
        run(fitted)


def test_no_rows_are_refused(tmp_path):
    with pytest.raises(DataError, match="the training sessions are empty; look at summary.json"):
        fit(tmp_path, train=drawn(0, 0))


def test_checkpoints_of_another_model_are_refused(tmp_path):
    run(fit(tmp_path, "fm", "training.epochs=1"))
    with pytest.raises(ModelError, match="was written by another version of hrlrec_tf; start again without --resume"):
        fit(tmp_path, "fm", "network.embedding_dim=5")


def test_nothing_to_predict(tmp_path):
    assert fit(tmp_path).predict(drawn(0, 0)).shape == (0,)
