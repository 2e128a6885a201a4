import numpy as np

from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.users import AGE_BANDS, DEVICES, GENDERS, make_users


def users_of(**values):
    return make_users(WorldConfig(**values), np.random.default_rng(0))


def explained_share(users, latent):
    """Share of `latent`'s variance that the means of age band x gender explain."""
    profile = users.age_band.astype(int) * len(GENDERS) + users.gender
    means = np.stack([latent[profile == p].mean(axis=0) for p in range(len(AGE_BANDS) * len(GENDERS))])
    return means[profile].var() / latent.var()


def test_shapes_and_codes():
    users = users_of(users=500, topics=7)
    assert users.tastes.shape == (500, 7)
    assert users.channel_affinities.shape == (500, 4)
    assert np.isclose(users.activity.sum(), 1.0) and (users.activity > 0).all()
    for codes, names in ((users.age_band, AGE_BANDS), (users.gender, GENDERS), (users.main_device, DEVICES)):
        assert set(codes.tolist()) == set(range(len(names)))
    assert (users.tenure_days >= 0).all()


def test_profile_columns_hint_at_tastes_as_far_as_configured():
    hinted, blind = users_of(users=20_000), users_of(users=20_000, profile_share=0.0)
    assert 0.15 < explained_share(hinted, hinted.tastes) < 0.45
    assert explained_share(blind, blind.tastes) < 0.01


def test_activity_spread_zero_makes_everybody_equally_active():
    assert np.ptp(users_of(users=100, activity_spread=0.0).activity) == 0.0


def test_tastes_drift_towards_others_and_keep_their_variance():
    users = users_of(users=5_000)
    everybody = np.arange(5_000, dtype=np.int32)
    np.testing.assert_array_equal(users.tastes_at(everybody, 0.0), users.tastes)
    angles = (0.3, 1.0, np.pi / 2)
    kept = [np.corrcoef(users.tastes_at(everybody, angle).ravel(), users.tastes.ravel())[0, 1] for angle in angles]
    np.testing.assert_allclose(kept, np.cos(angles), atol=0.05)
    assert np.isclose(users.tastes_at(everybody, 1.0).std(), users.tastes.std(), rtol=0.05)
    assert users.tastes.shape == users.tastes_at(everybody, 0.3).shape
