import threading
import time

import fakes
import grpc
import pytest

from hrlrec_tf.errors import HrlrecError
from hrlrec_tf.features import FeatureSpec, Kind
from serving import versions
from serving.client import RankingClient, RankingError
from serving.messages import Candidate, Counts, Profile, RankRequest, RequestError, Row
from serving.server import EmbeddedServer

REQUEST = RankRequest("u", 1, [Candidate("a", "news"), Candidate("b", "video"), Candidate("c", "news")])


def test_every_field_reaches_the_model(client):
    request = RankRequest(
        "u",
        1,
        REQUEST.candidates,
        history=[Row("x", "news", clicks=1), Row("y", "news", clicks=3)],
        profile=Profile({"news": Counts(2), "video": Counts(9)}),
        epsilon=1.0,
    )
    probability = dict(zip("abc", fakes.click_probability(list("abc")), strict=True))
    response = client.rank(request)
    assert [item.item_id for item in response.items] == sorted("abc", key=probability.get, reverse=True)
    for item in response.items:
        assert item.click_probability == pytest.approx(probability[item.item_id])
        assert (item.q_channel, item.q_item) == (3.0, 9.0)  # the newest history row; the most displayed channel
        assert (item.propensity_channel, item.propensity_item, item.explored) == (0.5, 1.0, True)
    assert client.score(request) == pytest.approx(list(probability.values()))


def test_no_requests_need_no_call():
    with RankingClient("127.0.0.1:1") as client:
        assert client.rank_many([]) == []


def test_unknown_columns_are_refused_before_the_call(client):
    with pytest.raises(RequestError, match="'item_autor'"):
        client.rank(RankRequest("u", 1, [Candidate("a", "c", features={"item_autor": "x"})]))


def test_a_refusal_carries_status_and_sentence(client):
    with pytest.raises(RankingError) as refused:
        client.rank(RankRequest("u", 1, []))
    assert refused.value.status is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.sentence == "hrlrec: a request has no candidates; send at least one"
    assert isinstance(refused.value, HrlrecError)


def test_an_unknown_model(embedded):
    with RankingClient(embedded.address, "other") as client, pytest.raises(RankingError) as refused:
        client.rank(REQUEST)
    assert refused.value.status is grpc.StatusCode.NOT_FOUND


def test_nobody_listens():
    with RankingClient("127.0.0.1:1") as client, pytest.raises(RankingError) as refused:
        client.rank(REQUEST)
    assert refused.value.status is grpc.StatusCode.UNAVAILABLE
    assert "no server answers at 127.0.0.1:1; start one with `hrlrec serve`" in str(refused.value)


def test_the_deadline_is_kept(client, monkeypatch):
    release = threading.Event()
    client.rank(REQUEST)
    monkeypatch.setattr(versions.ServedVersion, "predict", lambda self, request: release.wait(10))
    start = time.monotonic()
    with pytest.raises(RankingError, match=r"no answer within 0.2 s") as refused:
        client.rank(REQUEST, deadline_seconds=0.2)
    release.set()
    assert refused.value.status is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - start < 5


def test_inputs_are_learnt_again_when_a_new_version_takes_others(tmp_path):
    fakes.write_saved_model(tmp_path / "1")
    with (
        EmbeddedServer(tmp_path, port=0, poll_seconds=0.05) as server,
        RankingClient(server.address) as client,
        RankingClient(server.address) as other,
    ):
        assert client.rank(REQUEST).model_version == other.rank(REQUEST).model_version == 1
        fakes.write_saved_model(tmp_path / "2", FeatureSpec(optional={"item_author": Kind.STRING}))
        deadline = time.monotonic() + 20
        while server.version == 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert client.rank(REQUEST).model_version == 2  # refused for a missing input, learnt, sent again
        named = RankRequest("u", 1, [Candidate("a", "news", features={"item_author": "x"})])
        assert other.rank(named).model_version == 2  # unknown to version 1, learnt
