import numpy as np
import pandas as pd
import pytest

from serving.frames import requests_from_frames, responses_to_frame
from serving.messages import Candidate, Counts, Profile, RankedItem, RankRequest, RankResponse, RequestError, Row

REQUESTS = pd.DataFrame(
    {"request_id": ["r2", "r1"], "user_id": ["b", "a"], "timestamp": [20, 10], "user_age": [np.nan, 3.5]}
)
CANDIDATES = pd.DataFrame(
    {
        "request_id": ["r1", "r2", "r1"],
        "item_id": ["x", "y", "z"],
        "channel": ["news", None, "video"],
        "tags": [["p", "q"], None, "p|s"],
        "item_author": ["m", None, "n"],
    }
)
HISTORY = pd.DataFrame({"request_id": ["r1", "r1"], "item_id": ["h", "k"], "clicks": [1, np.nan], "timestamp": [5, 6]})
PROFILE = pd.DataFrame(
    [["r1", "channel", "news", 4, 1], ["r1", "tag", "p", 2, 0]],
    columns=["request_id", "level", "name", "impressions", "clicks"],
)


def test_tables_become_requests_in_their_order():
    assert requests_from_frames(REQUESTS, CANDIDATES, HISTORY, PROFILE) == [
        RankRequest("b", 20, (Candidate("y"),), request_id="r2"),
        RankRequest(
            "a",
            10,
            (
                Candidate("x", "news", ("p", "q"), {"item_author": "m"}),
                Candidate("z", "video", ("p", "s"), {"item_author": "n"}),
            ),
            (Row("h", clicks=1, timestamp=5), Row("k", timestamp=6)),
            Profile({"news": Counts(4, 1)}, {"p": Counts(2)}),
            {"user_age": 3.5},
            request_id="r1",
        ),
    ]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ((REQUESTS.drop(columns="user_id"),), "requests lacks the column 'user_id'"),
        ((REQUESTS.assign(usr_age=1),), "requests has the unknown field 'usr_age'"),
        ((REQUESTS.assign(request_id="r"),), "request_id repeats"),
        ((REQUESTS.assign(timestamp=0.5),), "requests, row 0, timestamp is float 0.5"),
        ((REQUESTS, CANDIDATES.assign(request_id="r9")), "candidates has rows of request 'r9'"),
        ((REQUESTS, CANDIDATES.assign(chanel="x")), "unknown field 'chanel'; did you mean 'channel'"),
        ((REQUESTS, None, None, PROFILE.assign(level="topic")), "level is 'topic'"),
    ],
)
def test_errors_name_table_and_column(frames, message):
    with pytest.raises(RequestError, match=message):
        requests_from_frames(*frames)


def test_responses_become_a_table():
    item = RankedItem(1, "x", "news", 0.5, 1.0, 2.0, 0.9, 0.8, True)
    frame = responses_to_frame([RankResponse([item], 3, "r1"), RankResponse([], 3, "r2")])
    assert frame.to_dict("records") == [
        {
            "request_id": "r1",
            "position": 1,
            "item_id": "x",
            "channel": "news",
            "click_probability": 0.5,
            "q_channel": 1.0,
            "q_item": 2.0,
            "propensity_channel": 0.9,
            "propensity_item": 0.8,
            "explored": True,
            "model_version": 3,
        }
    ]
    assert list(responses_to_frame([]).columns) == list(frame.columns)
