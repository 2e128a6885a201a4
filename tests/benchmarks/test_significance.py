import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks import significance


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.mark.parametrize("levels", [5, 1_000_000])  # many ties, none
def test_weighted_auc_is_scikit_learns(rng, levels):
    labels, predictions = rng.integers(0, 2, 300), rng.integers(0, levels, 300) / levels
    weights = rng.integers(0, 4, (6, 300))
    expected = [roc_auc_score(labels, predictions, sample_weight=row) for row in weights]
    np.testing.assert_allclose(significance.weighted_aucs(labels, predictions, weights), expected, atol=1e-12)


def test_a_weighting_of_one_class_has_no_auc():
    aucs = significance.weighted_aucs(np.array([0, 1]), np.array([0.1, 0.9]), np.array([[1, 0], [1, 1]]))
    assert np.isnan(aucs[0]) and aucs[1] == 1.0


def test_t_interval():
    # Mean 2, standard error 1 / sqrt(3), t(0.975, 2) = 4.302653.
    assert significance.t_interval(np.array([1.0, 2.0, 3.0])) == pytest.approx((2 - 2.484138, 2 + 2.484138))
    assert all(np.isnan(significance.t_interval(np.array([0.7]))))


def test_holm_by_hand():
    # Ascending .01 .02 .03 .04 times 4, 3, 2, 1: .04 .06 .06 .04, and never below the one before.
    np.testing.assert_allclose(significance.holm(np.array([0.04, 0.01, 0.03, 0.02])), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(significance.holm(np.array([0.5, 0.9])), [1.0, 1.0])
    np.testing.assert_allclose(significance.holm(np.array([0.003])), [0.003])


def test_replicates_are_users_drawn_with_replacement(rng, monkeypatch):
    users = np.array(["a", "b", "a", "c", "b", "c", "c"])
    labels, predictions = np.array([1, 0, 0, 1, 1, 0, 1]), rng.random(7)
    bootstrap = significance.UserBootstrap(users, labels, replicates=50, seed=1)
    aucs = bootstrap.aucs(predictions)
    times = np.random.default_rng(1).multinomial(3, [1 / 3] * 3, size=50)
    for drawn, auc in zip(times, aucs, strict=True):
        rows = np.concatenate(
            [np.flatnonzero(users == user) for user, n in zip("abc", drawn, strict=True) for _ in range(n)]
        )
        assert auc == pytest.approx(roc_auc_score(labels[rows], predictions[rows]))
    monkeypatch.setattr(significance, "_CHUNK_VALUES", 20)
    np.testing.assert_array_equal(bootstrap.aucs(predictions), aucs)


def test_p_of_equal_and_of_clearly_different_models(rng):
    labels, users = rng.integers(0, 2, 3000), rng.integers(0, 100, 3000)
    better, worse = labels + rng.normal(0, 1, 3000), labels + rng.normal(0, 3, 3000)
    bootstrap = significance.UserBootstrap(users, labels, replicates=400)
    ours, theirs = bootstrap.aucs(better), bootstrap.aucs(worse)
    assert significance.p_value(ours, ours) == pytest.approx(0.5, abs=0.01)
    assert significance.p_value(ours, theirs) == pytest.approx(1 / 401)
    assert significance.p_value(theirs, ours) == 1


def test_p_is_uniform_without_a_difference(rng):
    labels, users = rng.integers(0, 2, 600), rng.integers(0, 60, 600)
    bootstrap = significance.UserBootstrap(users, labels, replicates=200)
    pairs = (
        (bootstrap.aucs(labels + rng.normal(0, 2, 600)), bootstrap.aucs(labels + rng.normal(0, 2, 600)))
        for _ in range(100)
    )
    p = np.array([significance.p_value(*pair) for pair in pairs])
    assert 0.35 < p.mean() < 0.65 and 0.2 < np.mean(p < 0.5) < 0.8
