import numpy as np
import oracles
import pandas as pd
import pytest
from sklearn import metrics as sklearn

from hrlrec_tf.evaluation import metrics

# Two users and a third who never clicks.
ROWS = pd.DataFrame(
    {
        "user_id": ["a", "a", "a", "b", "b", "c"],
        "channel": ["news", "news", "video", "news", "video", "video"],
        "position": [1, 2, 3, 1, 12, 2],
        "label": [1, 0, 1, 0, 1, 0],
        "prediction": [0.9, 0.4, 0.3, 0.6, 0.6, 0.1],
    }
)


def test_by_hand():
    found = metrics.click_metrics(ROWS)
    # Clicked .9 .3 .6 against .4 .6 .1: three right, (.3 > .1), (.6 > .4, = .6, > .1): 3 + 1 + 2.5 of 9.
    assert found["auc"] == pytest.approx(6.5 / 9)
    # User a: .9 and .3 against .4: 1 of 2, three rows; user b: a tie, two rows; user c does not count.
    assert found["gauc"] == pytest.approx((3 * 0.5 + 2 * 0.5) / 5)
    assert found["calibration"] == pytest.approx(2.9 / 3)
    assert (found["rows"], found["click_rate"]) == (6, 0.5)
    expected = -np.mean(np.log([0.9, 1 - 0.4, 0.3, 1 - 0.6, 0.6, 1 - 0.1]))
    assert found["log_loss"] == pytest.approx(expected)
    assert found["auc_by_channel"] == {"news": 1.0, "video": 1.0}
    by_position = found["auc_by_position"]
    assert by_position["1"] == 1.0 and by_position["2-3"] == 0.5 and np.isnan(by_position[">10"])
    assert set(by_position) == {"1", "2-3", ">10"}


@pytest.mark.parametrize("seed", range(3))
def test_against_other_implementations(seed):
    rng = np.random.default_rng(seed)
    count = 300
    rows = pd.DataFrame(
        {
            "user_id": rng.integers(0, 30, count).astype(str),
            "channel": rng.choice(["x", "y"], count),
            "position": rng.integers(1, 11, count),
            "label": rng.integers(0, 2, count),
            "prediction": np.round(rng.uniform(0.01, 0.99, count), 2),  # ties
        }
    )
    found = metrics.click_metrics(rows)
    assert found["auc"] == pytest.approx(oracles.auc(rows["label"], rows["prediction"]))
    for channel, group in rows.groupby("channel"):
        assert found["auc_by_channel"][channel] == pytest.approx(
            sklearn.roc_auc_score(group["label"], group["prediction"])
        )
    total, weight = 0.0, 0
    for _, group in rows.groupby("user_id"):
        if 0 < group["label"].sum() < len(group):
            total += len(group) * oracles.auc(group["label"], group["prediction"])
            weight += len(group)
    assert found["gauc"] == pytest.approx(total / weight)


def test_one_class_or_nothing_has_no_auc():
    for rows in (ROWS[ROWS["label"] == 0], ROWS[ROWS["label"] == 1], ROWS.iloc[:0]):
        found = metrics.click_metrics(rows)
        assert np.isnan(found["auc"]) and np.isnan(found["gauc"]) and found["rows"] == len(rows)
    assert np.isnan(metrics.click_metrics(ROWS[ROWS["label"] == 0])["calibration"])


@pytest.mark.parametrize(
    ("position", "group"),
    [(1, "1"), (2, "2-3"), (3, "2-3"), (4, "4-6"), (6, "4-6"), (7, "7-10"), (10, "7-10"), (11, ">10"), (999, ">10")],
)
def test_position_groups(position, group):
    assert metrics.position_group(position) == group


def test_rela_impr_of_the_papers_table_2():
    assert metrics.rela_impr(0.8097, 0.7311) == pytest.approx(34.01, abs=0.01)
    assert metrics.rela_impr(0.7585, 0.7311) == pytest.approx(11.86, abs=0.01)
    assert metrics.rela_impr(0.7311, 0.7311) == 0
    assert np.isnan(metrics.rela_impr(0.6, 0.5))


def test_groups_of_user_activity():
    names = [metrics.ACTIVITY_GROUPS[code] for code in metrics.activity_codes([0, 1, 10, 11, 40, 41, 10_000])]
    assert names == ["0", "1-10", "1-10", "11-40", "11-40", ">40", ">40"]
    assert metrics.activity_codes([-1]).tolist() == [-1]


def test_log_losses_are_scikit_learns_at_the_edges_too():
    labels, predictions = np.array([0, 1, 1, 0]), np.array([0.0, 1.0, 0.25, 0.9])
    expected = sklearn.log_loss(labels, predictions)
    assert metrics.row_log_losses(labels, predictions).mean() == pytest.approx(expected)
    wrong = metrics.row_log_losses(np.array([1]), np.array([0.0]))
    assert wrong[0] == pytest.approx(sklearn.log_loss([1], [0.0], labels=[0, 1]))


def test_bins_of_equal_mass_keep_equal_values_together():
    assert metrics.equal_mass_bins(np.ones(6), 3).tolist() == [0, 0, 1, 1, 2, 2]
    assert metrics.equal_mass_bins(np.array([1, 8, 1]), 5).tolist() == [0, 2, 4]
    assert metrics.equal_mass_bins(np.zeros(3), 5).tolist() == [0, 0, 0]


def test_calibration_error_by_hand():
    # Two bins: 3 rows, 1.2 predicted, 1 clicked; 1 row, .1 predicted, 1 clicked: (.2 + .9) / 4.
    assert metrics.calibration_error(np.array([3, 1]), np.array([1.2, 0.1]), np.array([1, 1])) == pytest.approx(0.275)
    assert np.isnan(metrics.calibration_error(np.zeros(2), np.zeros(2), np.zeros(2)))


def test_scores_that_are_no_probabilities_have_no_log_loss():
    found = metrics.click_metrics(ROWS, probability=False)
    assert np.isnan(found["log_loss"]) and np.isnan(found["calibration"]) and found["auc"] == pytest.approx(6.5 / 9)
