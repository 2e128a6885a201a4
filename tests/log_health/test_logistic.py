"""Fits and intervals against their oracles."""

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from hrlrec_tf.log_health import logistic


def dependent_rows(seed, users=60, rows=30, effect=0.5):
    """One number per user, `x`: half of the log-odds is the user's own too, so that rows hang together."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), rows)
    x = rng.standard_normal(users)[user]
    logits = effect * x + rng.standard_normal(users)[user]
    return x, (rng.random(len(x)) < 1 / (1 + np.exp(-logits))).astype(float), user


def test_intervals_hold_though_a_users_rows_hang_together():
    none = np.zeros((60 * 30, 0))
    found = [logistic.odds_ratio(x, none, clicked, user) for x, clicked, user in map(dependent_rows, range(60))]
    # The population's slope: the logit's is damped by the users' own spread.
    truth = np.mean([math.log(each["odds_ratio"]) for each in found])
    covered = np.mean([math.log(each["low"]) < truth < math.log(each["high"]) for each in found])
    assert 0.85 <= covered <= 1
    naive = np.mean([1.96 / math.sqrt(60 * 30 * 0.23) for _ in found])
    assert np.mean([math.log(each["high"] / each["low"]) / 2 for each in found]) > 1.8 * naive


def test_wald_is_uniform_without_an_effect_and_counts_repeated_columns_once():
    p_values = []
    for seed in range(60):
        x, clicked, user = dependent_rows(seed, effect=0)
        columns = np.column_stack([x, x])
        p_values.append(logistic.fit(columns, clicked, user).wald(slice(0, 2)))
    assert np.sum(np.array(p_values) < 0.05) <= 10 and 0.3 < np.mean(p_values) < 0.7


def test_a_constant_column_has_no_odds_ratio():
    _, clicked, user = dependent_rows(0)
    assert all(math.isnan(v) for v in logistic.odds_ratio(np.ones(1800), np.zeros((1800, 0)), clicked, user).values())


def test_gains_are_those_of_scikit_learn_and_their_interval_that_of_full_resampling():
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(80), 20)
    clicked = rng.integers(0, 2, 1600)
    base = np.round(np.clip(0.4 + 0.2 * clicked + rng.normal(0, 0.3, 1600), 0.01, 0.99), 2)  # with ties
    model = np.clip(base + 0.1 * (clicked - 0.5) + rng.normal(0, 0.1, 1600), 0.01, 0.99)
    draws = logistic.UserBootstrap(user, clicked, draws=1000)
    auc, loss = draws.auc_gain(base, model), draws.log_loss_gain(base, model)
    assert draws.auc(base) == pytest.approx(roc_auc_score(clicked, base))
    assert auc["value"] == pytest.approx(roc_auc_score(clicked, model) - roc_auc_score(clicked, base))
    assert loss["value"] == pytest.approx(log_loss(clicked, base) - log_loss(clicked, model))
    full = []
    for _ in range(300):
        rows = np.concatenate([np.arange(u * 20, u * 20 + 20) for u in rng.integers(0, 80, 80)])
        full.append(roc_auc_score(clicked[rows], model[rows]) - roc_auc_score(clicked[rows], base[rows]))
    low, high = np.quantile(full, [0.025, 0.975])
    assert auc["high"] - auc["low"] == pytest.approx(high - low, rel=0.2)
    assert auc["low"] == pytest.approx(low, abs=0.2 * (high - low)) and auc["p_value"] < 0.01
    same = draws.log_loss_gain(base, base)
    assert (same["value"], same["low"], same["high"]) == (0, 0, 0) and same["p_value"] == pytest.approx(0.5, abs=0.01)


def test_predictions_come_from_other_folds():
    fold = np.repeat([0, 1], 200)
    x = np.tile([-1.0, 1.0], 200)[:, np.newaxis]
    clicked = np.where(fold == 0, x[:, 0] > 0, x[:, 0] < 0).astype(float)  # the folds contradict each other
    predicted = logistic.predictions(x, clicked, fold)
    assert roc_auc_score(clicked, predicted) == 0
