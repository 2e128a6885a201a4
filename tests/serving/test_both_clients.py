"""What both clients, blocking and asyncio, do alike: against a service that fails when told to."""

import asyncio
import functools
import time

import fake_service
import grpc
import pytest
import tensorflow as tf

from hrlrec_tf.errors import ConfigError
from serving import canary
from serving.async_client import AsyncRankingClient
from serving.client import RankingClient, RankingError, Retries
from serving.messages import Candidate, RankRequest, RequestError, Row

CANDIDATES = (Candidate("a", "news"), Candidate("b", "video"))
REQUEST = RankRequest("u", 1, CANDIDATES)
QUICK = Retries(attempts=4, first_seconds=0.01)


def blocking(address, method, *arguments, client=None, **options):
    with RankingClient(address, **{"deadline_seconds": 10, "retries": QUICK} | (client or {})) as ranking:
        return getattr(ranking, method)(*arguments, **options)


def awaiting(address, method, *arguments, client=None, **options):
    async def call():
        async with AsyncRankingClient(
            address, **{"deadline_seconds": 10, "retries": QUICK} | (client or {})
        ) as ranking:
            return await getattr(ranking, method)(*arguments, **options)

    return asyncio.run(call())


@pytest.fixture(params=[blocking, awaiting])
def call(request):
    """Calls a method of a new client of either kind."""
    return request.param


@pytest.fixture(scope="module")
def served():
    with fake_service.Served(fake_service.FakeService()) as served:
        yield served


@pytest.fixture(autouse=True)
def service(served):
    """The service, as new."""
    served.service.__init__()
    return served.service


def items(response):
    return [item.item_id for item in response.items]


def test_unavailable_is_tried_again(call, served, service):
    service.failures = 3
    assert items(call(served.address, "rank", REQUEST)) == ["a", "b"]
    assert len(service.predicted) == 4 and service.asked == 1


def test_not_more_often_than_allowed(call, served, service):
    service.failures = 9
    with pytest.raises(RankingError, match="told to fail") as failed:
        call(served.address, "rank", REQUEST, client={"retries": Retries(attempts=2, first_seconds=0.01)})
    assert failed.value.status is grpc.StatusCode.UNAVAILABLE and len(service.predicted) == 2


@pytest.mark.parametrize(
    "status", ["CANCELLED", "UNKNOWN", "DEADLINE_EXCEEDED", "NOT_FOUND", "RESOURCE_EXHAUSTED", "INTERNAL", "ABORTED"]
)
def test_nothing_else_is(call, served, service, status):
    service.fail_with, service.failures = grpc.StatusCode[status], 1
    with pytest.raises(RankingError) as failed:
        call(served.address, "rank", REQUEST)
    assert failed.value.status.name == status and len(service.predicted) == 1


def test_the_deadline_bounds_all_attempts(call, served, service):
    service.failures = 10**6
    start = time.monotonic()
    with pytest.raises(RankingError):
        endless = {"retries": Retries(attempts=10**6, first_seconds=0.05, longest_seconds=0.05)}
        call(served.address, "rank", REQUEST, deadline_seconds=1, client=endless)
    assert 0.5 < time.monotonic() - start < 8 and len(service.predicted) > 3


def test_the_deadline_covers_a_slow_answer(call, served, service):
    service.delay_seconds = 1.0
    with pytest.raises(RankingError, match="no answer within 0.2 s") as failed:
        call(served.address, "rank", REQUEST, deadline_seconds=0.2)
    assert failed.value.status is grpc.StatusCode.DEADLINE_EXCEEDED


def test_pauses_grow_and_differ():
    pauses = [[Retries(9, 0.1, 0.5).pause(failures) for _ in range(200)] for failures in (1, 2, 3, 9)]
    for drawn, longest in zip(pauses, (0.1, 0.2, 0.4, 0.5)):
        assert 0.9 * longest < max(drawn) <= longest and min(drawn) < 0.1 * longest
    with pytest.raises(ConfigError, match="at least one attempt"):
        Retries(attempts=0)


def test_many_requests_keep_their_order(call, served, service):
    requests = [RankRequest(f"u{n}", n, (Candidate(f"i{n}", "news"),)) for n in range(23)]
    responses = call(served.address, "rank_many", requests, batch_size=5, in_flight=3)
    assert [items(response) for response in responses] == [[f"i{n}"] for n in range(23)]
    assert sorted(len(request.inputs["user_id"].string_val) for request in service.predicted) == [3, 5, 5, 5, 5]
    assert len({response.request_id for response in responses}) == 23
    assert len(service.peers) == 1  # one connection


def test_calls_in_flight_are_bounded(call, served, service):
    service.delay_seconds = 0.05
    call(served.address, "rank_many", [REQUEST] * 8, batch_size=1, in_flight=3)
    assert service.most_at_once == 3


def test_one_bad_request_is_named(call, served, service):
    users = ["bad" if n == 13 else "u" for n in range(20)]
    with pytest.raises(RankingError, match="request 13: hrlrec: a user is bad; correct it"):
        call(served.address, "rank_many", [RankRequest(user, 1, CANDIDATES) for user in users], batch_size=8)
    wrong = [REQUEST, RankRequest("u", 1, (Candidate(3, "news"),))]
    with pytest.raises(RequestError, match=r"request 1, candidate_item_id\[0\] is int 3 but must be a string"):
        call(served.address, "rank_many", wrong, batch_size=1)


