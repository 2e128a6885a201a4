import numpy as np
import pytest

from hrlrec_tf.evaluation import ab_test
from hrlrec_tf.evaluation.ab_test import Arm

USERS = 2_000


def arm(seed, clicks_per_request=1.0, users=None, requests_per_user=3.0):
    """An arm of users who differ in how often they come."""
    rng = np.random.default_rng(seed)
    requests = rng.poisson(rng.gamma(2.0, requests_per_user / 2, USERS))
    clicks = rng.poisson(clicks_per_request * requests)
    counts = {
        "requests": requests,
        "impressions": 10 * requests,
        "clicks": clicks,
        "watched_tags": np.minimum(2 * clicks, 40),
        "list_tags": 12 * requests,
        "list_channels": 3 * requests,
        "abandoned": requests // 2,
    }
    return Arm(counts, 5, np.ones(USERS, bool) if users is None else users)


def test_metrics_are_the_ratios_they_say():
    one = arm(0)
    requests, clicks = one.counts["requests"].sum(), one.counts["clicks"].sum()
    assert one.value("ctr") == pytest.approx(clicks / (10 * requests))
    assert one.value("acn") == pytest.approx(clicks / (USERS * 5))
    assert one.value("requests") == pytest.approx(requests / (USERS * 5))
    assert one.value("list_tags") == pytest.approx(12)
    assert one.value("list_channels") == pytest.approx(3)


def test_an_arm_counts_its_own_users_alone():
    whole, half = arm(0), arm(0, users=np.arange(USERS) < USERS // 2)
    assert half.value("acn") == pytest.approx(whole.counts["clicks"][: USERS // 2].sum() / (USERS // 2 * 5))
    nobody = arm(0, users=np.zeros(USERS, bool))
    assert np.isnan(nobody.value("ctr"))


def test_the_lift_of_a_policy_over_itself_is_exactly_0():
    same = [arm(seed) for seed in range(3)]
    found = ab_test.lift(same, same, "acn", 200)
    assert found.estimate == (0.0, 0.0, 0.0)


def test_the_interval_covers_the_true_lift_as_often_as_it_says():
    """Two arms whose users click 8 % more often in one: 95 % intervals of 60 experiments of one seed."""
    covered, lengths = 0, []
    for experiment in range(60):
        ours, base = arm(experiment, 1.08), arm(1_000 + experiment)
        estimate = ab_test.lift([ours], [base], "ctr", 300).estimate
        covered += estimate.low <= 0.08 <= estimate.high
        lengths.append(estimate.high - estimate.low)
    assert 51 <= covered <= 60
    assert np.mean(lengths) < 0.15


def test_pairing_users_narrows_the_interval():
    """Under another policy the same users come as often and click a little more."""
    base = arm(0)
    more = {**base.counts, "clicks": base.counts["clicks"] + np.random.default_rng(5).poisson(0.1, USERS)}
    paired = ab_test.lift([Arm(more, 5, base.users)], [base], "acn", 300).estimate
    unpaired = ab_test.lift([arm(77, 1.1)], [base], "acn", 300).estimate
    assert paired.high - paired.low < 0.3 * (unpaired.high - unpaired.low)
    assert paired.low > 0


def test_seeds_that_disagree_widen_the_interval():
    base = [arm(seed) for seed in range(4)]
    alike = ab_test.lift([arm(seed + 50, 1.1) for seed in range(4)], base, "ctr", 400).estimate
    differing = ab_test.lift([arm(n + 50, lift) for n, lift in enumerate((0.9, 1.0, 1.2, 1.3))], base, "ctr", 400)
    assert differing.estimate.high - differing.estimate.low > 2 * (alike.high - alike.low)


def test_place_between_base_and_oracle():
    base, best = [arm(0, 1.0)], [arm(0, 2.0)]
    assert ab_test.place(base, base, best, "acn") == 0
    assert ab_test.place(best, base, best, "acn") == 1


def test_users_are_dealt_to_exactly_one_arm_and_a_broken_split_is_noticed():
    luck = np.random.default_rng(0).random(USERS)
    arms = ab_test.deal(luck, 3)
    assert (np.sum(arms, axis=0) == 1).all()
    assert ab_test.sample_ratio_p(arms) > 0.001
    broken = [arms[0], arms[1], arms[2] & (np.arange(USERS) % 3 > 0)]
    assert ab_test.sample_ratio_p(broken) < 0.001
