"""The exported SavedModel, called as a server calls it."""

import dataclasses
import pathlib

import numpy as np
import pytest
import sessions
import tensorflow as tf
import tiny
from scipy import stats
from tensorflow_serving.apis import prediction_log_pb2

from hrlrec_tf import export, serving_request, training, verbs, warmup
from hrlrec_tf.errors import ModelError
from hrlrec_tf.features import Kind

DTYPES = {Kind.STRING: tf.string, Kind.INT: tf.int64, Kind.FLOAT: tf.float32}
SPEC = sessions.SPEC
T = SPEC.list_length
OUTPUTS = {
    "item_id": tf.string,
    "channel": tf.string,
    "click_probability": tf.float32,
    "q_channel": tf.float32,
    "q_item": tf.float32,
    "propensity_channel": tf.float32,
    "propensity_item": tf.float32,
    "explored": tf.int64,
}
CANDIDATES = [(f"item_id{i}", sessions.CHANNELS[i % 3], f"tags{i}|tags{i + 1}") for i in range(9)]


@pytest.fixture(scope="module")
def exported(model_dir, tmp_path_factory) -> pathlib.Path:
    """The first served version of the tiny model."""
    base = tmp_path_factory.mktemp("served")
    result = tiny.run_verb(verbs.EXPORT, f"--model={model_dir} --out={base}")
    assert result == {"version": 1, "path": str(base / "1")}
    return base / "1"


@pytest.fixture(scope="module")
def model(exported):
    return tf.saved_model.load(str(exported))


def request(candidates=CANDIDATES, history: int = 3, user: str = "user_id1", **given) -> dict[str, np.ndarray]:
    """Inputs of one request; history rows, profile and features are drawn by the user's name."""
    rng = np.random.default_rng(len(user) + ord(user[-1]))
    rows = {"candidate": len(candidates), "history": history, "profile": 2}
    inputs = {}
    for name, (kind, rank) in SPEC.serving_inputs().items():
        count = rows.get(name.split("_")[0], 1)
        bare = name.removeprefix("history_").removeprefix("candidate_")
        values = sessions._values(rng, bare, kind, count)
        inputs[name] = np.array(values, object if kind is Kind.STRING else None).reshape(
            [1, count][-rank:] if rank == 1 else [1, count]
        )
    for column, name in enumerate(("item_id", "channel", "tags")):
        inputs[f"candidate_{name}"] = np.array([[row[column] for row in candidates]], object).reshape(
            1, len(candidates)
        )
    inputs["user_id"] = np.array([user], object)
    inputs["timestamp"] = np.array([1_700_000_500_000])
    inputs["history_timestamp"] = inputs["timestamp"][:, None] - 60_000 * np.arange(history, 0, -1)
    inputs["epsilon"] = np.zeros(1, np.float32)
    return inputs | given


def call(model, inputs: dict[str, np.ndarray], signature: str = "rank") -> dict[str, np.ndarray]:
    function = model.signatures[signature]
    tensors = {
        name: tf.constant(inputs[name], spec.dtype) for name, spec in function.structured_input_signature[1].items()
    }
    return {name: values.numpy() for name, values in function(**tensors).items()}


