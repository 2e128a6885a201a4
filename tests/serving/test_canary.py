import pytest

from hrlrec_tf.errors import ConfigError
from serving.canary import CANARY, STABLE, label_of

USERS = [f"user-{n}" for n in range(20_000)]


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5])
def test_the_share_is_kept_within_noise(share):
    inside = sum(label_of(user, share) == CANARY for user in USERS)
    assert abs(inside - share * len(USERS)) < 4 * (share * (1 - share) * len(USERS)) ** 0.5


def test_users_stay_and_a_larger_share_keeps_them():
    few = {user for user in USERS if label_of(user, 0.05, "s") == CANARY}
    assert few == {user for user in USERS if label_of(user, 0.05, "s") == CANARY}
    assert few <= {user for user in USERS if label_of(user, 0.2, "s") == CANARY}


def test_another_salt_draws_anew():
    drawn = [{user for user in USERS if label_of(user, 0.2, salt) == CANARY} for salt in ("a", "b")]
    assert len(drawn[0] & drawn[1]) == pytest.approx(0.04 * len(USERS), rel=0.2)


def test_labels_are_the_same_everywhere():
    # Whoever routes by this hash elsewhere must agree: SHA-256 of "<length of salt>:<salt><user>", first 8 bytes.
    assert [label_of(user, 0.5, "salt") for user in ("a", "b", "ü", "")] == [STABLE, STABLE, CANARY, CANARY]
    assert {label_of(user, 0) for user in USERS[:99]} == {STABLE} and {label_of(user, 1) for user in USERS[:99]} == {
        CANARY
    }


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_a_share(share):
    with pytest.raises(ConfigError, match=r"canary_share must lie in \[0, 1\]"):
        label_of("u", share)
