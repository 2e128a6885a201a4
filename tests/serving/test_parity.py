"""One answer everywhere: offline, after export and reload, through gRPC, through REST and by `hrlrec rank`.

Golden requests are those of evaluation sessions, and some at the edges. `rank` and `score` are compared with the
trained network called in this process, `score_examples` with `hrlrec evaluate`'s own rows. Where the server batches,
calls that meet must answer as calls alone.
"""

import concurrent.futures
import dataclasses
import json
import pathlib

import grpc
import numpy as np
import pytest
import tensorflow as tf
import tiny
from conformance import arrays, call_of, columns, http, predict
from tensorflow_serving.apis import predict_pb2

from hrlrec_tf import export, models
from hrlrec_tf import verbs as model_verbs
from hrlrec_tf.data.input import session_records
from hrlrec_tf.data.requests import Catalogue, sample_requests
from hrlrec_tf.evaluation.scoring import score_sessions
from serving import verbs
from serving.benchmark.requests import ids_only
from serving.benchmark.worker import BATCHING_FILE
from serving.messages import Counts, Profile, RankRequest, Row
from serving.server import EmbeddedServer

SIGNATURES = ("rank", "serving_default", "score", "rank_ids", "recommend")
UNKNOWN = "unknown items"


@pytest.fixture(scope="module")
def golden(prepared) -> dict[str, RankRequest]:
    """Requests by what is special about them."""
    drawn = [RankRequest.from_dict(request) for request in sample_requests(prepared, count=4, seed=3)]
    longest = max(drawn, key=lambda request: len(request.history))
    full = dataclasses.replace(longest, user_id="nobody", history=(*longest.history, *longest.history))
    return {
        **{f"session {number}": request for number, request in enumerate(drawn)},
        "no history, no profile": dataclasses.replace(longest, history=(), profile=Profile()),
        "one candidate": dataclasses.replace(longest, candidates=longest.candidates[:1]),
        "unknown user, more history than is read": full,
        UNKNOWN: dataclasses.replace(
            longest,
            candidates=[dataclasses.replace(each, item_id=f"new {each.item_id}") for each in longest.candidates],
        ),
    }


