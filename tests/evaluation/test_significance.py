import numpy as np
import pytest
from scipy import stats

from hrlrec_tf.evaluation import significance


def test_t_interval():
    # Mean 2, standard error 1 / sqrt(3), t(0.975, 2) = 4.302653.
    assert significance.t_interval(np.array([1.0, 2.0, 3.0])) == pytest.approx((2 - 2.484138, 2 + 2.484138))
    assert all(np.isnan(significance.t_interval(np.array([0.7]))))


def test_holm_by_hand():
    # Ascending .01 .02 .03 .04 times 4, 3, 2, 1: .04 .06 .06 .04, and never below the one before.
    np.testing.assert_allclose(significance.holm(np.array([0.04, 0.01, 0.03, 0.02])), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(significance.holm(np.array([0.5, 0.9])), [1.0, 1.0])
    np.testing.assert_allclose(significance.holm(np.array([0.003])), [0.003])
    np.testing.assert_allclose(significance.holm(np.array([0.04, np.nan, 0.01])), [0.04, np.nan, 0.02])
    assert len(significance.holm(np.array([]))) == 0


def test_percentile_interval():
    replicates = np.arange(101.0)
    assert significance.percentile_interval(replicates) == pytest.approx((2.5, 97.5))
    assert significance.percentile_interval(np.append(replicates, [np.nan] * 100)) == pytest.approx((2.5, 97.5))
    for unknown in (np.append(replicates, [np.nan] * 102), np.array([])):
        assert all(np.isnan(significance.percentile_interval(unknown)))


def test_weights_are_poisson_and_the_same_in_blocks(monkeypatch):
    ((block, whole),) = significance.user_weights(2000, 50, (3, 1))
    assert block == slice(0, 50) and whole.shape == (2000, 50)
    drawn = np.bincount(whole.astype(int).ravel(), minlength=9)[:9] / whole.size
    np.testing.assert_allclose(drawn, stats.poisson.pmf(np.arange(9), 1.0), atol=0.005)
    assert abs(np.corrcoef(whole[:, 0], whole[:, 1])[0, 1]) < 0.1
    monkeypatch.setattr(significance, "_BLOCK_VALUES", 2000 * 7)
    blocks = list(significance.user_weights(2000, 50, (3, 1)))
    assert [block.stop - block.start for block, _ in blocks] == [7] * 7 + [1]
    np.testing.assert_array_equal(np.concatenate([weights for _, weights in blocks], axis=1), whole)
    ((_, other),) = significance.user_weights(2000, 7, (3, 2))
    assert (other != whole[:, :7]).any()


def test_p_counts_what_denies_that_we_are_better():
    ours = np.array([0.8, 0.7, 0.6, 0.5, np.nan])
    theirs = np.array([0.7, 0.7, 0.7, 0.4, 0.1])
    assert significance.p_value(ours, theirs) == pytest.approx((1 + 0.5 + 1) / 5)  # one lost, one tie, of four
    assert significance.p_value(ours[:1], theirs[:1]) == pytest.approx(1 / 2)
    assert significance.p_value(ours - 1, theirs) == 1
    assert np.isnan(significance.p_value(ours[4:], theirs[4:]))
