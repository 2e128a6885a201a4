"""Who reads the feed: latent tastes that persist, and the profile columns that hint at them."""

import dataclasses

import numpy as np
import numpy.typing as npt

from hrlrec_tf.simulator.config import WorldConfig

AGE_BANDS = ("under_18", "18_24", "25_34", "35_44", "45_54", "55_plus")
GENDERS = ("female", "male", "unknown")
DEVICES = ("phone", "tablet", "desktop")

_AGE_SHARES = (0.06, 0.20, 0.28, 0.20, 0.14, 0.12)
_GENDER_SHARES = (0.46, 0.46, 0.08)
_DEVICE_SHARES = (0.72, 0.10, 0.18)


@dataclasses.dataclass(frozen=True)
class Users:
    """All users of a world, one row each; latent arrays are what no log shows.

    Attributes:
      tastes: [users, topics], latent liking of each topic on day 0, about standard normal over users.
      later_tastes: [users, topics], latent, what tastes drift towards.
      channel_affinities: [users, channels], latent, about standard normal over users.
      click_bias: [users], latent, log-odds added to every click.
      activity: [users], share of all requests, sums to 1.
      age_band, gender, main_device: [users], indices into AGE_BANDS, GENDERS, DEVICES.
      tenure_days: [users], days since sign-up at day 0.
    """

    tastes: npt.NDArray[np.float32]
    later_tastes: npt.NDArray[np.float32]
    channel_affinities: npt.NDArray[np.float32]
    click_bias: npt.NDArray[np.float32]
    activity: npt.NDArray[np.float64]
    age_band: npt.NDArray[np.int8]
    gender: npt.NDArray[np.int8]
    main_device: npt.NDArray[np.int8]
    tenure_days: npt.NDArray[np.float32]

    def tastes_at(self, users: npt.NDArray[np.int32], angle: float) -> npt.NDArray[np.float32]:
        """[n, topics]: tastes after turning by `angle` (radians), which leaves their variance as it is."""
        drifted: npt.NDArray[np.float32] = np.float32(np.cos(angle)) * self.tastes[users]
        if angle:
            drifted += np.float32(np.sin(angle)) * self.later_tastes[users]
        return drifted


def make_users(config: WorldConfig, rng: np.random.Generator) -> Users:
    """Draws the users of a world."""
    age_band = rng.choice(len(AGE_BANDS), config.users, p=_AGE_SHARES).astype(np.int8)
    gender = rng.choice(len(GENDERS), config.users, p=_GENDER_SHARES).astype(np.int8)
    activity = rng.lognormal(0.0, config.activity_spread, config.users)
    profile = age_band.astype(np.int64) * len(GENDERS) + gender
    tenure_days = rng.gamma(1.5, 120.0 * (1.0 + 0.3 * age_band))
    return Users(
        tastes=_around_profile(profile, config.topics, config.profile_share, rng),
        later_tastes=_around_profile(profile, config.topics, config.profile_share, rng),
        channel_affinities=_around_profile(profile, len(config.channel_names), config.profile_share, rng),
        click_bias=rng.normal(0.0, config.user_bias_spread, config.users).astype(np.float32),
        activity=activity / activity.sum(),
        age_band=age_band,
        gender=gender,
        main_device=rng.choice(len(DEVICES), config.users, p=_DEVICE_SHARES).astype(np.int8),
        tenure_days=np.floor(tenure_days).astype(np.float32),
    )


def _around_profile(
    profile: npt.NDArray[np.int64], width: int, share: float, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """[users, width] unit-variance values of which `share` of the variance is common to a profile."""
    common = rng.standard_normal((len(AGE_BANDS) * len(GENDERS), width), dtype=np.float32)
    own = rng.standard_normal((len(profile), width), dtype=np.float32)
    own *= np.float32(np.sqrt(1.0 - share))
    own += np.float32(np.sqrt(share)) * common[profile]
    return own
