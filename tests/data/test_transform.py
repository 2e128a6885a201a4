"""Ids and z-scores, of a log with everything and of one with next to nothing."""

import pathlib

import numpy as np
import pytest
import sessions
import tensorflow as tf
import tiny

from hrlrec_tf.data import schema, transform
from hrlrec_tf.data.input import SessionReader
from hrlrec_tf.features import FeatureSpec, Kind

SPEC = sessions.SPEC
PRICES = {"a": 10.0, "b": 20.0, "c": float("nan")}
POOR = FeatureSpec(
    list_length=2,
    history_length=1,
    max_tags=2,
    optional={
        "user_note": Kind.STRING,  # always empty
        "user_age": Kind.FLOAT,  # always missing
        "context_version": Kind.FLOAT,  # always .1
        "item_price": Kind.FLOAT,
    },
)


def poor_session(item: str) -> dict:
    """One displayed item, one row of padding, no history, no tags."""
    session = {name: [kind.absent] * (POOR.width(name) or 0) for name, kind in POOR.session.items()}
    session |= {"user_id": ["u"], "user_age": [float("nan")], "context_version": [0.1], "timestamp": [1]}
    return session | {
        "item_id": [item, ""],
        "channel": ["news", ""],
        "item_price": [PRICES[item], 0.0],
        "weight": [1.0, 0.0],
    }


@pytest.fixture(scope="module")
def poor(tmp_path_factory) -> SessionReader:
    """Reader of a log without tags, with an empty, a missing and a constant column."""
    folder = tmp_path_factory.mktemp("poor")
    log = schema.to_schema(POOR)
    sessions.write(
        folder / "sessions-0.tfrecord.gz", [sessions.to_example(poor_session(item), POOR) for item in "aabc"]
    )
    transform.fit(str(folder / "*.gz"), log, str(folder / "transform"))
    return SessionReader(log, str(folder / "transform"))


def training_rows(prepared: pathlib.Path, name: str) -> np.ndarray:
    """Values of a feature over the training sessions."""
    feature = {Kind.STRING: tf.string, Kind.INT: tf.int64, Kind.FLOAT: tf.float32}[SPEC.session[name]]
    records = tf.data.TFRecordDataset(str(prepared / "train" / "sessions-0.tfrecord.gz"), "GZIP")
    width = SPEC.width(name)
    return np.stack(
        [tf.io.parse_single_example(r, {name: tf.io.FixedLenFeature([width], feature)})[name] for r in records]
    )


class TestStrings:
    @pytest.mark.parametrize("name", ["user_id", "item_id", "channel", "tags", "user_age_band", "item_author"])
    def test_ids_count_from_1_in_order_of_frequency(self, reader, prepared, name):
        values, counts = np.unique(training_rows(prepared, name), return_counts=True)
        frequency = {value.decode(): count for value, count in zip(values, counts) if value}
        vocabulary = reader.vocabulary(name)
        assert set(vocabulary) == set(frequency) and reader.sizes[name] == len(vocabulary) + 2
        ordered = [frequency[value] for value in vocabulary]
        assert ordered == sorted(ordered, reverse=True)

    def test_padding_known_and_unknown(self, reader):
        session = sessions.random_session(np.random.default_rng(0), rows=4)
        known = reader.vocabulary("item_id")
        session["item_id"] = [known[0], known[-1], "unheard of", ""]
        batch = tiny.read(reader, session)
        assert batch["item_id"].numpy().tolist() == [[1, len(known), len(known) + 1, 0]]
        assert len(known) + 1 < reader.sizes["item_id"]

    def test_list_history_and_profile_share_a_vocabulary(self, reader):
        session = sessions.random_session(np.random.default_rng(0), rows=4, seen=6)
        session |= {"tags": ["tags3"] * 8, "history_tags": ["tags3"] * 12, "profile_tag": ["tags3", "tags3"]}
        session |= {"channel": ["video"] * 4, "history_channel": ["video"] * 6, "profile_channel": ["video", "video"]}
        batch = tiny.read(reader, session)
        for names in (("tags", "history_tags", "profile_tag"), ("channel", "history_channel", "profile_channel")):
            assert len({int(value) for name in names for value in batch[name].numpy().ravel()}) == 1
            assert reader.vocabulary(names[0])[int(batch[names[0]].numpy().ravel()[0]) - 1] in ("tags3", "video")

    def test_a_log_without_tags(self, poor):
        batch = tiny.read(poor, poor_session("a"))
        assert batch["tags"].numpy().tolist() == [[[0, 0], [0, 0]]]
        # A tag that a request brings is out of vocabulary, and there is an embedding for it.
        session = poor_session("a") | {"tags": ["new", "", "", ""], "user_note": ["hello"]}
        batch = tiny.read(poor, session)
        for name, value in (("tags", batch["tags"][0, 0, 0]), ("user_note", batch["user_note"][0])):
            assert 0 < int(value) == poor.sizes[name] - 1