def stack(*requests: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One batch of requests, padded as a client pads: history on the left, the rest on the right."""
    batch = {}
    for name, (kind, rank) in SPEC.serving_inputs().items():
        rows = [inputs[name] for inputs in requests]
        if rank == 2:
            width = max(row.shape[1] for row in rows)
            missing = [(0, 0)] if name.startswith("history_") else None
            rows = [
                np.pad(
                    row,
                    [(0, 0), (width - row.shape[1], 0) if missing else (0, width - row.shape[1])],
                    constant_values=kind.absent,
                )
                for row in rows
            ]
        batch[name] = np.concatenate(rows)
    return batch


class TestSignatures:
    def test_names(self, model):
        assert set(model.signatures) == {"serving_default", "rank", "score", "score_examples"}

    @pytest.mark.parametrize("signature", ["rank", "serving_default", "score"])
    def test_inputs(self, model, signature):
        expected = {
            name: (DTYPES[kind], [None] * rank)
            for name, (kind, rank) in SPEC.serving_inputs().items()
            if signature != "score" or name != "epsilon"
        }
        specs = model.signatures[signature].structured_input_signature[1]
        assert {name: (spec.dtype, spec.shape.as_list()) for name, spec in specs.items()} == expected

    def test_outputs_of_rank(self, model):
        for signature in ("rank", "serving_default"):
            outputs = model.signatures[signature].structured_outputs
            assert {name: spec.dtype for name, spec in outputs.items()} == OUTPUTS
        for name, values in call(model, stack(request(), request(user="u2"))).items():
            assert values.shape == (2, T), name

    def test_outputs_of_score(self, model):
        scores = call(model, request(), "score")
        assert list(scores) == ["click_probability"] and scores["click_probability"].shape == (1, len(CANDIDATES))

    def test_outputs_of_score_examples(self, model, reader):
        rng = np.random.default_rng(3)
        examples = [sessions.to_example(sessions.random_session(rng)) for _ in range(5)]
        outputs = model.signatures["score_examples"](examples=tf.constant(examples))
        assert {name: (spec.dtype, spec.shape.as_list()) for name, spec in outputs.items()} == {
            name: (tf.float32, [5, T]) for name in ("click_probability", "q_channel", "q_item")
        }


def test_the_export_is_the_trained_network(model, model_dir):
    network, reader, _ = training.load(str(model_dir))
    rng = np.random.default_rng(3)
    examples = [sessions.to_example(sessions.random_session(rng)) for _ in range(5)]
    served = model.signatures["score_examples"](examples=tf.constant(examples))
    for name, values in network(reader.read(examples)).items():
        np.testing.assert_allclose(served[name], values, atol=1e-5)


def test_a_list_of_different_candidates_with_their_own_channels(model):
    ranked = call(model, request())
    channels = {item: channel for item, channel, _ in CANDIDATES}
    shown = [name.decode() for name in ranked["item_id"][0]]
    assert len(set(shown)) == T and set(shown) <= set(channels)
    assert [name.decode() for name in ranked["channel"][0]] == [channels[name] for name in shown]
    assert (0 < ranked["click_probability"]).all() and (ranked["click_probability"] < 1).all()
    np.testing.assert_array_equal(ranked["propensity_channel"] * ranked["propensity_item"], 1)
    assert ranked["explored"].max() == 0


def test_rank_and_score_agree_on_the_first_item(model):
    inputs = request()
    ranked, scores = call(model, inputs), call(model, inputs, "score")["click_probability"][0]
    shown = [item for item, *_ in CANDIDATES].index(ranked["item_id"][0, 0].decode())
    np.testing.assert_allclose(ranked["click_probability"][0, 0], scores[shown], atol=1e-5)


@pytest.mark.parametrize("count", [1, T - 1])
def test_fewer_candidates_than_positions(model, count):
    ranked = call(model, request(CANDIDATES[:count]))
    assert sorted(ranked["item_id"][0, :count]) == sorted(item.encode() for item, *_ in CANDIDATES[:count])
    for name, values in ranked.items():
        assert all(value in (b"", 0) for value in values[0, count:]), name


def test_duplicates_are_shown_once(model):
    ranked = call(model, request([CANDIDATES[0], CANDIDATES[1], CANDIDATES[0], CANDIDATES[1]], epsilon=np.ones(1)))
    assert sorted(ranked["item_id"][0]) == [b"", b"", b"item_id0", b"item_id1"]
    np.testing.assert_allclose((ranked["propensity_channel"] * ranked["propensity_item"])[0], [0.5, 1, 0, 0])


def test_exploration_of_channels_is_in_the_graph(model_dir):
    """Its share comes with the model; epsilon stays the only input. Four candidates: two of news, one of each other."""
    network, reader, _ = training.load(str(model_dir))
    network.config = dataclasses.replace(network.config, channel_exploration=0.5)
    rank = export._trace(export.ServingModule(network, reader).rank, serving_request.input_specs(SPEC))
    draws, four = 4000, request(CANDIDATES[:4], epsilon=np.full(1, 0.8))
    dtypes = {name: spec.dtype for name, spec in serving_request.input_specs(SPEC).items()}
    tf.random.set_seed(4)
    ranked = rank(**{name: tf.constant(np.repeat(four[name], draws, axis=0), dtypes[name]) for name in dtypes})
    first, counts = np.unique(ranked["item_id"].numpy()[:, 0], return_counts=True)
    propensity = (ranked["propensity_channel"] * ranked["propensity_item"]).numpy()[:, 0].astype(float)
    expected = np.array([propensity[ranked["item_id"][:, 0] == name][0] for name in first])
    np.testing.assert_allclose(expected.sum(), 1.0, rtol=1e-5)
    assert len(set(expected.round(5))) >= 3  # the policy's item, the best of another channel, any other one
    assert stats.chisquare(counts, draws * expected / expected.sum()).pvalue > 1e-3


def test_everything_unknown(model):
    """User, items, channels, tags, features: all answered, and told apart by their own names."""
    strangers = [("x", "radio", "new"), ("y", "podcast", "new|newer"), ("z", "radio", "")]
    inputs = request(strangers, user="nobody knows me", user_age_band=np.array(["none"], object))
    inputs["candidate_item_author"][:] = "somebody"
    ranked = call(model, inputs)
    assert sorted(ranked["item_id"][0]) == [b"", b"x", b"y", b"z"]
    assert all(np.isfinite(values).all() for name, values in ranked.items() if name not in ("item_id", "channel"))


@pytest.mark.parametrize("history", [0, 1, SPEC.history_length, SPEC.history_length + 5])
def test_histories_of_any_length(model, history):
    inputs = request(history=history)
    ranked = call(model, inputs)
    # Rows beyond the newest H do not matter, nor does padding on the left.
    kept = {n: v[:, -SPEC.history_length :] if n.startswith("history_") else v for n, v in inputs.items()}
    padded = stack(kept, request(user="u2", history=SPEC.history_length))
    for name, values in call(model, padded).items():
        compare = np.testing.assert_array_equal if values.dtype == object else np.testing.assert_allclose
        compare(values[:1], ranked[name], **({} if values.dtype == object else {"atol": 1e-5}))


def test_the_history_matters(model):
    inputs = request()
    clicked = {**inputs, "history_clicks": 1 - np.minimum(inputs["history_clicks"], 1)}
    before, after = (call(model, given, "score")["click_probability"] for given in (inputs, clicked))
    assert np.abs(before - after).max() > 1e-6


def test_a_batch_equals_single_calls(model):
    users = [
        request(),
        request(CANDIDATES[3:5], history=0, user="somebody"),
        request(CANDIDATES[1:], history=SPEC.history_length, user="user_id2"),
    ]
    for signature in ("rank", "score"):
        together = call(model, stack(*users), signature)
        for row, alone in enumerate(users):
            for name, values in call(model, alone, signature).items():
                mine, other = together[name][row, : values.shape[1]], values[0]
                if values.dtype == object:
                    assert mine.tolist() == other.tolist()
                else:
                    np.testing.assert_allclose(mine, other, atol=1e-5, err_msg=name)
    padded = call(model, stack(*users), "score")["click_probability"]
    assert padded[1, 2:].max() == 0


def padded_by_repetition(inputs: dict[str, np.ndarray], more: int) -> dict[str, np.ndarray]:
    """As TensorFlow Serving's `pad_variable_length_inputs` pads one request: on the right, with the first element."""
    longer = dict(inputs)
    for name, values in inputs.items():
        if name.startswith(("candidate_", "profile_")):
            longer[name] = np.concatenate([values, np.repeat(values[:, :1], more, axis=1)], axis=1)
    return longer


@pytest.mark.parametrize("history", [0, 3])
def test_padding_on_the_right_by_repetition_changes_nothing(model, history):
    inputs = request(CANDIDATES[:6], history)
    padded = padded_by_repetition(inputs, 5)
    ranked = call(model, inputs)
    for name, values in call(model, padded).items():
        compare = np.testing.assert_array_equal if values.dtype == object else np.testing.assert_allclose
        compare(values, ranked[name], **({} if values.dtype == object else {"atol": 1e-6}))
    scores, longer = (call(model, each, "score")["click_probability"] for each in (inputs, padded))
    np.testing.assert_allclose(longer[:, :6], scores, atol=1e-6)
    np.testing.assert_allclose(longer[:, 6:], np.repeat(scores[:, :1], 5, axis=1), atol=1e-6)


def test_a_repeated_candidate_counts_once_among_the_drawn(model):
    tf.random.set_seed(2)
    draws = 2000
    padded = padded_by_repetition(request(CANDIDATES[:5], epsilon=np.ones(1)), 10)
    ranked = call(model, {name: np.repeat(values, draws, axis=0) for name, values in padded.items()})
    propensity = ranked["propensity_channel"] * ranked["propensity_item"]
    np.testing.assert_allclose(propensity, np.tile(1 / np.arange(5, 5 - T, -1), (draws, 1)), rtol=1e-5)
    np.testing.assert_allclose((ranked["item_id"][:, 0] == CANDIDATES[0][0].encode()).mean(), 0.2, atol=0.05)


def test_a_repeated_profile_entry_counts_once(model):
    inputs = request()
    doubled = {**inputs, "profile_tag": np.array([["tags1", "tags1"]], object)}
    single = {name: v[:, :1] if name.startswith("profile_tag") else v for name, v in doubled.items()}
    for name, values in call(model, single, "score").items():
        np.testing.assert_allclose(call(model, doubled, "score")[name], values, atol=1e-6)


def test_odd_numbers_are_answered(model):
    inputs = request()
    inputs["history_dwell_seconds"] = np.array([[np.nan, np.inf, -3.0]])
    inputs["candidate_item_length_seconds"][0, :2] = np.nan, np.inf
    inputs["user_tenure_days"] = np.array([-np.inf])
    inputs["profile_tag_impressions"][:] = 2**60
    assert np.isfinite(call(model, inputs)["click_probability"]).all()


def narrower(inputs: dict, name: str) -> dict:
    return {**inputs, name: inputs[name][:, :-1]}


TWO = stack(request(), request(user="u2"))
REFUSED = {
    "no candidates": (request([]), "every request needs at least one candidate"),
    "only padding": (request([("", "", "")]), "every request needs at least one candidate"),
    "one user without": (
        {**TWO, "candidate_item_id": np.where([[True], [False]], TWO["candidate_item_id"], "")},
        "every request needs at least one candidate",
    ),
    "no channel": (request([("a", "", "")]), "every candidate with an item_id needs a channel"),
    "no history channel": (
        {
            **TWO,
            "history_channel": np.array([["channel1", "channel1", "channel1"], ["channel1", "channel1", ""]], object),
        },
        "history_channel must not be empty where history_item_id names an item",
    ),
    "epsilon above 1": (request(epsilon=np.array([1.5])), "epsilon must lie between 0 and 1"),
    "epsilon below 0": (request(epsilon=np.array([-0.1])), "epsilon must lie between 0 and 1"),
    "epsilon nan": (request(epsilon=np.array([np.nan])), "epsilon must lie between 0 and 1"),
    "epsilon too long": (request(epsilon=np.zeros(2)), "epsilon must have one row per request"),
    "epsilon too short": ({**TWO, "epsilon": np.zeros(1)}, "epsilon must have one row per request"),
    "timestamps": ({**TWO, "timestamp": TWO["timestamp"][:1]}, "timestamp must have one row per request"),
    "user feature": ({**TWO, "user_age_band": TWO["user_age_band"][:1]}, "user_age_band must have one row per request"),
    "history rows": ({**TWO, "history_clicks": TWO["history_clicks"][:1]}, "history_clicks must have"),
    "history": (narrower(request(), "history_clicks"), "history_clicks must have the shape of history_item_id"),
    "channel": (narrower(request(), "candidate_channel"), "candidate_channel must have the shape of candidate_item_id"),
    "tags": (narrower(request(), "candidate_tags"), "candidate_tags must have the shape of candidate_item_id"),
    "author": (narrower(request(), "candidate_item_author"), "candidate_item_author must have the shape of"),
    "profile": (narrower(request(), "profile_tag_clicks"), "profile_tag_clicks must have the shape of profile_tag"),
    "profile channel": (
        narrower(request(), "profile_channel_impressions"),
        "profile_channel_impressions must have the shape of profile_channel",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_requests(model, name):
    inputs, rule = REFUSED[name]
    for signature in ("rank",) if "epsilon" in name else ("rank", "score"):
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            call(model, inputs, signature)
        sentence = caught.value.message.partition("assertion failed: [")[2]
        assert sentence.startswith(f"hrlrec: {rule}"), caught.value.message


def test_no_request_gets_no_list(model):
    ranked = call(model, {name: values[:0] for name, values in request().items()})
    assert all(values.shape == (0, T) for values in ranked.values())


class TestWarmup:
    def test_the_file_replays(self, model, exported):
        requests = []
        for record in tf.data.TFRecordDataset(str(exported / warmup.FILE_NAME)):
            requests.append(prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request)
        assert [each.model_spec.signature_name for each in requests] == ["rank", "score"] * len(warmup.COUNTS)
        for each in requests:
            inputs = {name: tf.make_ndarray(proto) for name, proto in each.inputs.items()}
            outputs = call(model, inputs, each.model_spec.signature_name)
            assert np.isfinite(outputs["click_probability"]).all()
            assert set(each.inputs) == set(
                model.signatures[each.model_spec.signature_name].structured_input_signature[1]
            )

    def test_candidates_are_known_items_of_all_channels(self, reader):
        inputs = warmup.canned_inputs(reader, candidates=7)
        assert set(inputs["candidate_item_id"][0]) <= set(reader.vocabulary("item_id"))
        assert inputs["candidate_item_id"].shape == (1, 7)
        assert set(inputs["candidate_channel"][0]) == set(sessions.CHANNELS)
        assert (inputs["history_item_id"] != "").all()


class TestFolders:
    def test_versions_count_up_and_nothing_else_stays(self, exported):
        assert [folder.name for folder in exported.parent.iterdir()] == ["1"]
        assert exported.stat().st_mode & 0o755 == 0o755

    def test_a_version_is_never_overwritten(self, model_dir, exported):
        with pytest.raises(ModelError, match="exists; a model version is never overwritten"):
            export.export_saved_model(str(model_dir), str(exported))

    def test_an_unfinished_model_is_refused(self, tmp_path):
        with pytest.raises(ModelError, match="holds no finished model; run hrlrec train"):
            export.export_saved_model(str(tmp_path / "model"), str(tmp_path / "out"))
        assert not (tmp_path / "out").exists()

    def test_a_failure_leaves_nothing_behind(self, model_dir, tmp_path, monkeypatch):
        def fail(*_, **__):
            raise OSError("disk full")

        monkeypatch.setattr(tf.saved_model, "save", fail)
        monkeypatch.setattr(export.ServingModule, "signatures", lambda self: {})
        with pytest.raises(OSError, match="disk full"):
            export.export_saved_model(str(model_dir), str(tmp_path / "served" / "1"))
        assert list((tmp_path / "served").iterdir()) == []


def test_split_tags():
    tags = serving_request.split_tags(tf.constant([["a|b|c", "", "a"]]), 2)
    assert tags.numpy().tolist() == [[[b"a", b"b"], [b"", b""], [b"a", b""]]]
