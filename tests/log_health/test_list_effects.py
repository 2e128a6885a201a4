"""The test of list effects finds them where they are, and elsewhere no more often than it says."""

import dataclasses

import numpy as np
import pytest
from feeds import lists_of, random_feed, simulated_feed
from scipy import stats

from hrlrec_tf.log_health import list_effects, logistic
from hrlrec_tf.log_health.list_features import design


def p_value(lists, group="above") -> float:
    lines = design([lists])
    base = lines.matrix("base", "rest")
    columns = np.column_stack([base, lines.matrix(group)])
    return logistic.fit(columns, lines.clicked, lines.user).wald(slice(base.shape[1], None))


def test_false_alarms_are_as_rare_as_they_should_be():
    """Users' taste fills and orders the lists, but no row changes another: p is uniform."""
    found = np.array([p_value(random_feed(seed)) for seed in range(40)])
    # Each bound holds with probability .999 for uniform p.
    assert (found < 0.05).sum() <= stats.binom.ppf(0.999, 40, 0.05)
    assert stats.kstest(found, "uniform").pvalue > 0.001


def test_without_the_rest_of_the_list_taste_would_pass_for_an_effect():
    lines = design([random_feed(0)])
    base = lines.matrix("base")
    columns = np.column_stack([base, lines.matrix("above")])
    assert logistic.fit(columns, lines.clicked, lines.user).wald(slice(base.shape[1], None)) < 1e-6


def test_an_effect_is_found_and_measured():
    tested = list_effects.test([random_feed(1, users=150, effect=-0.7)])
    assert tested["verdict"] == "yes" and tested["p_value"] < 1e-6
    assert tested["gains"]["above"]["log_loss"]["low"] > 0 and tested["gains"]["above"]["auc"]["value"] > 0.002
    ratio = tested["odds_ratios"]["same_channel_above"]
    assert ratio["low"] < np.exp(-0.7) * 1.1 and ratio["high"] < 0.8
    assert (tested["rows"], tested["lists"], tested["users"]) == (150 * 25 * 5, 150 * 25, 150)


def test_the_controls_stay_at_zero_where_there_is_an_effect():
    tested = list_effects.test([random_feed(2, users=150, effect=-0.7)])
    shuffled, below = tested["gains"]["shuffled"]["log_loss"], tested["odds_ratios"]["next_same_channel"]
    assert tested["p_value_shuffled"] > 0.001 and shuffled["low"] < 0.0003 and shuffled["value"] < 0.0005
    assert below["p_value"] > 0.001


def test_the_simulator_with_fatigue_and_without():
    on, off = (list_effects.test([simulated_feed(3, fatigue)]) for fatigue in (1.0, 0.0))
    assert on["verdict"] == "yes"
    assert on["odds_ratios"]["tags_above"]["high"] < 0.8
    assert off["verdict"] in ("none", "few") and off["p_value"] > 0.01


def test_lists_by_rule_do_not_know_the_rows_below():
    """There, taste shows above in any order, and the random order says that it is no effect of the order."""
    lists = random_feed(4, users=150, by_rule=True, ordered=False)
    assert not any(values.any() for values in design([lists]).groups["rest"].values())
    tested = list_effects.test([lists])
    assert tested["p_value"] < 0.01 and tested["p_value_shuffled"] < 0.01
    assert tested["verdict"] == "unclear" and tested["rule_share"] == 1


def test_the_same_lists_give_the_same_answer():
    lists = random_feed(5)
    assert list_effects.test([lists]) == list_effects.test([lists])
    assert list_effects.test([lists])["gains"] != list_effects.test([lists], seed=1)["gains"]


@pytest.mark.parametrize(
    "lists, verdict, reason",
    [
        ([], "impossible", "no list has two rows"),
        ([random_feed(0, length=1)], "impossible", "no list has two rows"),
        ([random_feed(0, users=10)], "few", "the test needs 500 rows with a row above, 40 users"),
        ([random_feed(0, lists=1)], "few", "the log has 400 rows, 80 users"),
    ],
)
def test_what_cannot_be_told(lists, verdict, reason):
    tested = list_effects.test(lists)
    assert tested["verdict"] == verdict and reason in tested["reason"]


