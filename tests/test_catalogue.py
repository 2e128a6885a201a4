"""Items inside the export: read from sessions or a file, looked up by id, found without candidates."""

import pathlib

import numpy as np
import oracles
import pandas as pd
import pytest
import sessions
import tensorflow as tf
import tiny
from tensorflow_serving.apis import prediction_log_pb2
from test_export import call, request, stack

from hrlrec_tf import export, training, verbs, warmup
from hrlrec_tf.agents.builder import build_network
from hrlrec_tf.baselines.rl.designs import DESIGNS
from hrlrec_tf.catalogue import ItemCatalogue
from hrlrec_tf.catalogue_lookup import CatalogueLookup, Retrieval
from hrlrec_tf.data.item_counts import features as count_features
from hrlrec_tf.data.requests import Catalogue
from hrlrec_tf.errors import DataError, ModelError
from hrlrec_tf.networks.actor import to_action_space
from hrlrec_tf.ranking import Ranker
from hrlrec_tf.serving_request import read_user

SPEC = sessions.SPEC


@pytest.fixture(scope="module")
def catalogue(prepared) -> ItemCatalogue:
    return ItemCatalogue.read(prepared, SPEC)


@pytest.fixture(scope="module")
def exported(model_dir, prepared, tmp_path_factory) -> pathlib.Path:
    base = tmp_path_factory.mktemp("served")
    tiny.run_verb(verbs.EXPORT, f"--model={model_dir} --out={base} --catalogue={prepared}")
    return base / "1"


@pytest.fixture(scope="module")
def model(exported):
    return tf.saved_model.load(str(exported))


@pytest.fixture(scope="module")
def offline(model_dir, catalogue) -> export.ServingModule:
    """The module before any export."""
    network, reader, _ = training.load(str(model_dir))
    return export.ServingModule(network, reader, catalogue)


def of_catalogue(catalogue: ItemCatalogue, places: list[int], user: str = "user_id1", **given) -> dict[str, np.ndarray]:
    """A request all of whose items, in the history too, are as the catalogue has them."""
    columns = catalogue.columns
    inputs = request([("", "", "")] * len(places), user=user, **given)
    for prefix, chosen in (("candidate_", places), ("history_", [place % len(catalogue) for place in (5, 0, 3)])):
        for name in SPEC.item:
            inputs[prefix + name] = columns[name][chosen][np.newaxis]
    return inputs


def check_equal(mine: dict[str, np.ndarray], other: dict[str, np.ndarray], atol: float = 1e-5) -> None:
    for name, values in other.items():
        if values.dtype == object:
            assert mine[name].tolist() == values.tolist(), name
        else:
            np.testing.assert_allclose(mine[name], values, atol=atol, err_msg=name)


class TestSignatures:
    def test_inputs_and_outputs(self, model):
        inputs = {name: set(model.signatures[name].structured_input_signature[1]) for name in model.signatures}
        columns = {"channel", "tags", "item_author", "item_length_seconds"}
        of_items = {f"{prefix}_{name}" for prefix in ("candidate", "history") for name in columns}
        assert inputs["rank"] - inputs["rank_ids"] == of_items and not inputs["rank_ids"] - inputs["rank"]
        assert inputs["rank_ids"] - inputs["recommend"] == {"candidate_item_id"}
        outputs = {name: set(model.signatures[name].structured_outputs) for name in model.signatures}
        assert outputs["recommend"] == outputs["rank"] == outputs["rank_ids"] - {"unknown_candidates"}

    def test_ids_alone_give_the_list_of_their_features(self, model, catalogue):
        users = [
            of_catalogue(catalogue, [0, 3, 4, 7, 9]),
            of_catalogue(catalogue, [8, 2, 1, 5, 6, 10, 11], user="somebody"),
        ]
        batch = stack(*users)
        ranked = call(model, batch, "rank_ids")
        assert ranked.pop("unknown_candidates").tolist() == [0, 0]
        check_equal(ranked, call(model, batch, "rank"))

    def test_unknown_ids_are_left_out_and_counted(self, model, catalogue):
        known = of_catalogue(catalogue, [0, 3, 4])
        more = {**known, "candidate_item_id": np.array([["x", *known["candidate_item_id"][0], "", "y", "x"]], object)}
        ranked = call(model, more, "rank_ids")
        assert ranked.pop("unknown_candidates").tolist() == [2]  # "x" is one, however often it stands there
        check_equal(ranked, call(model, known, "rank"))

    def test_no_known_id_is_refused(self, model, catalogue):
        inputs = {**of_catalogue(catalogue, [0]), "candidate_item_id": np.array([["x"]], object)}
        with pytest.raises(tf.errors.InvalidArgumentError, match="hrlrec: no candidate of a request is in the"):
            call(model, inputs, "rank_ids")

    def test_an_item_that_left_the_catalogue_may_stand_in_the_history(self, model, catalogue):
        inputs = of_catalogue(catalogue, [0, 3, 4, 5])
        inputs["history_item_id"] = np.array([["gone", "", "item_id1"]], object)
        assert np.isfinite(call(model, inputs, "rank_ids")["click_probability"]).all()

    def test_without_candidates_the_whole_small_catalogue_is_ranked(self, model, catalogue):
        users = stack(*(of_catalogue(catalogue, list(range(len(catalogue))), user=f"user_id{n}") for n in range(3)))
        check_equal(call(model, users, "recommend"), call(model, users, "rank"))

    def test_warmup_replays(self, model, exported):
        signatures = []
        for record in tf.data.TFRecordDataset(str(exported / warmup.FILE_NAME)):
            each = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
            signatures.append(each.model_spec.signature_name)
            inputs = {name: tf.make_ndarray(proto) for name, proto in each.inputs.items()}
            call(model, inputs, signatures[-1])
        assert set(signatures) == {"rank", "score", "rank_ids", "recommend"}


