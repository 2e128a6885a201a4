import random

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from hrlrec_tf.features import FeatureSpec, Kind
from serving import tensor_values, tensors, wire
from serving.messages import Candidate, Counts, Profile, RankRequest, RequestError, Row

DTYPES = {Kind.STRING: tf.string, Kind.INT: tf.int64, Kind.FLOAT: tf.float32}
SPEC = FeatureSpec(optional={"user_age": Kind.FLOAT, "user_city": Kind.STRING, "item_author": Kind.STRING})
INPUTS = {
    name: meta_graph_pb2.TensorInfo(
        dtype=DTYPES[kind].as_datatype_enum, tensor_shape=tf.TensorShape([None] * rank).as_proto()
    )
    for name, (kind, rank) in SPEC.serving_inputs().items()
}


def built(*requests: RankRequest) -> dict[str, list]:
    return {name: tf.make_ndarray(proto).tolist() for name, proto in tensors.to_tensors(requests, INPUTS).items()}


def test_rectangles_of_a_batch():
    arrays = built(
        RankRequest(
            "u1",
            7,
            [Candidate("a", "news", ("x", "y"), {"item_author": "é"}), Candidate("b\0", "video")],
            [Row("h1", "news", clicks=1, dwell_seconds=0.5)],
            Profile({"video": Counts(1, 1), "news": Counts(5, 2), "article": Counts(5)}),
            {"user_age": 30, "user_city": 5},
            epsilon=0.5,
        ),
        RankRequest("u2", 8, [Candidate("c", "news")], [Row("h2", "news"), Row("h3", "video", clicks=2)]),
    )
    assert set(arrays) == set(INPUTS)
    assert arrays["user_id"] == [b"u1", b"u2"] and arrays["timestamp"] == [7, 8] and arrays["epsilon"] == [0.5, 0.0]
    assert arrays["user_age"] == [30.0, 0.0] and arrays["user_city"] == [b"5", b""]
    assert arrays["candidate_item_id"] == [[b"a", b"b\0"], [b"c", b""]]
    assert arrays["candidate_tags"] == [[b"x|y", b""], [b"", b""]]
    assert arrays["candidate_item_author"] == [["é".encode(), b""], [b"", b""]]
    assert arrays["history_item_id"] == [[b"", b"h1"], [b"h2", b"h3"]]
    assert arrays["history_clicks"] == [[0, 1], [0, 2]]
    assert arrays["history_dwell_seconds"] == [[0.0, 0.5], [0.0, 0.0]]
    assert arrays["profile_channel"] == [[b"article", b"news", b"video"], [b"", b"", b""]]
    assert arrays["profile_channel_impressions"] == [[5, 5, 1], [0, 0, 0]]
    assert arrays["profile_channel_clicks"] == [[0, 2, 1], [0, 0, 0]]
    assert arrays["profile_tag"] == [[], []]


def test_no_rows_keep_their_dtype_and_rank():
    protos = tensors.to_tensors([RankRequest("u", 1, [])], INPUTS)
    for name, (kind, rank) in SPEC.serving_inputs().items():
        array = tf.make_ndarray(protos[name])
        assert protos[name].dtype == DTYPES[kind].as_datatype_enum
        assert array.shape == ((1,) if rank == 1 else (1, 0))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            RankRequest("u", 1, [Candidate("a", "c", features={"item_autor": "x"})]),
            "request 0, candidates has the unknown field 'item_autor'; did you mean 'item_author'",
        ),
        (
            RankRequest("u", 1, [], [Row("a", "c", features={"item_size": 1})]),
            "request 0, history has the unknown field 'item_size'; known: item_author",
        ),
        (RankRequest("u", 1, [], features={"user_agee": 3}), "request has .*'user_agee'; did you mean 'user_age'"),
        (RankRequest("u", 1.5, []), r"timestamp\[0\] is float 1.5 but must be a 64-bit integer"),
        (RankRequest(b"u", 1, []), r"user_id\[0\] is bytes b'u' but must be a string"),
        (RankRequest("u", 1, [Candidate("a", None)]), r"request 0, candidate_channel\[0\] is null"),
        (RankRequest("u", 1, [Candidate("a", "c", ("x|y",))]), r"tag 'x\|y' must be a string without '\|'"),
        (RankRequest("u", 1, [Candidate("\ud800", "c")]), "candidate_item_id holds .* no valid Unicode"),
    ],
)
def test_errors_name_request_and_field(request_, message):
    with pytest.raises(RequestError, match=message):
        tensors.to_tensors([request_], INPUTS)