@pytest.mark.parametrize("label, reason", [(0, "all rows were passed over"), (1, "all rows were clicked")])
def test_one_class_only(label, reason):
    lists = random_feed(0)
    lists = dataclasses.replace(lists, rows=lists.rows | {"clicks": np.full(lists.item.shape, label)})
    tested = list_effects.test([lists])
    assert (tested["verdict"], tested["reason"]) == ("impossible", reason)


def test_few_lists_are_too_few():
    tested = list_effects.test([random_feed(6, users=41, lists=4)])
    assert tested["verdict"] == "few" and tested["reason"] == ""
    assert tested["gains"]["above"]["auc"]["high"] > list_effects.MATERIAL_AUC


def test_features_of_a_list_by_hand():
    """Users 0 to 3, one list each: channels a b a a, the last list with a row less; tags 1; 1, 2; 2; none."""
    item = np.array([[0, 1, 2, 3]] * 3 + [[0, 1, 2, -1]])
    channel = np.where(item >= 0, [0, 1, 0, 0], -1)
    tags = np.array([[[1, -1], [1, 2], [2, -1], [-1, -1]]] * 4)
    tags[3, 3] = -1
    clicks = np.array([[1, 0, 0, 1]] * 3 + [[0, 1, 1, 0]])
    groups = design([lists_of(np.arange(4), item, channel, tags, clicks)]).groups
    above, feedback, rest = groups["above"], groups["feedback"], groups["rest"]
    rows = 3 * 3 + 2
    assert all(len(values) == rows for columns in groups.values() for values in columns.values())
    assert above["same_channel_above"].tolist() == [0, 1, 2] * 3 + [0, 1]
    np.testing.assert_allclose(above["same_channel_share_above"][:3], [0, 1 / 2, 2 / 3])
    assert above["previous_same_channel"].tolist() == [0, 0, 1] * 3 + [0, 0]
    assert above["tags_above"].tolist() == [1, 1, 0] * 3 + [1, 1]
    assert above["previous_shares_tag"].tolist() == [1, 1, 0] * 3 + [1, 1]
    assert rest["same_channel"].tolist() == [0, 2, 2] * 3 + [0, 1]
    assert rest["tags"].tolist() == [2, 1, 0] * 3 + [2, 1]
    assert groups["below"]["next_same_channel"].tolist() == [0, 1, 0] * 3 + [0, 0]
    np.testing.assert_allclose(feedback["click_share_above"], [1, 1 / 2, 1 / 3] * 3 + [0, 1 / 2])
    assert feedback["previous_clicked"].tolist() == [1, 0, 0] * 3 + [0, 1]
    assert feedback["clicks_on_channel_above"].tolist() == [0, 1, 1] * 3 + [0, 0]


def test_clicks_of_the_list_reach_the_feedback_alone():
    lists = random_feed(7, users=40, lists=4)
    clicks = lists.rows["clicks"].copy()
    mine = lists.user == 5
    clicks[mine] = clicks[mine][:, ::-1]  # the log's click rate stays
    before, after = (
        design([dataclasses.replace(lists, rows=lists.rows | {"clicks": each})])
        for each in (lists.rows["clicks"], clicks)
    )
    own = before.user == 5
    for group, columns in before.groups.items():
        for name, values in columns.items():
            same = np.array_equal(values[own], after.groups[group][name][own])
            assert same == (group != "feedback"), name


def test_the_lists_own_impressions_are_taken_out_of_the_counts():
    lists = random_feed(8, users=40, lists=4)
    same = (lists.channel[:, :, None] == lists.channel[:, None, :]) & np.tril(np.ones((6, 6), bool), -1)
    logged = dataclasses.replace(lists, rows=lists.rows | {"channel_impressions": 3 + same.sum(axis=2)})
    assert (design([logged]).groups["base"]["user_channel_seen"] == np.float32(np.log1p(3))).all()
