"""A model goes on with sessions of values that it has never seen: nothing learnt is lost, everything new is learnt."""

import pathlib
import shutil
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
import sessions
import tensorflow as tf
import tiny

from hrlrec_tf import export, training, verbs
from hrlrec_tf.agents.builder import HRL_REC, build_agent
from hrlrec_tf.baselines.rl.designs import DESIGNS
from hrlrec_tf.config import Config
from hrlrec_tf.data import schema, vocabulary_join
from hrlrec_tf.data.input import SessionReader
from hrlrec_tf.errors import DataError
from hrlrec_tf.evaluation.request_panel import RequestPanel
from hrlrec_tf.evaluation.scoring import score_sessions
from hrlrec_tf.features import FeatureSpec, IdRule
from hrlrec_tf.growth import Growth
from hrlrec_tf.warm_start import WarmStart
from hrlrec_tf.warmup import canned_inputs

SETTINGS = tiny.TRAINED
NEW = {"item_id": "item_new", "channel": "shop", "tags": "tag_new"}


def tomorrow(folder: pathlib.Path, fitted: pathlib.Path) -> pathlib.Path:
    """Sessions in which every second list shows, of a new channel, one new item, which is always clicked."""
    rng = np.random.default_rng(11)
    for split, count in {"train": 40, "validation": 10, "eval": 10}.items():
        made = []
        for number in range(count):
            session = sessions.random_session(rng, rows=4)
            if number % 2:
                session["item_id"][1], session["channel"][1], session["tags"][2] = (
                    NEW["item_id"],
                    NEW["channel"],
                    NEW["tags"],
                )
                session["profile_channel"] = ["news", NEW["channel"]]
            session["clicks"] = [int(item == NEW["item_id"]) for item in session["item_id"]]
            made.append(sessions.to_example(session))
        sessions.write(folder / split / "sessions-0.tfrecord.gz", made)
    schema.write(schema.to_schema(sessions.SPEC), folder / "schema.pbtxt")
    (folder / "summary.json").write_text("{}")
    shutil.copytree(fitted, folder / "transform")  # with what fitting it on these sessions would find
    assets = folder / "transform" / "transform_fn" / "assets"
    for name, value in NEW.items():
        old = (assets / name).read_text().splitlines()[:-1]
        (assets / name).write_text("\n".join([value, *old]) + "\n")
    counts = [f"{20 - place} {item}" for place, item in enumerate((assets / "item_id").read_text().splitlines())]
    (assets / "item_impressions").write_text("\n".join(counts) + "\n")
    return folder


@pytest.fixture(scope="module")
def new_day(prepared, tmp_path_factory) -> pathlib.Path:
    return tomorrow(tmp_path_factory.mktemp("tomorrow"), prepared / "transform")


class Grown(NamedTuple):
    """Yesterday's agent and tomorrow's, before it is trained."""

    old: Any
    old_reader: SessionReader
    new: Any
    reader: SessionReader
    counts: Mapping[str, Mapping[str, int]]


@pytest.fixture(scope="module")
def grown(model_dir, new_day, tmp_path_factory) -> Grown:
    joined = tmp_path_factory.mktemp("joined") / "transform"
    vocabulary_join.join(str(model_dir / "transform"), str(new_day / "transform"), sessions.SPEC, joined)
    log = schema.read(model_dir / "schema.pbtxt")
    old_reader, reader = (SessionReader(log, str(each)) for each in (model_dir / "transform", joined))
    config = Config().override([*SETTINGS])
    agents = [build_agent(config, each) for each in (old_reader, reader)]
    WarmStart(str(model_dir), config, old_reader).take_over(agents[0], HRL_REC)
    start = WarmStart(str(model_dir), config, reader)
    start.take_over(agents[1], HRL_REC)
    return Grown(agents[0], old_reader, agents[1], reader, start.counts(agents[1].model))


def test_nothing_learnt_is_lost(grown):
    """Predictions on sessions of old values are what they were, by online and target networks."""
    before, after = (tiny.random_batch(reader, 24, seed=5) for reader in (grown.old_reader, grown.reader))
    for old, new in ((grown.old.model, grown.new.model), (grown.old.target, grown.new.target)):
        theirs, ours = old(before), new(after)
        assert set(ours) == {"click_probability", "q_channel", "q_item"}
        for name, values in theirs.items():
            np.testing.assert_allclose(ours[name], values, atol=1e-6, err_msg=name)


