"""Off-policy estimates in a world of two positions and three items, small enough to count every list."""

import itertools

import numpy as np
import pytest

from hrlrec_tf.errors import ConfigError, DataError
from hrlrec_tf.evaluation import off_policy
from hrlrec_tf.evaluation.off_policy import LoggedLists, estimate, importance_weights

LISTS = np.array(list(itertools.permutations(range(3), 2)))
# Probabilities of the first item, and of the second given the first; what a click is worth, likewise.
LOGGING = (np.array([0.6, 0.3, 0.1]), np.array([[0, 0.9, 0.1], [0.5, 0, 0.5], [0.8, 0.2, 0]]))
TARGET = (np.array([0.0, 0.2, 0.8]), np.array([[0, 1, 0], [0.3, 0, 0.7], [0.6, 0.4, 0]]))
REWARD = (np.array([0.5, 0.1, 0.9]), np.array([[0, 0.2, 0.7], [0.4, 0, 0.3], [1.0, 0.1, 0]]))
MODEL = (np.array([0.3, 0.3, 0.2]), np.array([[0, 0.5, 0.1], [0.2, 0, 0.6], [0.3, 0.3, 0]]))


def of_lists(table, lists=LISTS) -> np.ndarray:
    """The table's numbers of each list: [lists, 2]."""
    return np.stack([table[0][lists[:, 0]], table[1][lists[:, 0], lists[:, 1]]], axis=1)


def mean_under(policy, table, lists=LISTS) -> np.ndarray:
    """Mean of the table's numbers under the policy, given the logged prefix: [lists, 2]."""
    second = (policy[1] * table[1]).sum(axis=1)[lists[:, 0]]
    return np.stack([np.full(len(lists), policy[0] @ table[0]), second], axis=1)


def values(above) -> np.ndarray:
    """What each position earns where the target chooses it and `above` what stands above: [2]."""
    return np.array([TARGET[0] @ REWARD[0], above[0] @ (TARGET[1] * REWARD[1]).sum(axis=1)])


def logged(lists=LISTS, users=None, logging=LOGGING) -> LoggedLists:
    users = np.arange(len(lists)) if users is None else users
    return LoggedLists(
        of_lists(REWARD, lists),
        of_lists(logging, lists),
        of_lists(TARGET, lists),
        np.ones((len(lists), 2), bool),
        users,
    )


def one_position(reward, logging, target, user=None) -> LoggedLists:
    columns = [np.array(values, float)[:, None] for values in (reward, logging, target)]
    return LoggedLists(*columns, np.ones((len(reward), 1), bool), np.arange(len(reward)) if user is None else user)


CHANCES = of_lists(LOGGING).prod(axis=1)
TRUTH = {"prefix": values(TARGET), "position": values(LOGGING)}


class TestUnbiased:
    """Means over all lists, each as often as it is logged."""

    @pytest.mark.parametrize("interaction", ["prefix", "position"])
    def test_ips(self, interaction):
        lists = logged()
        terms = off_policy.ips(lists, importance_weights(lists, interaction))
        np.testing.assert_allclose(CHANCES @ terms.above, TRUTH[interaction], rtol=1e-12)
        np.testing.assert_allclose(CHANCES @ terms.below, 1.0)

    @pytest.mark.parametrize("interaction", ["prefix", "position"])
    def test_the_weights_of_snips_sum_to_the_rows(self, interaction):
        """So that it is consistent: a ratio of two unbiased means."""
        lists = logged()
        terms = off_policy.self_normalized(lists, importance_weights(lists, interaction))
        np.testing.assert_allclose(CHANCES @ terms.above, TRUTH[interaction], rtol=1e-12)
        np.testing.assert_allclose(CHANCES @ terms.below, 1.0, rtol=1e-12)

    @pytest.mark.parametrize("interaction", ["prefix", "position"])
    def test_doubly_robust_with_a_wrong_model(self, interaction):
        lists = logged()
        weights = importance_weights(lists, interaction)
        terms = off_policy.doubly_robust(lists, weights, of_lists(MODEL), mean_under(TARGET, MODEL))
        np.testing.assert_allclose(CHANCES @ terms.above, TRUTH[interaction], rtol=1e-12)

    def test_doubly_robust_with_wrong_propensities(self):
        lists = logged(logging=(np.full(3, 0.9), np.full((3, 3), 0.2)))
        weights = importance_weights(lists, "position")
        terms = off_policy.doubly_robust(lists, weights, of_lists(REWARD), mean_under(TARGET, REWARD))
        np.testing.assert_allclose(CHANCES @ terms.above, TRUTH["position"], rtol=1e-12)
        biased = off_policy.ips(lists, weights)
        assert np.abs(CHANCES @ biased.above - TRUTH["position"]).max() > 0.1

    def test_the_extremes_differ_where_rows_matter_to_each_other(self):
        assert abs(TRUTH["prefix"][1] - TRUTH["position"][1]) > 0.1

    def test_a_good_model_saves_variance(self):
        lists = logged()
        weights = importance_weights(lists, "position")
        plain, perfect = (
            off_policy.ips(lists, weights).above,
            off_policy.doubly_robust(lists, weights, of_lists(REWARD), mean_under(TARGET, REWARD)).above,
        )
        spread = [CHANCES @ (terms - CHANCES @ terms) ** 2 for terms in (plain, perfect)]
        # What remains at position 2 is how the logged prefixes differ.
        assert spread[1][0] < 1e-12 and spread[1][1] < 0.7 * spread[0][1]