def test_tags_are_joined_as_sessions_have_them():
    assert tensors._joined(("b", "a", "", "b")) == "b|a"


def random_text(draw: random.Random) -> str:
    return "".join(draw.choice("aé\0\n 𝄞|".replace("|", "_")) for _ in range(draw.randint(1, 4)))


def random_request(draw: random.Random) -> RankRequest:
    def columns(*names: str) -> dict:
        kinds = {name: SPEC.optional[name] for name in names if draw.random() < 0.5}
        return {n: random_text(draw) if k is Kind.STRING else draw.randint(1, 9) / 4 for n, k in kinds.items()}

    def item() -> tuple:
        tags = tuple(dict.fromkeys(random_text(draw) for _ in range(draw.randint(0, 3))))
        return random_text(draw), random_text(draw), tags, columns("item_author")

    def counts() -> dict:
        return {
            random_text(draw): Counts(draw.randint(0, 3), draw.randint(0, 2**40)) for _ in range(draw.randint(0, 4))
        }

    numbers = [draw.randint(0, 2**62) for _ in range(7)]
    history = [Row(*item(), numbers[0], numbers[1], numbers[2], 0.25, *numbers[3:]) for _ in range(draw.randint(0, 5))]
    return RankRequest(
        random_text(draw),
        draw.randint(-(2**63), 2**63 - 1),
        tuple(Candidate(*item()) for _ in range(draw.randint(0, 5))),
        tuple(history),
        Profile(counts(), counts()),
        columns("user_age", "user_city"),
        draw.choice([0.0, 0.5, 1.0]),
    )


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("history_length", [None, 5, 8])
def test_requests_survive_the_wire(seed, history_length):
    draw = random.Random(seed)
    requests = [random_request(draw) for _ in range(draw.randint(1, 4))]
    call = wire.PredictRequest()
    tensors.fill(call.inputs, requests, tensors.inputs_of(INPUTS), history_length=history_length)
    arrived = wire.PredictRequest.FromString(call.SerializeToString())
    assert tensor_values.to_requests(arrived.inputs) == requests
    if history_length:
        assert tensor_values.to_array(arrived.inputs["history_item_id"]).shape == (len(requests), history_length)


@pytest.mark.parametrize(
    "values",
    [
        np.array([[1.5, 2.5]], np.float32),
        np.array([7], np.int64),
        np.array([[True], [False]]),
        np.array([[b"a", b""]], object),
        np.zeros([0, 3], np.int64),
        np.zeros([2, 0], object),
        np.full([2, 2], 3.0),
    ],
)
def test_arrays_are_read_as_tensorflow_reads_them(values):
    proto = tf.make_tensor_proto(values)
    np.testing.assert_array_equal(tensor_values.to_array(proto), tf.make_ndarray(proto))
    fields = tf.compat.v1.make_tensor_proto(values.tolist(), proto.dtype, values.shape)  # values in fields, not bytes
    np.testing.assert_array_equal(tensor_values.to_array(fields), tf.make_ndarray(fields))


def test_the_last_value_stands_for_those_that_lack():
    proto = tensor_pb2.TensorProto(dtype=1, float_val=[1.0, 2.0])
    proto.tensor_shape.dim.add(size=4)
    assert tensor_values.to_array(proto).tolist() == tf.make_ndarray(proto).tolist() == [1.0, 2.0, 2.0, 2.0]


def test_numbers_that_no_tensor_holds():
    with pytest.raises(RequestError, match=r"epsilon holds a number beyond float32|epsilon\[0\]"):
        tensors.to_tensors([RankRequest("u", 1, [], epsilon=10**400)], INPUTS)
    with pytest.raises(RequestError, match="timestamp holds a number beyond int64"):
        tensors.to_tensors([RankRequest("u", 2**63, [])], INPUTS)