def test_offline_and_exported_give_the_same(model, offline, catalogue):
    """Golden requests through every signature: the functions in the trainer's process, and the loaded SavedModel."""
    golden = stack(
        of_catalogue(catalogue, [0, 3, 4, 7, 9]),
        of_catalogue(catalogue, [2, 1], user="somebody"),
        of_catalogue(catalogue, list(range(12)), user="user_id2"),
    )
    specs = export.input_specs(SPEC)
    tensors = {name: tf.constant(values, specs[name].dtype) for name, values in golden.items()}
    for signature in ("rank", "score", "rank_ids", "recommend"):
        names = model.signatures[signature].structured_input_signature[1]
        here = getattr(offline, signature)({name: tensors[name] for name in names})
        check_equal(call(model, golden, signature), {name: values.numpy() for name, values in here.items()})
    rng = np.random.default_rng(3)
    examples = tf.constant([sessions.to_example(sessions.random_session(rng)) for _ in range(5)])
    served = model.signatures["score_examples"](examples=examples)
    for name, values in offline.score_examples({"examples": examples}).items():
        np.testing.assert_allclose(served[name], values, atol=1e-5)


def test_retrieval_takes_the_nearest_of_each_channel(offline, catalogue, model_dir):
    """By a loop over the items of each channel, with the item level's action at the first position under it."""
    network, reader, _ = training.load(str(model_dir))
    ranker, lookup = Ranker(network), CatalogueLookup(catalogue, reader, network)
    specs = export.input_specs(SPEC)
    inputs = {n: tf.constant(v, specs[n].dtype) for n, v in of_catalogue(catalogue, [0]).items()}
    user = ranker.read(read_user(inputs, reader))
    places = Retrieval(lookup, ranker, per_channel=2).places(user).numpy()[0]
    items, embeddings = lookup.at(tf.range(len(catalogue), dtype=tf.int64)[tf.newaxis])
    items_in_space = to_action_space(embeddings, network.config.action_space).numpy()[0].astype(float)
    expected = []
    for channel in np.unique(catalogue.columns["channel"]):
        inside = np.flatnonzero(catalogue.columns["channel"] == channel)
        number = int(items.rows["channel"][0, inside[0]])
        action = ranker.first_actions(user).numpy()[0, number].astype(float)
        expected += sorted(inside, key=lambda i: -oracles.cosine(action, items_in_space[i]))[:2]
    assert places.tolist() == expected


def test_a_level_without_an_actor_recommends_nothing(reader, catalogue):
    network = build_network(tiny.config(), reader, design=DESIGNS["dqn-gru"])
    module = export.ServingModule(network, reader, catalogue)
    assert module.lookup is not None and module.retrieval is None


