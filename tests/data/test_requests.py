import pathlib

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from hrlrec_tf.data import requests, schema
from hrlrec_tf.errors import DataError
from hrlrec_tf.features import FeatureSpec, Kind

SPEC = FeatureSpec(
    list_length=3, history_length=2, max_tags=2, optional={"user_city": Kind.STRING, "item_price": Kind.FLOAT}
)


def session(request_id: str, timestamp: int, rows: list[tuple[str, str, int]], **given: list) -> bytes:
    """A serialized session whose list is (item_id, channel, clicks) rows; `given` overrides other features."""
    values = {name: [kind.absent] * (SPEC.width(name) or 0) for name, kind in SPEC.session.items()}
    values |= {"request_id": [request_id], "user_id": ["ü1"], "timestamp": [timestamp]}
    for column, name in enumerate(("item_id", "channel", "clicks")):
        values[name][: len(rows)] = [row[column] for row in rows]
    values |= given
    example = tf.train.Example()
    for name, kind in SPEC.session.items():
        feature = example.features.feature[name]
        if kind is Kind.STRING:
            feature.bytes_list.value.extend(value.encode() for value in values[name])
        elif kind is Kind.INT:
            feature.int64_list.value.extend(values[name])
        else:
            feature.float_list.value.extend(values[name])
    return example.SerializeToString()


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """Sessions of items a, b (news) and v (video); list r3 stands in two splits."""
    shared = session("r3", 300, [("a", "news", 0)], item_price=[9.0, 0.0, 0.0])
    detailed = session(
        "r4",
        400,
        [("b", "news", 1), ("new", "video", 0)],
        tags=["x", "y", "z", "", "", ""],
        user_city=["Köln"],
        history_item_id=["", "a"],
        history_channel=["", "news"],
        history_tags=["", "", "x", ""],
        history_clicks=[0, 1],
        history_dwell_seconds=[0.0, 2.5],
        history_timestamp=[0, 300],
        profile_channel=["news"],
        profile_channel_impressions=[4],
        profile_channel_clicks=[1],
    )
    splits = {
        "train": [
            session("r1", 100, [("a", "news", 1), ("b", "news", 0), ("v", "video", 0)], item_price=[1.0, 2.0, 3.0]),
            session("r2", 200, [("b", "news", 0), ("v", "video", 1)]),
        ],
        "validation": [shared],
        "eval": [shared, detailed],
    }
    for split, examples in splits.items():
        (tmp_path / split).mkdir()
        with tf.io.TFRecordWriter(str(tmp_path / split / "sessions-0.tfrecord.gz"), "GZIP") as writer:
            for example in examples:
                writer.write(example)
    schema.write(schema.to_schema(SPEC), tmp_path / "schema.pbtxt")
    (tmp_path / "summary.json").write_text("{}")
    return tmp_path


def test_a_list_in_two_splits_counts_once(folder):
    rows = requests.Catalogue.from_sessions(folder).rows
    assert rows["item_id"].tolist() == ["a", "b", "v", "b", "v", "a", "b", "new"]
    assert rows["timestamp"].tolist() == [100, 100, 100, 200, 200, 300, 400, 400]


def test_candidates_are_the_most_popular_rows_strictly_before(folder):
    catalogue = requests.Catalogue.from_sessions(folder)
    assert catalogue.candidates(100, []) == []
    # Before 300: a 1 click of 1, b 0 of 2, v 1 of 2; the channels in the order of their names.
    assert [row["item_id"] for row in catalogue.candidates(300, [])] == ["a", "b", "v"]
    assert [row["item_id"] for row in catalogue.candidates(300, [], per_channel=1)] == ["a", "v"]