def test_ids_alone_and_full_candidates_go_to_their_signatures(call, served, service):
    ids = RankRequest(
        "v",
        1,
        (Candidate("x"), Candidate("unknown-1"), Candidate("y")),
        [Row("h", "news", ("t",), {"item_length": 1.0})],
    )
    first, second, third = call(served.address, "rank_many", [REQUEST, ids, REQUEST])
    assert items(first) == items(third) == ["a", "b"] and items(second) == ["x", "y"]
    assert (first.unknown_candidates, second.unknown_candidates) == (0, 1)
    by_signature = {request.model_spec.signature_name: set(request.inputs) for request in service.predicted}
    assert by_signature == {name: set(fake_service.inputs_of(name)) for name in ("rank", "rank_ids")}


def test_an_unknown_column_is_refused_beside_ids_too(call, served):
    strange = RankRequest("v", 1, (Candidate("x"),), [Row("h", features={"item_lenght": 1.0})])
    with pytest.raises(RequestError, match="history has the unknown field 'item_lenght'; did you mean 'item_length'"):
        call(served.address, "rank", strange)


def test_a_model_without_catalogue_says_so(call, served, service):
    service.signatures = ("rank", "score")
    for method, request in (("rank", RankRequest("u", 1, (Candidate("x"),))), ("recommend", RankRequest("u", 1))):
        with pytest.raises(RankingError, match="has no signature .*export it with `hrlrec export --catalogue`"):
            call(served.address, method, request)
    assert not service.predicted


def test_recommend_needs_no_candidates(call, served, service):
    assert items(call(served.address, "recommend", RankRequest("u", 1))) == [f"r{n}" for n in range(10)]
    assert set(service.predicted[0].inputs) == set(fake_service.inputs_of("recommend"))


def test_histories_have_one_width(call, served, service):
    histories = ([], [Row(f"h{n}", "news", clicks=n) for n in range(3)], [Row(f"h{n}", "news") for n in range(60)])
    for history in histories:
        call(served.address, "rank", RankRequest("u", 1, CANDIDATES, history))
    sent = [tf.make_ndarray(request.inputs["history_item_id"])[0].tolist() for request in service.predicted]
    assert sent[0] == [b""] * 41 and sent[1] == [b""] * 38 + [b"h0", b"h1", b"h2"]
    assert sent[2] == [f"h{n}".encode() for n in range(19, 60)]
    assert tf.make_ndarray(service.predicted[1].inputs["history_clicks"])[0].tolist() == [0] * 39 + [1, 2]
    call(served.address, "rank", RankRequest("u", 1, CANDIDATES, histories[1]), client={"history_length": None})
    assert tf.make_ndarray(service.predicted[-1].inputs["history_item_id"]).shape == (1, 3)


@pytest.mark.parametrize("in_client", [False, True])
@pytest.mark.parametrize(
    ("choice", "field"),
    [
        ({}, None),
        ({"version": 3}, "version"),
        ({"version_label": "canary"}, "version_label"),
        ({"version_label": lambda user: f"label of {user}"}, "version_label"),
    ],
)
def test_the_version_is_named(call, served, service, choice, field, in_client):
    options = {"client": choice} if in_client else choice
    call(served.address, "rank", REQUEST, **options)
    spec = service.predicted[0].model_spec
    assert spec.WhichOneof("version_choice") == field
    wanted = {"version": 3, "version_label": "label of u" if callable(choice.get("version_label")) else "canary"}
    if field:
        assert getattr(spec, field) == wanted[field] if field == "version_label" else spec.version.value == 3


def test_a_version_and_a_label_are_too_much(call, served):
    with pytest.raises(ConfigError, match="a version or a version label"):
        call(served.address, "rank", REQUEST, client={"version": 1, "version_label": "stable"})


def test_users_are_split_between_labels(call, served, service):
    label = functools.partial(canary.label_of, canary_share=0.5, salt="s")
    requests = [RankRequest(f"u{n}", n, (Candidate(f"i{n}", "news"),)) for n in range(40)]
    responses = call(served.address, "rank_many", requests, version_label=label)
    assert [items(response) for response in responses] == [[f"i{n}"] for n in range(40)]
    for request in service.predicted:
        users = [user.decode() for user in request.inputs["user_id"].string_val]
        assert {canary.label_of(user, 0.5, "s") for user in users} == {request.model_spec.version_label}
    assert len(service.predicted) == 2


def test_request_ids_travel(call, served, service):
    named = RankRequest("u", 1, CANDIDATES, request_id="mine")
    responses = call(served.address, "rank_many", [named, REQUEST])
    assert responses[0].request_id == "mine" and len(responses[1].request_id) == 32
    assert service.ids == [f"mine,{responses[1].request_id}"]


def test_a_server_that_comes_back_is_found_again():
    with fake_service.Served(fake_service.FakeService()) as served:
        client = RankingClient(served.address, deadline_seconds=10, retries=Retries(attempts=50))
        client.rank(REQUEST)
    with client, fake_service.Served(fake_service.FakeService(), port=served.port):
        assert items(client.rank(REQUEST)) == ["a", "b"]