class TestReading:
    def test_of_sessions_each_item_counts_as_displayed_last(self, prepared, catalogue):
        rows = Catalogue.from_sessions(prepared).rows
        latest = rows.drop_duplicates("item_id", keep="last").set_index("item_id")
        found = pd.DataFrame(catalogue.columns).set_index("item_id")
        assert len(found) == len(latest) and set(found.index) == set(latest.index)
        for name in set(SPEC.item) - {"item_id"}:
            assert found[name].to_dict() == latest[name].to_dict(), name

    def test_item_counts_are_those_of_the_whole_log(self):
        rows = pd.DataFrame(
            {
                "timestamp": [0, 1000, 90_000_000],
                "item": [0, 1, 0],
                "clicks": [1, 0, 1],
                "item_id": ["a", "b", "a"],
                "channel": ["x", "x", "y"],
                "item_click_rate": [0.0, 0.0, 0.0],
                "item_log_impressions": [0.0, 0.0, 0.0],
            }
        )
        rule = {"refresh_seconds": 86400, "strength": 2.0, "prior_click_rate": 0.5}
        latest = Catalogue(rows, 2, rule).latest()
        assert latest["item_id"].tolist() == ["a", "b"] and latest["channel"].tolist() == ["y", "x"]
        made = count_features(np.array([2, 1]), np.array([2, 0]), 0.5, 2.0)
        for name, values in made.items():
            np.testing.assert_allclose(latest[name], values)

    @pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
    def test_of_a_file(self, tmp_path, catalogue, suffix):
        rows, path = pd.DataFrame(catalogue.columns).assign(more=1), tmp_path / f"items.{suffix}"
        if suffix == "parquet":
            rows.assign(tags=[text.split("|") for text in rows["tags"]]).to_parquet(path)
        elif suffix == "csv":
            rows.to_csv(path, index=False)
        else:
            rows.to_json(path, orient="records", lines=True)
        found = ItemCatalogue.read(path, SPEC)
        for name, values in catalogue.columns.items():
            compare = np.testing.assert_array_equal if values.dtype == object else np.testing.assert_allclose
            compare(found.columns[name], values, err_msg=name)

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            (lambda rows: rows.drop(columns="item_author"), "lacks the column item_author"),
            (lambda rows: rows.drop(columns="channel"), "lacks the column channel"),
            (lambda rows: rows[:0], "holds no items; give at least one row"),
            (lambda rows: pd.concat([rows, rows[:1]]), "stands twice, again in row 13; keep one row"),
            (lambda rows: rows.assign(item_id=["", *rows["item_id"][1:]]), "item_id is empty in row 1"),
            (lambda rows: rows.assign(channel=[*rows["channel"][:-1], None]), "channel is empty in row 12"),
            (lambda rows: rows.assign(item_id=["a\nb", *rows["item_id"][1:]]), "item_id holds a line break in row 1"),
            (lambda rows: rows.assign(item_length_seconds="long"), "item_length_seconds must be a number, got 'long'"),
            (lambda rows: rows.assign(item_author=1.5), "item_author must be text, got 1.5 in row 1; write a string"),
        ],
    )
    def test_refused(self, catalogue, change, sentence):
        with pytest.raises(DataError) as caught:
            ItemCatalogue.of_frame(change(pd.DataFrame(catalogue.columns)), SPEC, "items.csv")
        assert sentence in str(caught.value) and str(caught.value).startswith("items.csv: ")

    def test_an_absent_number_is_none(self, catalogue):
        rows = pd.DataFrame(catalogue.columns).astype({"item_length_seconds": object})
        rows.loc[0, "item_length_seconds"] = ""
        assert np.isnan(ItemCatalogue.of_frame(rows, SPEC, "items.csv").columns["item_length_seconds"][0])

    def test_no_such_file(self, tmp_path):
        for name in ("none.parquet", "items.txt"):
            with pytest.raises(DataError, match="an item catalogue is a folder of `hrlrec prepare` or a file"):
                ItemCatalogue.read(tmp_path / name, SPEC)
        (tmp_path / "bad.parquet").write_text("no")
        with pytest.raises(DataError, match="cannot be read as parquet"):
            ItemCatalogue.read(tmp_path / "bad.parquet", SPEC)


def test_a_model_that_builds_no_lists_carries_none(monkeypatch):
    monkeypatch.setattr("hrlrec_tf.models.load", lambda _: (object(), None, None))
    with pytest.raises(ModelError, match="builds no lists; leave --catalogue and --quotas out"):
        export.serving_module("model", catalogue="items.csv")
