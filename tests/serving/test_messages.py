import json

import pytest

from hrlrec_tf import features
from hrlrec_tf.features import FeatureSpec
from serving import messages
from serving.messages import Candidate, Counts, Profile, RankRequest, RequestError, Row

FULL = RankRequest(
    "ü1",
    1_700_000_000_000,
    candidates=(Candidate("i9", "news", ("a", "b"), {"item_author": "x", "item_price": 2.5}), Candidate("i1", "video")),
    history=(Row("i1", "news", ("a",), {"item_author": "y"}, 5, 3, 1, 12.5, 4, 2, 7, 1),),
    profile=Profile({"news": Counts(10, 2)}, {"a": Counts(3)}),
    features={"user_gender": "F", "context_device": "ios"},
    epsilon=0.25,
)
MINIMAL = {"user_id": "u", "timestamp": 1, "candidates": [{"item_id": "a", "channel": "news"}]}


def test_kinds_are_those_of_the_sessions():
    spec = FeatureSpec()
    rows = {features.HISTORY + name for name in messages.ROW_KINDS} | {"history_tags"}
    candidates = {features.CANDIDATE + name for name in messages.CANDIDATE_KINDS} | {"candidate_tags"}
    own = set(messages.REQUEST_KINDS) - {"request_id"}  # names the list in logs; no model reads it
    assert rows | candidates | own | set(features.PROFILE) == set(spec.serving_inputs())
    assert {name: spec.history_rows[features.HISTORY + name] for name in messages.ROW_KINDS} == messages.ROW_KINDS
    assert set(Row.__dataclass_fields__) == {*messages.ROW_KINDS, "tags", "features"}


def test_json_round_trip(tmp_path):
    path = tmp_path / "request.json"
    path.write_text(json.dumps(FULL.to_dict()), encoding="utf-8")
    assert RankRequest.from_json(path) == FULL
    assert RankRequest.from_dict(MINIMAL).to_dict() == MINIMAL


def test_the_documented_form():
    assert FULL.to_dict() == {
        "user_id": "ü1",
        "timestamp": 1_700_000_000_000,
        "epsilon": 0.25,
        "user_gender": "F",
        "context_device": "ios",
        "candidates": [
            {"item_id": "i9", "channel": "news", "tags": ["a", "b"], "item_author": "x", "item_price": 2.5},
            {"item_id": "i1", "channel": "video"},
        ],
        "history": [
            {
                "item_id": "i1",
                "channel": "news",
                "tags": ["a"],
                "item_author": "y",
                "timestamp": 5,
                "position": 3,
                "clicks": 1,
                "dwell_seconds": 12.5,
                "channel_impressions": 4,
                "channel_clicks": 2,
                "tag_impressions": 7,
                "tag_clicks": 1,
            }
        ],
        "profile": {"channels": {"news": {"impressions": 10, "clicks": 2}}, "tags": {"a": {"impressions": 3}}},
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"usr_id": "u"}, "request has the unknown field 'usr_id'; did you mean 'user_id'"),
        ({"user_id": 7}, "request.user_id is int 7 but must be a string"),
        ({"timestamp": "1"}, "request.timestamp is str '1' but must be a 64-bit integer"),
        ({"timestamp": True}, "request.timestamp is bool True"),
        ({"timestamp": 2**63}, "request.timestamp is int 9223372036854775808 but must be a 64-bit integer"),
        ({"epsilon": float("nan")}, "request.epsilon is float nan but must be a finite number"),
        ({"user_gender": None}, "request.user_gender is null"),
        ({"candidates": "abc"}, "candidates is str 'abc' but must be an array"),
        ({"candidates": [{"channel": "a"}]}, r"candidates\[0\] lacks the required field 'item_id'"),
        ({"candidates": [["a"]]}, r"candidates\[0\] is list \['a'\] but must be an object"),
        ({"candidates": [{**MINIMAL["candidates"][0], "chanel": "x"}]}, r"candidates\[0\].*'chanel'.*'channel'"),
        ({"candidates": [{**MINIMAL["candidates"][0], "tags": "a"}]}, r"candidates\[0\].tags is str 'a' .* an array"),
        ({"candidates": [{**MINIMAL["candidates"][0], "tags": [1]}]}, r"candidates\[0\].tags\[0\] is int 1"),
        ({"history": [{"item_id": "a", "channel": "c", "clicks": 1.5}]}, r"history\[0\].clicks is float 1.5"),
        ({"profile": {"chanels": {}}}, "profile has the unknown field 'chanels'; did you mean 'channels'"),
        ({"profile": {"tags": {"a": {"impresions": 1}}}}, r"profile.tags\['a'\].*did you mean 'impressions'"),
    ],
)
def test_errors_name_file_and_field(tmp_path, change, message):
    path = tmp_path / "request.json"
    path.write_text(json.dumps({**MINIMAL, **change}), encoding="utf-8")
    with pytest.raises(RequestError, match=message) as error:
        RankRequest.from_json(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["user_id", "timestamp", "candidates"])
def test_required_fields(name):
    with pytest.raises(RequestError, match=f"lacks the required field '{name}'"):
        RankRequest.from_dict({key: value for key, value in MINIMAL.items() if key != name})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"{", "is not JSON"),
        (b'"\xff"', "is not UTF-8"),
        (b"[]", "must be an object"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_unreadable_files(tmp_path, content, message):
    path = tmp_path / "request.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RequestError, match=message) as error:
        RankRequest.from_json(path)
    assert str(path) in str(error.value)