class TestByHand:
    lists = one_position([1, 0, 1], [0.5, 0.25, 1.0], [1.0, 0.5, 0.5])  # w = 2, 2, .5

    @pytest.mark.parametrize(
        ("estimator", "cap", "expected"),
        [
            (off_policy.ips, np.inf, 2.5 / 3),
            (off_policy.self_normalized, np.inf, 2.5 / 4.5),
            (off_policy.ips, 1.0, 1.5 / 3),
            (off_policy.self_normalized, 1.0, 1.5 / 2.5),
        ],
    )
    def test_one_position(self, estimator, cap, expected):
        weights = importance_weights(self.lists, "position", cap)
        found = estimate(self.lists, weights, estimator(self.lists, weights), 0.0, 0, 0)
        assert found.value == found.by_position[0] == pytest.approx(expected)
        assert found.reason == ""

    def test_sample_and_mean_weight(self):
        weights = importance_weights(self.lists, "prefix")
        found = estimate(self.lists, weights, off_policy.ips(self.lists, weights), 0.0, 0, 0)
        assert found.effective_sample_size.tolist() == [pytest.approx(4.5**2 / 8.25)]
        assert found.mean_weight.tolist() == [pytest.approx(1.5)]

    def test_doubly_robust(self):
        predicted, expected = np.array([[0.5], [0.25], [0.5]]), np.array([[0.75], [0.5], [0.25]])
        weights = importance_weights(self.lists, "position")
        terms = off_policy.doubly_robust(self.lists, weights, predicted, expected)
        # .75 + 2 (1 - .5), .5 + 2 (0 - .25), .25 + .5 (1 - .5)
        assert terms.above[:, 0].tolist() == [1.75, 0.0, 0.5]

    def test_weights_of_a_prefix(self):
        target, logging = np.array([[1.0, 0.25, 1.0]]), np.array([[0.5, 0.5, 0.25]])
        valid = np.array([[True, True, True]])
        lists = LoggedLists(np.ones((1, 3)), logging, target, valid, np.zeros(1, int))
        prefix, position = (importance_weights(lists, which) for which in ("prefix", "position"))
        assert prefix.now.tolist() == [[2, 1, 4]] and prefix.before.tolist() == [[1, 2, 1]]
        assert position.now.tolist() == [[2, 0.5, 4]] and position.before.tolist() == [[1, 1, 1]]
        capped = importance_weights(lists, "prefix", 1.5)
        assert capped.now.tolist() == [[1.5, 1, 1.5]] and capped.before.tolist() == [[1, 1.5, 1]]

    def test_lists_of_any_length_and_what_is_not_valid(self):
        """Position 2 is in one of two lists: its estimate counts half."""
        bad = np.nan
        lists = LoggedLists(
            np.array([[1.0, 1.0], [0.0, bad]]),
            np.array([[0.5, 0.5], [1.0, bad]]),
            np.array([[0.5, 1.0], [1.0, bad]]),
            np.array([[True, True], [True, False]]),
            np.array([4, 7]),
        )
        weights = importance_weights(lists, "prefix")
        for terms, second in (
            (off_policy.ips(lists, weights), 2.0),
            (off_policy.self_normalized(lists, weights), 1.0),
            (off_policy.doubly_robust(lists, weights, 0 * lists.reward, 0 * lists.reward), 2.0),
        ):
            found = estimate(lists, weights, terms, 0.0, 0, 0)
            assert found.by_position.tolist() == [0.5, second] and found.value == 0.5 + second / 2


def draw(count: int, seed: int):
    """Lists as they are logged."""
    rng = np.random.default_rng(seed)
    return LISTS[rng.choice(len(LISTS), count, p=CHANCES)]


