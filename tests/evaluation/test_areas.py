"""AUC from counts against scikit-learn, exact and in bins."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hrlrec_tf.evaluation import areas


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def _counts(bins, labels, size):
    return np.stack([np.bincount(bins[labels == label], minlength=size) for label in (0, 1)])


@pytest.mark.parametrize("levels", [5, 1_000_000])  # many ties, none
def test_replicates_are_scikit_learns_with_weights(rng, levels, monkeypatch):
    monkeypatch.setattr(areas, "_CELL_VALUES", 1500)  # several pieces
    labels, predictions = rng.integers(0, 2, 300), rng.integers(0, levels, 300) / levels
    user, weights = rng.integers(0, 20, 300), rng.integers(0, 4, (20, 6)).astype(np.float32)
    found = areas.ReplicateAreas(8, None)
    distinct, bins = np.unique(predictions, return_inverse=True)
    cells = found.rows_by_cell(bins, labels, user, 20)
    found.add(cells, slice(1, 5), weights[:, :4])
    found.add(cells, slice(5, 7), weights[:, 4:])
    expected = [roc_auc_score(labels, predictions, sample_weight=weights[user, column]) for column in range(6)]
    np.testing.assert_allclose(found.aucs()[1:7], expected, atol=1e-12)
    assert np.isnan(found.aucs()[[0, 7]]).all()
    assert areas.area(*_counts(bins, labels, len(distinct))) == pytest.approx(roc_auc_score(labels, predictions))


def test_one_class_has_no_area():
    aucs = areas.area(np.array([[1, 0], [0, 0]]), np.array([[0, 1], [1, 0]]))
    assert aucs[0] == 1.0 and np.isnan(aucs[1])
    assert np.isnan(areas.area(np.zeros(0), np.zeros(0)))


def test_fine_bins_keep_order_and_stay_within_their_bound(rng):
    labels = rng.integers(0, 2, 20_000)
    predictions = 1 / (1 + np.exp(-(labels + rng.normal(0, 2, 20_000))))
    predictions[:3] = 0.0, 1.0, 1e-30
    bins = areas.fine_bins(predictions)
    assert (np.diff(bins[np.argsort(predictions)]) >= 0).all()
    assert (bins[0], bins[1], bins[2]) == (0, areas.FINE_BINS - 1, 0)
    counts = _counts(bins, labels, areas.FINE_BINS)
    error = abs(areas.area(*counts) - roc_auc_score(labels, predictions))
    assert 0 < areas.error_bound(*counts) < 1e-4 and error <= areas.error_bound(*counts)


def test_the_bound_is_reached_where_one_bin_holds_everything():
    assert areas.error_bound(np.array([0, 7]), np.array([0, 5])) == 0.5
    assert areas.error_bound(np.array([3, 0]), np.array([0, 5])) == 0
    assert areas.error_bound(np.array([3, 0]), np.array([0, 0])) == 0


def test_coarse_replicates_over_two_parts_are_close_to_exact_ones(rng):
    labels, user = rng.integers(0, 2, 6000), np.sort(rng.integers(0, 60, 6000))
    predictions = 1 / (1 + np.exp(-(labels + rng.normal(0, 2, 6000))))
    weights = rng.poisson(1.0, (60, 12)).astype(np.float32)
    bins = areas.fine_bins(predictions)
    coarse = areas.coarse_bins(np.bincount(bins, minlength=areas.FINE_BINS))
    assert coarse.max() > 900 and coarse.max() < areas.REPLICATE_BINS
    found = areas.ReplicateAreas(12, coarse)
    for users in (slice(0, 25), slice(25, 60)):
        inside = (user >= users.start) & (user < users.stop)
        cells = found.rows_by_cell(bins[inside], labels[inside], user[inside] - users.start, users.stop - users.start)
        found.add(cells, slice(0, 12), weights[users])
    expected = [roc_auc_score(labels, predictions, sample_weight=weights[user, column]) for column in range(12)]
    np.testing.assert_allclose(found.aucs(), expected, atol=1e-4)
    assert np.std(found.aucs() - expected) < 0.01 * np.std(expected)
