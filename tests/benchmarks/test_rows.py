"""As-of features against counting by hand over the same sessions."""

import numpy as np
import pandas as pd
import pytest
import sessions

from benchmarks import rows
from hrlrec_tf.errors import DataError

HOUR = 3_600_000


def _session(request, user, time, items, clicks, history=(), channel="news", **more):
    """A session of `items` (tag "t" + item) with history rows (item, time, clicks), oldest first."""
    spec = sessions.SPEC
    session = {
        name: [kind.absent] * (2 if spec.width(name) is None else spec.width(name))
        for name, kind in spec.session.items()
    }
    pad, before = spec.list_length - len(items), spec.history_length - len(history)
    session |= {"request_id": [request], "user_id": [user], "timestamp": [time]}
    session |= {"item_id": [*items, *[""] * pad], "channel": [*[channel] * len(items), *[""] * pad]}
    session |= {"clicks": [*clicks, *[0] * pad], "weight": [1.0] * len(items) + [0.0] * pad}
    session |= {"position": [*range(1, len(items) + 1), *[0] * pad]}
    session["tags"] = [word for item in session["item_id"] for word in (item and f"t{item}", "")]
    for place, name in enumerate(("item_id", "timestamp", "clicks")):
        absent = [""] if name == "item_id" else [0]
        session[f"history_{name}"] = absent * before + [row[place] for row in history]
    session["history_position"] = [0] * before + [1] * len(history)
    for name in ("channel", "tag"):
        for column in ("", "_impressions", "_clicks"):
            session[f"profile_{name}{column}"] = more.get(f"profile_{name}{column}", [])
    return session


@pytest.fixture
def folder(tmp_path):
    first = [("a", 1 * HOUR, 1), ("b", 2 * HOUR, 0)]
    profile = {
        "profile_channel": ["news", "video"],
        "profile_channel_impressions": [2, 3],
        "profile_channel_clicks": [1, 0],
    }
    profile |= {"profile_tag": ["tb", "ta"], "profile_tag_impressions": [4, 1], "profile_tag_clicks": [2, 1]}
    splits = {
        "train": [_session("u/1", "u", 1 * HOUR, "a", [1]), _session("u/2", "u", 2 * HOUR, "b", [0], first[:1])],
        "validation": [_session("v/1", "v", 2 * HOUR, "ab", [0, 1])],
        "eval": [
            _session("u/3", "u", 27 * HOUR, "ba", [1, 0], first, **profile) | {"weight": [0.0, 1.0, 0.0, 0.0]},
            _session("v/2", "v", 30 * HOUR, "bz", [0, 2], [("a", 2 * HOUR, 0), ("b", 28 * HOUR, 1)], channel="video"),
        ],
    }
    for split, lists in splits.items():
        sessions.write(tmp_path / split / "s.tfrecord.gz", [sessions.to_example(each) for each in lists])
    return tmp_path


@pytest.fixture
def read(folder):
    return rows.Sessions(folder)


def test_rows_of_the_splits(read):
    table = read.rows
    assert table["request_id"].tolist() == ["u/1", "u/2", "v/1", "v/1", "u/3", "v/2", "v/2"]
    assert table["item_id"].tolist() == ["a", "b", "a", "b", "a", "b", "z"]
    assert table["position"].tolist() == [1, 1, 1, 2, 2, 1, 2] and table["label"].tolist() == [1, 0, 0, 1, 0, 0, 1]
    assert table["hour"].tolist() == [1, 2, 2, 2, 3, 6, 6]
    assert table["split"].tolist() == ["train"] * 2 + ["validation"] * 2 + ["eval"] * 3


def test_feedback_counts_once_and_only_where_its_time_is_known(read):
    feedback = read.known_feedback().sort_values(["timestamp", "user_id"])
    found = list(zip(feedback["user_id"], feedback["item_id"], feedback["clicks"], strict=True))
    assert found == [("u", "a", 1), ("u", "b", 0), ("v", "a", 0), ("v", "b", 1)]


def test_asof_counts(read):
    counts = rows.asof_counts(read)
    pairs = {of: list(zip(table["impressions"], table["clicks"], strict=True)) for of, table in counts.items()}
    nothing = [(0, 0)] * 4
    assert pairs["user"] == [*nothing, (5, 1), (0, 0), (0, 0)]
    assert pairs["user_channel"] == [*nothing, (2, 1), (0, 0), (0, 0)]
    assert pairs["user_tag"] == [*nothing, (1, 1), (0, 0), (0, 0)]
    # Strictly before: "a" at 1 h is known at 2 h, "b" at 2 h is not; v's click at 28 h is known at 30 h.
    assert pairs["item"] == [(0, 0), (0, 0), (1, 1), (0, 0), (2, 1), (2, 1), (0, 0)]
    frozen = rows.asof_counts(read, frozen_items=True)["item"]
    assert list(zip(frozen["impressions"], frozen["clicks"], strict=True))[4:] == [(2, 1), (1, 0), (0, 0)]


def test_recent_counts(read):
    whole, last = rows.recent_counts(read, 6), rows.recent_counts(read, 1)
    assert whole["impressions"].tolist() == [0, 1, 0, 0, 2, 2, 2] and whole["clicks"].tolist() == [0, 1, 0, 0, 1, 1, 1]
    assert last["impressions"].tolist() == [0, 1, 0, 0, 1, 1, 1] and last["clicks"].tolist() == [0, 1, 0, 0, 0, 1, 1]


def test_rates_are_smoothed_and_standardised(read):
    counts = pd.DataFrame({"impressions": [0, 3, 3, 0, 0, 0, 0], "clicks": [0, 3, 0, 0, 0, 0, 0]})
    np.testing.assert_allclose(
        rows.rate_and_count(counts[:3], prior=0.5, strength=2), [[0.5, 0], [0.8, np.log(4)], [0.2, np.log(4)]]
    )
    features = rows.history_features([counts], read.rows, strength=2)
    np.testing.assert_allclose(features[:2], [[-1, -1], [1, 1]], atol=1e-6)  # of the two training rows
    assert features.shape == (7, 2) and features.dtype == np.float32


def test_a_folder_without_sessions(tmp_path):
    with pytest.raises(DataError, match="holds no session files; run hrlrec prepare"):
        rows.Sessions(tmp_path)