@pytest.mark.parametrize("interaction", ["prefix", "position"])
@pytest.mark.parametrize("name", ["ips", "self_normalized", "doubly_robust"])
def test_the_interval_holds_the_truth(interaction, name):
    """In about 95 of 100 logs; a log of 1,200 lists of 300 users."""
    inside = 0
    for seed in range(20):
        drawn = draw(1200, seed)
        lists = logged(drawn, np.arange(1200) % 300)
        weights = importance_weights(lists, interaction)
        model = (of_lists(MODEL, drawn), mean_under(TARGET, MODEL, drawn)) if name == "doubly_robust" else ()
        found = estimate(lists, weights, getattr(off_policy, name)(lists, weights, *model), 30.0, 200, seed)
        inside += found.low <= TRUTH[interaction].sum() <= found.high
        assert np.abs(found.mean_weight - 1).max() < 0.5 and found.low < found.value < found.high
    assert inside >= 16  # of 20; at 95 % fewer happen once in 400


def test_lists_of_a_user_are_resampled_together():
    drawn, users = draw(300, 0), np.arange(300) % 50
    found = []
    for times in (1, 4):
        lists = logged(np.tile(drawn, (times, 1)), np.tile(users, times))
        weights = importance_weights(lists, "prefix")
        found.append(estimate(lists, weights, off_policy.ips(lists, weights), 0.0, 100, 1))
    np.testing.assert_allclose(found[0][:3], found[1][:3])
    np.testing.assert_allclose(4 * found[0].effective_sample_size, found[1].effective_sample_size)


class TestRefused:
    def test_too_small_a_sample(self):
        """A policy that the log knows too little of, from position 2 on."""
        lists = logged(draw(100, 0))
        weights = importance_weights(lists, "prefix")
        sample = off_policy.effective_sample_size(weights.now)
        assert sample[1] < sample[0]
        found = estimate(lists, weights, off_policy.ips(lists, weights), sample.mean(), 50, 0)
        assert np.isnan([found.value, found.low, found.high, found.by_position[1]]).all()
        assert np.isfinite(found.by_position[0])
        assert found.reason.startswith(f"at position 2 the 100 logged rows count as {sample[1]:.1f}, fewer than ")

    def test_a_policy_that_was_never_logged(self):
        lists = one_position([1, 1], [0.5, 0.5], [0, 0])
        weights = importance_weights(lists, "position")
        for estimator in (off_policy.ips, off_policy.self_normalized):
            found = estimate(lists, weights, estimator(lists, weights), 1.0, 0, 0)
            assert np.isnan(found.value) and "count as 0.0, fewer than 1" in found.reason

    def test_an_interval_of_few_users(self):
        lists = logged(draw(90, 0), np.arange(90) % 9)
        weights = importance_weights(lists, "position")
        found = estimate(lists, weights, off_policy.ips(lists, weights), 0.0, 50, 0)
        assert np.isfinite(found.value) and np.isnan([found.low, found.high]).all()

    @pytest.mark.parametrize(
        ("reward", "logging", "target", "message"),
        [
            (
                [1, 1],
                [0.5, 0],
                [1, 1],
                "logging must lie in .0, 1.; take what the log says: got 0.0 in list 1, position 1",
            ),
            ([1, 1], [1.5, 1], [1, 1], "logging must lie in .0, 1.; .*: got 1.5 in list 0, position 1"),
            ([1, 1], [1, 1], [1, -0.1], "target must lie in .0, 1.: got -0.1 in list 1"),
            ([1, 1], [1, 1], [np.nan, 1], "target must lie in .0, 1.: got nan in list 0"),
            ([np.inf, 1], [1, 1], [1, 1], "reward must be finite: got inf in list 0"),
        ],
    )
    def test_values(self, reward, logging, target, message):
        with pytest.raises(DataError, match=message):
            one_position(reward, logging, target)

    def test_shapes(self):
        one, valid, user = np.ones((2, 3)), np.ones((2, 3), bool), np.zeros(2, int)
        for given, message in (
            ((one[0], one, one, valid, user), "need rewards .lists, positions. and users .lists."),
            ((one, one[:1], one, valid, user), r"logging must have the shape of the rewards, \(2, 3\): got \(1, 3\)"),
            ((one, one, one, np.array([[1, 0, 1], [1, 1, 1]], bool), user), "valid rows of a list come before"),
            ((one, one, one, valid, user - 1), "users are numbers from 0"),
        ):
            with pytest.raises(DataError, match=message):
                LoggedLists(*given)

    def test_settings(self):
        for interaction, cap in (("list", 2.0), ("prefix", 0.0), ("position", np.nan)):
            with pytest.raises(ConfigError, match="weights are of a position or a prefix, with a cap above 0"):
                importance_weights(logged(), interaction, cap)

    def test_a_model_that_says_nothing(self):
        lists = logged()
        predicted = of_lists(MODEL)
        predicted[2, 1] = np.nan
        with pytest.raises(DataError, match="the model's rewards of valid rows must be finite"):
            off_policy.doubly_robust(lists, importance_weights(lists, "prefix"), predicted, of_lists(MODEL))
