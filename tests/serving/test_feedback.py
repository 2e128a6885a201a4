import dataclasses
import json

import fake_service
import pytest
from test_both_clients import awaiting, blocking

from hrlrec_tf.data import masking
from hrlrec_tf.data.rules import Masking
from hrlrec_tf.errors import ConfigError
from serving import feedback, journal_files
from serving.client import RankingClient
from serving.feedback import EventLog, FeedbackError, ImpressionLog
from serving.messages import Candidate, RankedItem, RankRequest, RankResponse, RequestError
from serving.server import EmbeddedServer

REQUEST = RankRequest(
    "ü1",
    1_700_000_000_000,
    (Candidate("a", "news", ("t", "s"), {"item_length": 3}), Candidate("b", "video"), Candidate("c", "news")),
    features={"user_age": 30, "context_device": "ios"},
    request_id="r1",
)
ITEMS = (
    RankedItem(1, "b", "video", 0.5, 1.0, 2.0, 0.9, 0.8, False),
    RankedItem(2, "a", "news", 0.4, 1.0, 2.0, 0.7, 0.6, True),
)
LINE = {
    "request_id": "r1",
    "user_id": "ü1",
    "timestamp": 1_700_000_000_000,
    "model_version": "7",
    "user_age": 30,
    "context_device": "ios",
    "items": [
        {"position": 1, "item_id": "b", "channel": "video", "propensity_channel": 0.9, "propensity_item": 0.8,
         "explored": False, "tags": []},
        {"position": 2, "item_id": "a", "channel": "news", "propensity_channel": 0.7, "propensity_item": 0.6,
         "explored": True, "tags": ["t", "s"], "item_length": 3.0},
    ],
}  # fmt: skip
KINDS = (feedback.IMPRESSIONS, feedback.EVENTS)


def records(folder, name):
    return [line.record for path in journal_files.files(folder, name) for line in journal_files.read(path)]


def test_a_list_is_one_line(tmp_path):
    with ImpressionLog(tmp_path) as log:
        log.served(REQUEST, RankResponse(ITEMS, 7, "r1"), numeric={"item_length"})
        log.served(REQUEST, RankResponse((), 7, "r2"))
    assert records(tmp_path, "impressions") == [LINE]
    assert isinstance(records(tmp_path, "impressions")[0]["items"][1]["item_length"], float)


@pytest.mark.parametrize("call", [blocking, awaiting])
def test_the_client_logs_what_it_got(tmp_path, call):
    ids = RankRequest("u2", 2, (Candidate("x"),), request_id="r2")
    with fake_service.Served(fake_service.FakeService()) as served, ImpressionLog(tmp_path) as log:
        responses = call(served.address, "rank_many", [REQUEST, ids], client={"impression_log": log})
        recommended = call(served.address, "recommend", RankRequest("u3", 3), client={"impression_log": log})
    lines = {line["request_id"]: line for line in records(tmp_path, "impressions")}
    assert set(lines) == {"r1", "r2", recommended.request_id}
    assert [row["item_id"] for row in lines["r1"]["items"]] == [item.item_id for item in responses[0].items]
    assert lines["r1"]["user_age"] == 30.0 and isinstance(lines["r1"]["user_age"], float)
    assert lines["r1"]["items"][0]["item_length"] == 3.0 and lines["r1"]["model_version"] == "7"
    assert lines["r2"]["items"] == [
        {"position": 1, "item_id": "x", "channel": "news", "propensity_channel": 0.5, "propensity_item": 0.5,
         "explored": False}
    ]  # fmt: skip


@pytest.mark.parametrize("signature", ["rank", "rank_ids", "recommend", "score"])
def test_a_server_logs_what_the_client_would(tmp_path, signature):
    """The line written of what came over the wire is the client's own, but for what the wire does not carry."""
    seen = []
    requests = [REQUEST, RankRequest("u", 5, REQUEST.candidates[2:], request_id="r2")]
    if signature == "rank_ids":
        requests = [
            dataclasses.replace(r, candidates=tuple(Candidate(c.item_id) for c in r.candidates)) for r in requests
        ]
    elif signature == "recommend":
        requests = [dataclasses.replace(r, candidates=()) for r in requests]

    class Logging(fake_service.FakeService):
        def Predict(self, request, context):
            seen.append((request, super().Predict(request, context), context.invocation_metadata()))
            return seen[-1][1]

    with fake_service.Served(Logging()) as served, ImpressionLog(tmp_path / "client") as log:
        with RankingClient(served.address, impression_log=log) as client:
            if signature == "score":
                client.score(REQUEST)
            elif signature == "recommend":
                for request in requests:
                    client.recommend(request)
            else:
                client.rank_many(requests)
    with ImpressionLog(tmp_path / "server") as log:
        for request, response, metadata in seen:
            feedback.log_predict(log, request, response, metadata)
    assert records(tmp_path / "server", "impressions") == records(tmp_path / "client", "impressions")
    assert len(records(tmp_path / "server", "impressions")) == (0 if signature == "score" else 2)