def test_every_row_follows_its_value(grown):
    old, new = (agent.model.embedding.vocabulary_tables for agent in (grown.old, grown.new))
    assert set(new) == {"item_id", "channel", "tags", "user_age_band", "context_device", "item_author"}
    for name, table in new.items():
        known, values = grown.old_reader.vocabulary(name), grown.reader.vocabulary(name)
        assert table.shape[0] == len(values) + 2 and values != known or name not in NEW
        for value in values:
            theirs = known.index(value) + 1 if value in known else len(known) + 1
            np.testing.assert_array_equal(table[values.index(value) + 1], old[name][theirs])


def test_moments_follow_and_new_ones_start_at_zero(grown):
    agents = (grown.old, grown.new)
    assert int(grown.new.train_step_counter) == int(grown.old.train_step_counter) > 0
    known, values = grown.old_reader.vocabulary("item_id"), grown.reader.vocabulary("item_id")
    places = [place for place, v in enumerate(grown.new.model.trainable_variables) if "items/item_id" in v.name]
    moments = [
        [agent.optimizer.variables[place - 2 * len(agent.model.trainable_variables)].numpy() for agent in agents]
        for place in (2 * places[0], 2 * places[0] + 1)
    ]
    for old, new in moments:
        assert new.shape == (len(values) + 2, 8) and np.abs(old[1:-1]).max() > 0
        for value in values:
            expected = old[known.index(value) + 1] if value in known else np.zeros(8)
            np.testing.assert_array_equal(new[values.index(value) + 1], expected)


def test_the_counts_say_what_happened(grown):
    news = {name: each for name, each in grown.counts.items() if each["added"]}
    assert {name: news[name]["added"] for name in news} == dict.fromkeys(NEW, 1)
    assert all(each["left_out"] == 0 for each in grown.counts.values())
    assert grown.counts["channel"] == {"kept": 3, "added": 1, "left_out": 0}


class TestTheNextDay:
    """One day of training through the command line, and all that hangs on channels behind it."""

    @pytest.fixture(scope="class")
    def learnt(self, model_dir, new_day, tmp_path_factory) -> tuple[pathlib.Path, Mapping[str, Any]]:
        out = tmp_path_factory.mktemp("learnt") / "model"
        words = f"--data={new_day} --out={out} --preset=paper --warm-start={model_dir}"
        weights = 'rewards.channel_weights={"shop": [1.0, 0.1, 0.1, 0.1]}'
        settings = (
            "training.epochs=2",
            "training.batch_size=4",
            "training.learning_rate=0.03",
            "network.critic_head=linear",
            weights,
        )
        tf.config.run_functions_eagerly(True)  # faster for few steps
        try:
            return out, tiny.run_verb(verbs.TRAIN, words, *(f"--set={each}" for each in settings))
        finally:
            tf.config.run_functions_eagerly(False)

    def test_it_says_how_many_values_got_rows(self, learnt, grown):
        assert learnt[1]["growth"] == grown.counts

    def test_a_new_item_and_a_new_channel_are_learnt(self, learnt, grown, new_day):
        network, reader, _ = training.load(str(learnt[0]))
        for name in ("item_id", "channel"):
            place = reader.vocabulary(name).index(NEW[name]) + 1
            table, start = (each.embedding.vocabulary_tables[name] for each in (network, grown.new.model))
            assert np.abs(table[place] - start[place]).max() > 0.01  # of its own: no longer that of unknown values
        margins = []
        for model, of in ((grown.new.model, grown.reader), (network, reader)):
            batch = of.read(list(tf.data.TFRecordDataset(str(new_day / "eval/sessions-0.tfrecord.gz"), "GZIP")))
            said, clicked = model(batch)["click_probability"].numpy(), batch["clicks"].numpy() > 0
            margins.append(said[clicked].mean() - said[~clicked].mean())
        assert margins[1] > margins[0] + 0.1, margins

    def test_lists_and_scores_of_the_new_channel(self, learnt, new_day, tmp_path, eager):
        """Where only the new channel has candidates it fills the list; evaluation tells its rows by name."""
        network, reader, _ = training.load(str(learnt[0]))
        session = sessions.random_session(np.random.default_rng(3), rows=4)
        session |= {"channel": [NEW["channel"]] * 4, "item_id": [NEW["item_id"], "item_id1", "unheard of", "item_id2"]}
        file = sessions.write(tmp_path / "sessions-0.tfrecord.gz", [sessions.to_example(session)] * 2)
        panel = RequestPanel(network, reader, [file], seed=0)
        assert panel.statistics().channel_shares == {NEW["channel"]: 1.0}
        rows = score_sessions(network, reader, [str(new_day / "eval/sessions-0.tfrecord.gz")])
        assert rows[rows["channel"] == NEW["channel"]]["prediction"].between(0, 1).sum() == 5

    @pytest.mark.slow
    def test_it_exports_and_ranks(self, learnt, tmp_path):
        export.export_saved_model(str(learnt[0]), str(tmp_path / "1"))
        _, reader, _ = training.load(str(learnt[0]))
        served = tf.saved_model.load(str(tmp_path / "1")).signatures["rank"]
        inputs = canned_inputs(reader)
        inputs["candidate_channel"][:] = NEW["channel"]
        ranked = served(**{name: tf.constant(values) for name, values in inputs.items()})
        assert set(ranked["channel"].numpy().ravel()) == {b"shop"} and (ranked["click_probability"] > 0).numpy().all()


