"""The journal against the sessions that the Beam job makes of the same lists."""

import numpy as np
import pytest
import tensorflow as tf

from hrlrec_tf import features
from hrlrec_tf.cli import main
from hrlrec_tf.data import schema
from hrlrec_tf.data.input import session_records
from hrlrec_tf.errors import ModelError
from hrlrec_tf.features import FeatureSpec
from hrlrec_tf.simulator import logs
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.feed import Feed
from hrlrec_tf.simulator.journal import Journal
from hrlrec_tf.simulator.matcher import Candidates
from hrlrec_tf.simulator.model_policy import CountsRule, RequestInputs
from hrlrec_tf.simulator.policy import LoggingPolicy
from hrlrec_tf.simulator.state import UserStates
from hrlrec_tf.simulator.traffic import Open

WORLD = WorldConfig(users=30, items=120, days=4, requests_per_day=40)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Sessions by request id, and what the journal knew when each list was asked for."""
    folder = tmp_path_factory.mktemp("journal")
    (folder / "log").mkdir()
    (folder / "log" / "dataset.yaml").write_text("item_counts: {refresh_seconds: 86400}\n")
    feed = Feed.create(WORLD)
    journal, known = Journal(feed, 41), []

    def watch(lists):
        known.append((lists.requests, lists.items, *_snapshot(journal, lists)))
        journal.add(lists)

    logs.write_days(feed, LoggingPolicy(feed), Open(feed, UserStates(feed)), range(4), folder / "log", watch=watch)
    assert main(["prepare", "--log", str(folder / "log"), "--out", str(folder / "sessions")]) == 0
    return feed, folder / "sessions", known


def _snapshot(journal, lists):
    """Copies of what the journal says of the users now."""
    journal.turn_to(lists.requests.day)
    candidates = Candidates(lists.items, np.zeros(len(lists.items), np.int32), lists.items)
    frozen = journal.copy()
    return frozen, candidates


def test_inputs_equal_the_sessions(written):
    feed, folder, known = written
    spec = schema.from_schema(schema.read(folder / "schema.pbtxt"))
    inputs = RequestInputs(feed, spec, CountsRule.of_sessions(folder))
    sessions = _sessions(folder, spec)
    compared, numbered = 0, {}
    for requests, _, journal, candidates in known:
        tensors = inputs.tensors(inputs.numbers(journal, requests, candidates))
        made = {name: np.asarray(value) for name, value in tensors.items()}
        first = numbered.get(requests.day, 0)
        numbered[requests.day] = first + len(requests)
        for n in range(len(requests)):
            session = sessions[f"d{requests.day:03d}-{first + n:08d}"]
            compared += 1
            for name in spec.request:
                if name != "request_id":
                    assert made[name][n] == session[name][0], name
            for name in spec.history_rows:
                _assert_equal(made[name][n], _rows(session[name], name, spec), name)
            for level in ("channel", "tag"):
                want = dict(_profile(session, level))
                got = {key: pair for key, pair in _profile({k: v[n] for k, v in made.items()}, level) if key}
                assert got == want
            for name in features.ITEM_COUNTS:
                np.testing.assert_allclose(made[features.CANDIDATE + name][n], session[name], rtol=1e-6)
    assert compared == len(sessions) > 100


def _sessions(folder, spec):
    found = {}
    for split in ("train", "validation", "eval"):
        for record in session_records([str(path) for path in (folder / split).iterdir()]).as_numpy_iterator():
            example = tf.train.Example.FromString(record)
            values = {}
            for name, feature in example.features.feature.items():
                values[name] = np.array(getattr(feature, feature.WhichOneof("kind") or "int64_list").value)
            found[values["request_id"][0].decode()] = values  # a list across a cut stands in both splits alike
    return found


def _rows(values, name, spec):
    if not name.endswith("tags"):
        return values
    rows = values.reshape(-1, spec.max_tags)
    return np.array([b"|".join(tag for tag in row if tag) for row in rows], object)


def _assert_equal(got, want, name):
    if got.dtype.kind == "f":
        np.testing.assert_allclose(got, want, rtol=1e-6, err_msg=name)
    else:
        assert got.tolist() == want.tolist(), name


def _profile(values, level):
    columns = (values[f"profile_{level}"], values[f"profile_{level}_impressions"], values[f"profile_{level}_clicks"])
    return [(name, (int(n), int(c))) for name, n, c in zip(*columns, strict=True)]


def test_a_column_that_the_feed_does_not_have_is_refused():
    feed = Feed.create(WORLD)
    with pytest.raises(ModelError, match="the model wants 'user_city'"):
        RequestInputs(feed, FeatureSpec(optional={"user_city": features.Kind.STRING}), None)


def test_item_counts_need_the_sessions():
    feed = Feed.create(WORLD)
    spec = FeatureSpec(optional={"item_click_rate": features.Kind.FLOAT})
    with pytest.raises(ModelError, match="name the sessions it was trained on"):
        RequestInputs(feed, spec, None)


def test_item_counts_at_other_times_are_refused(tmp_path):
    (tmp_path / "summary.json").write_text(
        '{"item_counts": {"prior_click_rate": 0.1, "strength": 5, "refresh_seconds": 3600}}'
    )
    with pytest.raises(ModelError, match="refreshed every 3600 s"):
        CountsRule.of_sessions(tmp_path)