@pytest.fixture(scope="module")
def base(model_dir, prepared, tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("parity")
    tiny.run_verb(model_verbs.EXPORT, f"--model={model_dir} --out={folder} --catalogue={prepared}")
    return folder


@pytest.fixture(scope="module")
def live(base):
    with EmbeddedServer(base, port=0, rest_port=0) as server:
        yield server


@pytest.fixture(scope="module")
def channel(live):
    with grpc.insecure_channel(live.address) as channel:
        yield channel


@pytest.fixture(scope="module")
def calls(channel, golden):
    """(what is special, signature) -> call."""
    return {
        (name, signature): call_of(_named(request, signature), channel, signature)
        for name, request in golden.items()
        for signature in SIGNATURES
        if (name, signature) != (UNKNOWN, "rank_ids")
    }


def _named(request: RankRequest, signature: str) -> list[RankRequest]:
    """The request as a signature takes it: with what the catalogue knows of items, or without."""
    return ids_only([request]) if signature in ("rank_ids", "recommend") else [request]


@pytest.fixture(scope="module")
def offline(model_dir, prepared, calls):
    """What the trained network says in this process, without an export."""
    module = export.serving_module(str(model_dir), str(prepared))[0]()
    methods = {"serving_default": module.rank} | {
        name: getattr(module, name) for name in SIGNATURES if name != "serving_default"
    }
    found = {}
    for (name, signature), call in calls.items():
        inputs = {key: tf.constant(tf.make_ndarray(tensor)) for key, tensor in call.inputs.items()}
        found[name, signature] = {key: values.numpy() for key, values in methods[signature](inputs).items()}
    return found


def assert_same(found, expected):
    """Equal lists, and scores but for the order in which floats are summed."""
    assert set(found) == set(expected)
    for name, values in expected.items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(np.asarray(found[name], np.float32), values, rtol=1e-4, atol=1e-6, err_msg=name)
        else:
            assert np.array_equal(np.asarray(found[name], values.dtype), values), name


def test_grpc_answers_as_offline(channel, calls, offline):
    for key, call in calls.items():
        assert_same(arrays(predict(channel, call)), offline[key])


def test_a_reload_answers_as_offline(base, calls, offline):
    reloaded = tf.saved_model.load(str(base / "1"))
    for (name, signature), call in calls.items():
        inputs = {key: tf.constant(tf.make_ndarray(tensor)) for key, tensor in call.inputs.items()}
        outputs = reloaded.signatures[signature](**inputs)
        assert_same({key: values.numpy() for key, values in outputs.items()}, offline[name, signature])


def test_rest_answers_as_offline(live, calls, offline):
    for (name, signature), call in calls.items():
        inputs, expected = columns(call), offline[name, signature]
        row = {key: values[0] for key, values in inputs.items()}
        for form, body in (("outputs", {"inputs": inputs}), ("predictions", {"instances": [row]})):
            status, answer = http(live.rest_address, "/v1/models/hrlrec:predict", {"signature_name": signature, **body})
            assert status == 200, answer
            outputs = answer[form]
            if form == "predictions":
                (one,) = outputs
                outputs = {key: [value] for key, value in one.items()} if len(expected) > 1 else [one]
            outputs = outputs if len(expected) > 1 else dict.fromkeys(expected, outputs)
            assert_same(_encoded(outputs), expected)


def _encoded(value):
    """JSON's strings as TensorFlow's bytes."""
    if isinstance(value, dict):
        return {name: _encoded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_encoded(each) for each in value]
    return value.encode() if isinstance(value, str) else value


def test_ids_alone_answer_as_with_the_catalogues_features(prepared, channel, golden):
    catalogue = Catalogue.from_sessions(prepared)
    known = {row["item_id"]: row for row in catalogue.candidates(2**62, [], per_channel=1000)}
    plain = golden["session 0"].to_dict()
    of_item = {"channel", "tags", "item_author", "item_length_seconds"}
    for rows in (plain["candidates"], plain["history"]):
        for row in rows:
            kept = {name: value for name, value in row.items() if name not in of_item}
            row.clear()
            row.update(kept | known[kept["item_id"]])
    request = RankRequest.from_dict(plain)
    by_ids = arrays(predict(channel, call_of(ids_only([request]), channel, "rank_ids")))
    assert by_ids.pop("unknown_candidates").tolist() == [0]
    assert_same(by_ids, arrays(predict(channel, call_of([request], channel, "rank"))))


def test_hrlrec_rank_answers_as_offline(live, golden, offline, tmp_path):
    for name, request in golden.items():
        file = tmp_path / "request.json"
        file.write_text(json.dumps(request.to_dict()))
        items = tiny.run_verb(verbs.RANK, f"--server={live.address} --request={file}")["items"]
        expected = {key: values[0] for key, values in offline[name, "rank"].items()}
        assert [item["item_id"].encode() for item in items] == [item for item in expected["item_id"] if item]
        for key, values in expected.items():
            found = [item[key].encode() if isinstance(item[key], str) else item[key] for item in items]
            assert_same({key: found}, {key: values[: len(items)]})


def test_score_examples_are_what_evaluate_says(model_dir, prepared, channel):
    network, reader, _ = models.load(str(model_dir))
    files = [str(file) for file in prepared.glob("eval/*.tfrecord.gz")]
    rows = score_sessions(network, reader, files)
    call = predict_pb2.PredictRequest()
    call.model_spec.name, call.model_spec.signature_name = "hrlrec", "score_examples"
    call.inputs["examples"].CopyFrom(tf.make_tensor_proto(list(session_records(files).as_numpy_iterator())))
    answered = arrays(predict(channel, call))
    weight = np.concatenate([batch["weight"].numpy() for batch in session_records(files).batch(64).map(reader.read)])
    for output, column in (("click_probability", "prediction"), ("q_channel", "q_channel"), ("q_item", "q_item")):
        np.testing.assert_allclose(answered[output][weight > 0], rows[column], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("prefix", ["candidate_", "profile_channel", "profile_tag"])
@pytest.mark.parametrize("signature", ["rank", "score"])
def test_padding_with_the_first_value_changes_nothing(channel, calls, offline, prefix, signature):
    padded = predict_pb2.PredictRequest()
    padded.CopyFrom(calls["session 0", signature])
    expected = offline["session 0", signature]
    for name, tensor in padded.inputs.items():
        if name.startswith(prefix):
            values = tf.make_ndarray(tensor)
            values = np.concatenate([values, np.full([1, 3], values[0, 0])], axis=1)
            tensor.CopyFrom(tf.make_tensor_proto(values))
    found = arrays(predict(channel, padded))
    if signature == "score":  # what is padded has a score, too
        found = {name: values[:, : expected[name].shape[1]] for name, values in found.items()}
    assert_same(found, expected)


def joinable(request: RankRequest, rows: int) -> RankRequest:
    """The same request for a server that batches: history at full width, no empty profile, so that what is padded on
    the right are candidates and profile, and neither is empty.
    """
    missing = [Row("", "")] * (rows - len(request.history))
    profile = Profile(request.profile.channels or {"": Counts()}, request.profile.tags or {"": Counts()})
    return dataclasses.replace(request, history=(*missing, *request.history[-rows:]), profile=profile)


def test_calls_that_meet_in_a_batch_answer_as_offline(base, golden, reader, offline):
    with (
        EmbeddedServer(base, port=0, batching_parameters_file=BATCHING_FILE) as server,
        grpc.insecure_channel(server.address) as channel,
        concurrent.futures.ThreadPoolExecutor(len(golden)) as pool,
    ):
        rows = reader.spec.history_length
        calls = {name: call_of([joinable(request, rows)], channel) for name, request in golden.items()}
        for _ in range(3):
            answers = pool.map(lambda call: predict(channel, call), calls.values())
            for name, answer in zip(calls, answers, strict=True):
                assert_same(arrays(answer), offline[name, "rank"])