def test_ids_are_masked_as_prepare_masks_them(tmp_path, monkeypatch):
    rule = Masking(("user_id", "item_id"))
    with pytest.raises(ConfigError, match="HRLREC_MASK_KEY"):
        ImpressionLog(tmp_path, mask=rule)
    monkeypatch.setenv("HRLREC_MASK_KEY", "secret")
    with ImpressionLog(tmp_path, mask=rule) as log, EventLog(tmp_path, mask=rule) as events:
        log.served(REQUEST, RankResponse(ITEMS, 7, "ü1/17"))
        events.event("ü1/17", item_id="b", clicks=1, timestamp=5)
    hashed = {text: masking.mask_text(text, b"secret") for text in ("ü1", "ü1/17", "a", "b")}
    (line,), (event,) = records(tmp_path, "impressions"), records(tmp_path, "events")
    assert line["user_id"] == hashed["ü1"] and [row["item_id"] for row in line["items"]] == [hashed["b"], hashed["a"]]
    assert event["item_id"] == hashed["b"] and event["request_id"] == line["request_id"] == hashed["ü1/17"]
    assert "ü1" not in json.dumps([line, event], ensure_ascii=False)


@pytest.mark.parametrize(("columns", "is_hashed"), [(("request_id",), True), (("item_id", "user_age"), False)])
def test_request_ids_are_masked_with_users_or_by_name(tmp_path, monkeypatch, columns, is_hashed):
    monkeypatch.setenv("HRLREC_MASK_KEY", "secret")
    with ImpressionLog(tmp_path, mask=Masking(columns)) as log, EventLog(tmp_path, mask=Masking(columns)) as events:
        log.served(REQUEST, RankResponse(ITEMS, 7, "r1"))
        events.event("r1", 1)
    wanted = masking.mask_text("r1", b"secret") if is_hashed else "r1"
    (line,), (event,) = records(tmp_path, "impressions"), records(tmp_path, "events")
    assert line["request_id"] == event["request_id"] == wanted and line["user_id"] == "ü1"


@pytest.mark.parametrize("name", ["user-one", "user-one/17", "xuser-onex"])
def test_no_log_shows_a_masked_user_by_a_request_id(model_base, tmp_path, monkeypatch, name):
    """Of the client or of the server: what either writes holds no raw id, and the caller gets the name that it sent."""
    monkeypatch.setenv("HRLREC_MASK_KEY", "secret")
    mask = Masking(("user_id",))
    request = RankRequest("user-one", 5, (Candidate("a", "news"), Candidate("b", "video")), request_id=name)
    folders = [tmp_path / "client", tmp_path / "server", tmp_path / "events"]
    with ImpressionLog(folders[0], mask=mask) as mine, ImpressionLog(folders[1], mask=mask) as log:
        with EmbeddedServer(model_base, port=0, impression_log=log) as server:
            with RankingClient(server.address, impression_log=mine) as client:
                response = client.rank(request)
    with EventLog(folders[2], mask=mask) as events:
        events.event(response.request_id, 1, clicks=1)
    assert response.request_id == name
    names = {line["request_id"] for folder in folders for kind in KINDS for line in records(folder, kind)}
    assert names == {masking.mask_text(name, b"secret")}
    written = [path.read_bytes() for folder in folders for path in folder.iterdir()]
    assert len(written) == 3 and not any(b"user-one" in content for content in written)


def test_an_event_is_one_line(tmp_path):
    with EventLog(tmp_path) as events:
        events.event("r1", 2, clicks=1, dwell_seconds=2, timestamp=9, event_id="e1")
        events.event("r1", item_id="a")
        with pytest.raises(FeedbackError, match="names no item"):
            events.event("r1", clicks=1)
        with pytest.raises(RequestError, match="clicks is float 0.5"):
            events.event("r1", 1, clicks=0.5)
    first, second = records(tmp_path, "events")
    assert first == {
        "request_id": "r1",
        "position": 2,
        "clicks": 1,
        "dwell_seconds": 2.0,
        "timestamp": 9,
        "event_id": "e1",
    }
    assert second.pop("timestamp") > 1_700_000_000_000
    assert second == {"request_id": "r1", "item_id": "a", "clicks": 0, "dwell_seconds": 0.0}


def test_the_embedded_server_logs_its_lists(model_base, tmp_path):
    """Under the names that the client gave them; scores are no lists; what cannot be written costs no list."""
    request = RankRequest("u", 5, (Candidate("a", "news"), Candidate("b", "video")), request_id="r7")
    with ImpressionLog(tmp_path / "client") as mine, ImpressionLog(tmp_path / "server", on_error="drop") as log:
        with EmbeddedServer(model_base, port=0, impression_log=log) as server:
            with RankingClient(server.address, impression_log=mine) as client:
                response = client.rank(request)
                client.score(request)
            log.close()
            with RankingClient(server.address) as client:
                again = client.rank(request)
    assert again.items == response.items and log.dropped == 1
    (line,) = records(tmp_path / "server", "impressions")
    assert [line] == records(tmp_path / "client", "impressions") and line["request_id"] == "r7"
