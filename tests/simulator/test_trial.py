import dataclasses

import numpy as np
import pytest

from hrlrec_tf.errors import DataError
from hrlrec_tf.simulator import days as days_lib
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.model_policy import quotas
from hrlrec_tf.simulator.policy import LoggingPolicy, Oracle
from hrlrec_tf.simulator.trial import COUNTS, Stage, Trial, run_trial

WORLD = WorldConfig(users=80, items=200, days=6, requests_per_day=80)


@pytest.fixture(scope="module")
def stage():
    """The evening after two days."""
    made = Stage.open(Feed.create(WORLD), 41)
    run_trial(made, lambda stage: LoggingPolicy(stage.feed), range(2))
    return made


def test_counts_are_those_of_the_lists_that_were_shown(stage):
    seen = []
    trial = run_trial(stage.copy(), lambda stage: LoggingPolicy(stage.feed), range(2, 4), watch=seen.append)
    corpus = stage.feed.corpus
    want = {name: np.zeros(80, np.int64) for name in COUNTS}
    watched = set()
    for lists in seen:
        for n, user in enumerate(lists.requests.users):
            items, clicked = lists.items[n], lists.clicks[n]
            tags = [set(corpus.tags[i][corpus.tags[i] < corpus.tag_count].tolist()) for i in items]
            want["requests"][user] += 1
            want["impressions"][user] += 10
            want["clicks"][user] += clicked.sum()
            want["list_tags"][user] += len(set.union(*tags))
            want["list_channels"][user] += len(set(corpus.channels[items].tolist()))
            want["abandoned"][user] += not lists.seen[n].all()
            watched |= {(lists.requests.day, user, tag) for t in np.flatnonzero(clicked) for tag in tags[t]}
    for _, user, _ in watched:
        want["watched_tags"][user] += 1
    for name in COUNTS:
        np.testing.assert_array_equal(getattr(trial, name), want[name], err_msg=name)
    assert trial.days == 2 and trial.requests.sum() > 80


def test_policies_start_from_the_same_evening_and_meet_the_same_luck(stage):
    first, second = (run_trial(stage.copy(), lambda stage: Oracle(stage.feed), range(2, 4)) for _ in range(2))
    for name in COUNTS:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    other = run_trial(stage.copy(), lambda stage: LoggingPolicy(stage.feed), range(2, 4))
    assert first.clicks.sum() > 1.3 * other.clicks.sum()


def test_another_click_model_changes_answers_and_not_who_comes_first(stage):
    shown = {}
    for model in ("examination", "cascade"):
        seen = []
        run_trial(stage.copy(model), lambda stage: Oracle(stage.feed), [2], watch=seen.append)
        shown[model] = seen
    first, second = (seen[0] for seen in shown.values())
    np.testing.assert_array_equal(first.requests.users, second.requests.users)
    assert (first.clicks != second.clicks).any()
    assert stage.feed.config.click_model == "examination"


def test_what_is_saved_is_loaded_and_nothing_else(stage, tmp_path):
    trial = run_trial(stage.copy(), lambda stage: LoggingPolicy(stage.feed), [2])
    trial.save(tmp_path / "trial.npz")
    loaded = Trial.load(tmp_path / "trial.npz")
    for name, values in dataclasses.asdict(trial).items():
        np.testing.assert_array_equal(getattr(loaded, name), values)
    assert [path.name for path in tmp_path.iterdir()] == ["trial.npz"]
    (tmp_path / "trial.npz").write_bytes(b"half")
    with pytest.raises(DataError, match="holds no trial"):
        Trial.load(tmp_path / "trial.npz")


def test_watching_changes_nothing(stage, monkeypatch):
    monkeypatch.setattr(days_lib, "CHUNK_REQUESTS", 16)
    plain = run_trial(stage.copy(), lambda stage: LoggingPolicy(stage.feed), [2])
    watched = run_trial(stage.copy(), lambda stage: LoggingPolicy(stage.feed), [2], watch=lambda lists: None)
    np.testing.assert_array_equal(plain.clicks, watched.clicks)


@pytest.mark.parametrize(
    ("shares", "wanted"),
    [([1, 1, 1, 1], [3, 3, 2, 2]), ([10, 0, 0, 0], [10, 0, 0, 0]), ([5, 3, 1, 1], [5, 3, 1, 1])],
)
def test_quotas_fill_the_list_in_proportion(shares, wanted):
    assert quotas(shares, 10).tolist() == wanted
