"""Rankings inside groups against scikit-learn and against every order that ties allow."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import ndcg_score, roc_auc_score

from hrlrec_tf.evaluation import grouped


@pytest.fixture(params=[3, 1_000_000], ids=["many ties", "no ties"])
def rows(request):
    """Groups in any order, some of one class, one of one row, one without rows."""
    rng = np.random.default_rng(5)
    groups = np.concatenate([rng.integers(0, 40, 400), [41]])
    labels = rng.integers(0, 2, 401)
    labels[groups == 3], labels[groups == 4] = 0, 1
    return groups, labels, rng.integers(0, request.param, 401) / request.param


def test_group_aucs_are_scikit_learns(rows):
    groups, labels, predictions = rows
    aucs = grouped.group_aucs(groups, labels, predictions, 42)
    for group, auc in enumerate(aucs):
        inside = groups == group
        if len(set(labels[inside])) == 2:
            assert auc == pytest.approx(roc_auc_score(labels[inside], predictions[inside]))
        else:
            assert np.isnan(auc)
    assert np.isnan(aucs[[3, 4, 40, 41]]).all()


@pytest.mark.parametrize("at", [1, 3, 100])
def test_ndcg_is_scikit_learns(rows, at):
    lists, labels, predictions = rows
    found = grouped.list_gains(lists, labels, predictions, 42, at, 1).ndcg
    for number, ndcg in enumerate(found):
        inside = lists == number
        if inside.sum() >= 2 and labels[inside].any():
            assert ndcg == pytest.approx(ndcg_score([labels[inside]], [predictions[inside]], k=at))
        else:
            assert np.isnan(ndcg)
    assert np.isnan(found[[3, 40, 41]]).all() and found[4] == pytest.approx(1)


@pytest.mark.parametrize("at", [1, 2, 3, 5, 9])
def test_a_hit_is_an_average_over_the_orders_of_ties(at):
    predictions = np.array([0.9, 0.5, 0.5, 0.5, 0.5, 0.1])
    for labels in itertools.islice(itertools.product([0, 1], repeat=6), 1, None):
        clicked, hits = np.array(labels), []
        for tied in itertools.permutations([1, 2, 3, 4]):
            order = [0, *tied, 5]
            hits.append(clicked[order][:at].any())
        found = grouped.list_gains(np.zeros(6, int), clicked, predictions, 1, 10, at).hit_rate
        assert found[0] == pytest.approx(np.mean(hits))


def test_a_constant_prediction_earns_nothing_from_the_logged_order():
    labels = np.array([1, 0, 0, 0])
    gains = grouped.list_gains(np.zeros(4, int), labels, np.full(4, 0.3), 1, 4, 1)
    assert gains.hit_rate[0] == pytest.approx(0.25)
    assert gains.ndcg[0] == pytest.approx(np.mean(1 / np.log2([2, 3, 4, 5])))


def test_no_rows():
    none = np.zeros(0, int)
    assert np.isnan(grouped.group_aucs(none, none, none, 2)).all()
    assert np.isnan(grouped.list_gains(none, none, none, 2, 10, 1)).all()