@pytest.mark.parametrize("model", ["double-dueling-dqn", "ddpg"])
def test_the_competitors_grow_too(model, model_dir, grown, tmp_path):
    """Networks of one level, without the channel constraint: what both sizes have in common says the same."""
    config = Config().override([*SETTINGS])
    old, new = (build_agent(config, reader, DESIGNS[model]) for reader in (grown.old_reader, grown.reader))
    Growth(grown.old_reader, grown.reader, 0).carry_over(old, new)
    before, after = (tiny.random_batch(reader, 8, seed=2) for reader in (grown.old_reader, grown.reader))
    np.testing.assert_allclose(new.model(after)["q_item"], old.model(before)["q_item"], atol=1e-6)


class FakeReader:
    """As much of a reader as `Growth` asks for."""

    def __init__(self, items: list[str], rule: IdRule | None = None, own: int | None = None) -> None:
        self.spec = FeatureSpec(ids={} if rule is None else {"item_id": rule})
        self.items = items
        self.sizes = {"item_id": self.spec.id_rule("item_id").size(len(items) if own is None else own)}

    def vocabulary(self, _: str) -> list[str]:
        return self.items

    def sizes_for(self, _: int) -> dict[str, int]:
        return self.sizes


class TestRows:
    def test_other_orders_and_vanished_values(self):
        rows = Growth(FakeReader(["a", "b", "c"]), FakeReader(["c", "d", "a"]), 0).rows["item_id"]
        assert rows.source.tolist() == [0, 3, 4, 1, 4] and rows.new.tolist() == [False, False, True, False, False]
        assert rows.counts(1) == {"kept": 2, "added": 1, "left_out": 1}

    def test_several_ids_of_unknown_values(self):
        rule = IdRule(oov_buckets=3)
        rows = Growth(FakeReader(["a"], rule), FakeReader(["a", "b"], rule), 0).rows["item_id"]
        bucket = int(tf.strings.to_hash_bucket_fast("b", 3))
        assert rows.source.tolist() == [0, 1, 2 + bucket, 2, 3, 4]

    def test_rare_items_come_from_the_row_they_shared(self):
        rows = Growth(FakeReader(["a", "rare"], own=1), FakeReader(["rare", "a", "c"], own=2), 5).rows["item_id"]
        assert rows.source.tolist() == [0, 2, 1, 2] and rows.counts(1) == {"kept": 1, "added": 1, "left_out": 0}

    def test_hashed_ids_never_move(self):
        rule = IdRule("hashed", buckets=4)
        growth = Growth(FakeReader([], rule), FakeReader([], rule), 0)
        assert growth.rows["item_id"].source.tolist() == [0, 1, 2, 3, 4] and not growth.needed


def test_dropping_what_vanished(model_dir, new_day, tmp_path):
    vocabulary_join.join(
        str(model_dir / "transform"), str(new_day / "transform"), sessions.SPEC, tmp_path / "transform", keep=False
    )
    log = schema.read(model_dir / "schema.pbtxt")
    made, new = (SessionReader(log, str(each)) for each in (tmp_path / "transform", new_day / "transform"))
    for name in new.sizes:
        assert sorted(made.vocabulary(name)) == sorted(new.vocabulary(name))


def test_items_stay_in_order_of_their_larger_number_of_impressions(model_dir, new_day, grown):
    counts: dict[str, int] = {}
    for folder in (model_dir, new_day):
        for line in (folder / "transform/transform_fn/assets/item_impressions").read_text().splitlines():
            count, item = line.split(" ", 1)
            counts[item] = max(counts.get(item, 0), int(count))
    values = grown.reader.vocabulary("item_id")
    assert [counts[item] for item in values] == sorted(counts.values(), reverse=True)
    assert grown.reader.sizes_for(8)["item_id"] == sum(count >= 8 for count in counts.values()) + 2


def test_other_rules_of_ids_are_refused(model_dir):
    spec = FeatureSpec(ids={"item_id": IdRule(oov_buckets=9)})
    with pytest.raises(DataError, match="1 ids for unknown values of item_id .* these sessions 9"):
        vocabulary_join.check_rules("yesterday", FeatureSpec(), spec)