class TestNumbers:
    def test_z_scores_of_items_leave_padding_out(self, reader, prepared):
        values, present = training_rows(prepared, "item_length_seconds"), training_rows(prepared, "item_id") != b""
        mean, deviation = values[present].mean(), values[present].std()
        session = sessions.random_session(np.random.default_rng(0), rows=4, seen=6)
        batch = tiny.read(reader, session)
        for name in ("item_length_seconds", "history_item_length_seconds"):
            np.testing.assert_allclose(
                batch[name][0], (np.array(session[name]) - mean) / deviation, rtol=1e-4, atol=1e-5
            )

    def test_z_scores_of_users(self, reader, prepared):
        values = training_rows(prepared, "user_tenure_days")
        session = sessions.random_session(np.random.default_rng(0))
        expected = (session["user_tenure_days"][0] - values.mean()) / values.std()
        np.testing.assert_allclose(tiny.read(reader, session)["user_tenure_days"], [expected], rtol=1e-4)

    def test_missing_values_read_as_the_mean(self, poor):
        prices = [tiny.read(poor, poor_session(item))["item_price"].numpy()[0, 0] for item in "abc"]
        # Known prices of the log: 10, 10, 20.
        deviation = np.std([10, 10, 20])
        np.testing.assert_allclose(prices, [(10 - 40 / 3) / deviation, (20 - 40 / 3) / deviation, 0], rtol=1e-5)

    def test_constant_and_empty_columns_are_zero(self, poor):
        batch = tiny.read(poor, poor_session("a"))
        assert batch["user_age"].numpy().tolist() == [0.0]
        np.testing.assert_allclose(batch["context_version"], [0.0], atol=1e-3)

    @pytest.mark.parametrize("value", [0.2, -5.0, 1e30, float("inf"), float("nan")])
    def test_whatever_a_request_brings_stays_finite(self, poor, value):
        session = poor_session("a") | {"user_age": [value], "context_version": [value], "item_price": [value, value]}
        batch = tiny.read(poor, session)
        assert all(np.isfinite(batch[name]).all() for name in ("user_age", "context_version", "item_price"))

    def test_a_new_value_of_a_constant_column_does_not_explode(self, poor):
        batch = tiny.read(poor, poor_session("a") | {"context_version": [0.2]})
        assert abs(batch["context_version"].numpy()[0]) < 100


class TestStructure:
    def test_names_and_dtypes(self, reader):
        batch = tiny.random_batch(reader, 2)
        assert set(batch) == set(SPEC.session) - {"request_id"}
        for name, values in batch.items():
            assert values.dtype == (tf.float32 if SPEC.session[name] is Kind.FLOAT else tf.int64), name

    @pytest.mark.parametrize("count", [1, 4, 800])
    def test_candidates_in_any_number(self, reader, count):
        session = sessions.random_session(np.random.default_rng(0), rows=4)
        raw = dict(reader.parse([sessions.to_example(session)]))
        for name in SPEC.item:
            kind, width = SPEC.session[name], count * (SPEC.max_tags if name == "tags" else 1)
            values = tf.constant([(session[name] * 400)[:width]], tf.float32 if kind is Kind.FLOAT else tf.string)
            raw[name] = tf.sparse.from_dense(values)
        batch, expected = reader.transform(raw), tiny.read(reader, session)
        for name in SPEC.item:
            assert batch[name].shape[:2] == (1, count)
            for row in (0, count - 1):
                np.testing.assert_array_equal(batch[name][0, row], expected[name][0, row % 4])

    def test_a_failed_fit_leaves_nothing_behind(self, tmp_path, monkeypatch):
        def fail(*_, **__):
            raise RuntimeError("no workers")

        monkeypatch.setattr(transform.beam, "Pipeline", fail)
        with pytest.raises(RuntimeError, match="no workers"):
            transform.fit("*", schema.to_schema(SPEC), str(tmp_path / "transform"))
        assert list(tmp_path.iterdir()) == []
