"""The serving check: a request made of sessions, and answers that are no feed."""

import numpy as np
import pipeline_fakes as fakes
import pytest
import tensorflow as tf
from pipeline_fakes import SPEC, session

from tfx_pipeline import serving_check
from tfx_pipeline.serving_check import ServingError


@pytest.fixture
def request_():
    sessions = [session("u", ("a", "b")), session("v", ("b", "c")), session("w", ("d", ""))]
    return serving_check.canned_request(sessions[0], sessions, SPEC)


def answer(items=(b"a", b"b"), channels=(b"news", b"video"), probability=(0.25, 0.5), q=(1.0, 2.0)):
    numbers = {
        name: np.array(q, np.float32) for name in ("q_channel", "q_item", "propensity_channel", "propensity_item")
    }
    return {
        "item_id": np.array(items, object),
        "channel": np.array(channels, object),
        "click_probability": np.array(probability, np.float32),
        **numbers,
    }


def test_the_request_has_every_input_of_the_signature(request_):
    inputs = SPEC.serving_inputs()
    assert set(request_) == set(inputs)
    assert all(request_[name].ndim == rank and request_[name].shape[0] == 1 for name, (_, rank) in inputs.items())


def test_the_request_is_the_first_sessions_with_every_displayed_item_once(request_):
    assert request_["user_id"].tolist() == [b"u"]
    assert request_["history_tags"].tolist() == [[b"p|q"]]
    assert request_["profile_channel"].tolist() == [[b"news", b"video", b"music"]]
    assert request_["candidate_item_id"].tolist() == [[b"a", b"b", b"c", b"d"]]
    assert request_["candidate_channel"].tolist() == [[b"news", b"video", b"video", b"news"]]
    assert request_["candidate_tags"].tolist() == [[b"x", b"y|z", b"y|z", b"x"]]
    assert request_["candidate_item_price"].tolist() == [[1.5, 2.5, 2.5, 1.5]]


def test_a_sound_answer_passes(request_):
    serving_check.check_answer(request_, answer(), 2)


def test_fewer_candidates_than_positions_fill_what_they_can(request_):
    few = {
        **request_,
        "candidate_item_id": np.array([[b"a"]], object),
        "candidate_channel": np.array([[b"news"]], object),
    }
    serving_check.check_answer(few, answer(items=(b"a", b""), channels=(b"news", b"")), 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"items": (b"a", b"a"), "channels": (b"news", b"news")}, "placed 2 items, 1 distinct; 2 were"),
        ({"items": (b"a", b"")}, "placed 1 items"),
        ({"items": (b"a", b"zz")}, "'zz' in channel 'video'; the request has it not at all"),
        ({"channels": (b"news", b"news")}, "'b' in channel 'news'; the request has it in 'video'"),
        ({"probability": (0.5, float("nan"))}, "click probabilities"),
        ({"probability": (0.5, 1.5)}, "click probabilities"),
        ({"q": (1.0, float("inf"))}, "q_channel is not finite"),
    ],
)
def test_an_answer_that_is_no_feed_is_refused(request_, wrong, message):
    with pytest.raises(ServingError, match=message):
        serving_check.check_answer(request_, answer(**wrong), 2)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A folder with an export and sessions."""
    folder = tmp_path_factory.mktemp("served")
    fakes.save_model(folder / "model")
    fakes.write_records(folder / "sessions.gz", [session("u", ("a", "b")), session("v", ("c", "b"))])
    return folder


def trained(signature, inputs):
    """The exported network's own answers."""
    return fakes.offline(SPEC)(signature, inputs)


def check(served, model="model", sessions="sessions.gz", latency_seconds=60.0, network=trained):
    return serving_check.check(str(served / model), network, str(served / sessions), SPEC, latency_seconds)


def test_an_export_that_ranks_passes(served):
    assert check(served).startswith("ranked 3 candidates of 2 channels in ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "absent"}, "cannot rank a request"),
        ({"sessions": "none*"}, "no evaluation session"),
        ({"latency_seconds": 0.0}, "to rank 3 candidates; accepted are 0 s"),
    ],
)
def test_an_export_that_does_not_serve_is_refused(served, change, message):
    with pytest.raises(ServingError, match=message):
        check(served, **change)


@pytest.mark.parametrize("signature", ["rank", "score_examples"])
def test_an_export_that_answers_otherwise_than_its_network_is_refused(served, signature):
    def other(asked, inputs):
        answer = dict(trained(asked, inputs))
        if asked == signature:
            answer["click_probability"] = answer["click_probability"] + 0.01
        return answer

    with pytest.raises(ServingError, match=f"'{signature}' and the trained network differ in click_probability"):
        check(served, network=other)


def test_an_export_whose_warm_up_fails_is_refused(served, tmp_path):
    fakes.save_model(tmp_path / "model")
    (tmp_path / "model" / "assets.extra").mkdir()
    (tmp_path / "model" / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"cut short")
    with pytest.raises(ServingError, match="cannot rank a request"):
        check(served, model=tmp_path / "model")


def test_an_export_with_other_inputs_is_refused(served, tmp_path):
    module = tf.Module()
    module.rank = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    tf.saved_model.save(module, str(tmp_path / "other"), {"rank": module.rank})
    with pytest.raises(ServingError, match="cannot rank a request"):
        check(served, model=tmp_path / "other")