def test_smoothing_puts_few_impressions_near_the_mean(folder):
    # One click of one impression must not beat 50 of 60; a plain rate would say so.
    rows = [("lucky", 1)] + [("steady", int(n % 6 > 0)) for n in range(60)] + [("poor", 0)] * 60
    catalogue = requests.Catalogue.from_sessions(folder)
    frame = catalogue.rows.iloc[np.zeros(len(rows), int)].reset_index(drop=True)
    frame = frame.assign(item_id=[row[0] for row in rows], clicks=[row[1] for row in rows])
    frame["item"] = frame["item_id"].map({"lucky": 0, "poor": 1, "steady": 2})
    ranked = requests.Catalogue(frame, items=3).candidates(101, [])
    assert [row["item_id"] for row in ranked] == ["steady", "lucky", "poor"]


def test_item_features_are_the_latest_before_the_request(folder):
    catalogue = requests.Catalogue.from_sessions(folder)
    price = {t: {row["item_id"]: row.get("item_price") for row in catalogue.candidates(t, [])}["a"] for t in (300, 301)}
    assert price == {300: 1.0, 301: 9.0}


def test_displayed_items_join_with_their_own_features(folder):
    displayed = [{"item_id": "a", "channel": "news", "item_price": 5.0}, {"item_id": "new", "channel": "video"}]
    found = {row["item_id"]: row for row in requests.Catalogue.from_sessions(folder).candidates(300, displayed)}
    assert found["a"] == displayed[0] and found["new"] == displayed[1]
    assert sorted(found) == ["a", "b", "new", "v"]


def test_sampled_request_holds_what_the_session_knew(folder):
    by_time = {request["timestamp"]: request for request in requests.sample_requests(folder, "eval", count=9)}
    assert sorted(by_time) == [300, 400]
    request = by_time[400]
    candidates = {row["item_id"]: row for row in request.pop("candidates")}
    assert request == {
        "user_id": "ü1",
        "timestamp": 400,
        "user_city": "Köln",
        "history": [
            {"item_id": "a", "channel": "news", "tags": ["x"], "clicks": 1, "dwell_seconds": 2.5, "timestamp": 300}
        ],
        "profile": {"channels": {"news": {"impressions": 4, "clicks": 1}}, "tags": {}},
    }
    assert sorted(candidates) == ["a", "b", "new", "v"]
    assert candidates["b"]["tags"] == ["x", "y"] and candidates["new"]["tags"] == ["z"]
    assert "clicks" not in candidates["b"]


def test_the_seed_decides_the_draw(folder):
    draws = {seed: requests.sample_requests(folder, "train", count=1, seed=seed)[0]["timestamp"] for seed in range(8)}
    assert set(draws.values()) == {100, 200}
    assert requests.sample_requests(folder, "train", count=1, seed=3)[0]["timestamp"] == draws[3]


def test_unfinished_sessions_are_refused(folder):
    (folder / "summary.json").unlink()
    with pytest.raises(DataError, match="no finished sessions.*hrlrec prepare"):
        requests.sample_requests(folder)


def test_an_empty_split_is_refused(folder):
    (folder / "eval" / "sessions-0.tfrecord.gz").unlink()
    with pytest.raises(DataError, match="no session files"):
        requests.sample_requests(folder)


def test_candidates_carry_item_counts_as_of_the_request():
    """What `prepare` would give to a list of that time, not what the item's latest row carried."""
    rng = np.random.default_rng(2)
    rows = pd.DataFrame(
        {
            "timestamp": np.sort(rng.integers(0, 500_000, 300)),
            "item": rng.integers(0, 12, 300),
            "clicks": rng.integers(0, 2, 300),
            "channel": "news",
            "tags": "",
            "item_click_rate": -1.0,
            "item_log_impressions": -1.0,
        }
    )
    rows["item_id"] = rows["item"].map("i{}".format)
    rule = {"refresh_seconds": 60.0, "strength": 4.0, "prior_click_rate": 0.3}
    found = requests.Catalogue(rows, 12, rule).candidates(400_000, ())
    assert len(found) == 12
    for candidate in found:
        known = rows[(rows["item_id"] == candidate["item_id"]) & (rows["timestamp"] < 360_000)]
        assert candidate["item_click_rate"] == pytest.approx((known["clicks"].sum() + 1.2) / (len(known) + 4))
        assert candidate["item_log_impressions"] == pytest.approx(np.log1p(len(known)))
