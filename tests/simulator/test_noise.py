import numpy as np
from scipy import stats

from hrlrec_tf.simulator.noise import Purpose, RowNoise, normal, uniform


def test_uniform_draws_are_uniform_and_uncorrelated():
    draws = uniform(0, Purpose.CLICK, np.arange(200)[:, np.newaxis], 3, np.arange(1_000))
    assert draws.shape == (200, 1_000)
    assert stats.kstest(draws.ravel()[:50_000], "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(draws[:-1].ravel(), draws[1:].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(draws[:, :-1].ravel(), draws[:, 1:].ravel())[0, 1]) < 0.01


def test_every_key_the_purpose_and_the_seed_count():
    keys = (np.arange(500), 1, 2)
    base = uniform(0, Purpose.CLICK, *keys)
    others = [
        uniform(1, Purpose.CLICK, *keys),
        uniform(0, Purpose.LEAVE, *keys),
        uniform(0, Purpose.CLICK, np.arange(500), 2, 1),
        uniform(0, Purpose.CLICK, np.arange(500), 1),
        uniform(0, Purpose.CLICK, np.arange(500), 1, 3),
    ]
    for other in others:
        assert abs(np.corrcoef(base, other)[0, 1]) < 0.2
        assert (base != other).all()
    np.testing.assert_array_equal(base[100:200], uniform(0, Purpose.CLICK, np.arange(100, 200), 1, 2))


def test_normal_draws_are_standard_normal():
    assert stats.kstest(normal(5, Purpose.DWELL, np.arange(50_000)), "norm").pvalue > 1e-3


def test_rows_of_noise_are_uniform_and_keyed():
    noise = RowNoise(7, Purpose.RANKING)
    rows = noise.rows(800, np.arange(300), 4)
    assert rows.shape == (300, 800)
    assert stats.kstest(rows[::7].ravel()[:20_000], "uniform").pvalue > 1e-3
    np.testing.assert_array_equal(rows[10:20], noise.rows(800, np.arange(10, 20), 4))
    assert (rows[0] != rows[1]).mean() > 0.99
