"""Ids by rule: frequency cuts, several ids for unknown values, hashed ids; what is refused."""

import numpy as np
import pytest
import sessions
import tensorflow as tf
import tiny

from hrlrec_tf.data import parsing, schema, transform
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.data.input import SessionReader, as_sparse
from hrlrec_tf.data.sessions import feature_spec
from hrlrec_tf.data.validation import Layout
from hrlrec_tf.errors import ConfigError
from hrlrec_tf.features import FeatureSpec, IdRule, Kind

RULES = {
    "item_id": IdRule(min_count=8, oov_buckets=5),
    "user_id": IdRule("hashed", buckets=7),
    "channel": IdRule(oov_buckets=2),
}
SPEC = FeatureSpec(sessions.SPEC.list_length, sessions.SPEC.history_length, 2, sessions.SPEC.optional, RULES)


@pytest.fixture(scope="module")
def ruled(prepared, tmp_path_factory) -> SessionReader:
    """Reader of the tiny sessions, under RULES."""
    folder, log = tmp_path_factory.mktemp("ruled"), schema.to_schema(SPEC)
    schema.write(log, folder / "schema.pbtxt")
    transform.fit(str(prepared / "train" / "*"), log, str(folder / "transform"))
    assert not (folder / "transform/transform_fn/assets/user_id").exists()  # hashed: no list of users anywhere
    return SessionReader(schema.read(folder / "schema.pbtxt"), str(folder / "transform"))


def read(reader: SessionReader, **values: list) -> dict[str, tf.Tensor]:
    session = sessions.random_session(np.random.default_rng(0), rows=4)
    return tiny.read(reader, session | values)


def test_the_schema_carries_the_rules(ruled):
    assert ruled.spec == SPEC
    assert FeatureSpec.from_dict(SPEC.to_dict()) == SPEC


def test_a_frequency_cut(ruled, reader, prepared):
    often = [line.split(" ", 1) for line in _lines(prepared / "transform/transform_fn/assets/item_impressions")]
    kept = [item for count, item in often if int(count) >= 8]
    assert ruled.vocabulary("item_id") == kept and 0 < len(kept) < len(reader.vocabulary("item_id"))
    assert ruled.sizes["item_id"] == 1 + len(kept) + 5


def test_unknown_values_share_several_ids_and_keep_theirs(ruled):
    known = len(ruled.vocabulary("item_id"))
    ids = [
        read(ruled, item_id=[f"new{n}", f"new{n}", ruled.vocabulary("item_id")[0], ""])["item_id"].numpy()[0]
        for n in range(40)
    ]
    unknown = {int(each[0]) for each in ids}
    assert unknown == {known + 1 + bucket for bucket in range(5)}
    assert all(each[0] == each[1] and each[2] == 1 and each[3] == 0 for each in ids)


def test_hashed_ids_need_no_vocabulary(ruled):
    ids = {user: int(read(ruled, user_id=[user])["user_id"][0]) for user in (*map(str, range(60)), "")}
    assert ids.pop("") == 0 and set(ids.values()) == set(range(1, 8)) and ruled.sizes["user_id"] == 8
    assert ruled.vocabulary("user_id") == []


@pytest.mark.parametrize("count", [1, 800])
def test_candidates_of_a_request_read_as_displayed_items_do(ruled, count):
    items = [f"new{number % 7}" if number % 3 else "item_id3" for number in range(count)]
    session = sessions.random_session(np.random.default_rng(0), rows=4)
    raw = dict(ruled.parse([sessions.to_example(session)]))
    rows = {name: raw[name] for name in SPEC.item}
    for name, values in rows.items():
        width = count * (SPEC.max_tags if name == "tags" else 1)
        raw[name] = as_sparse(tf.zeros([1, width]) if values.dtype == tf.float32 else tf.fill([1, width], ""))
    raw["item_id"] = as_sparse(tf.constant([items]))
    served = ruled.transform(raw)["item_id"].numpy()[0]
    for item in set(items):
        shown = int(read(ruled, item_id=[item, "", "", ""])["item_id"][0, 0])
        assert {int(each) for each, name in zip(served, items, strict=True) if name == item} == {shown}


def test_rare_items_are_cut_by_the_vocabulary_or_by_the_network(ruled):
    with pytest.raises(ConfigError, match="needs a vocabulary of items with one id .* min_count instead"):
        ruled.sizes_for(3)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ({"item_id": {"kind": "hashed"}}, "hashed ids need `buckets`"),
        ({"item_id": {"kind": "hashed", "buckets": 5, "min_count": 2}}, "no `min_count`"),
        ({"item_id": {"buckets": 5}}, "`buckets` belongs to `kind: hashed`"),
        ({"item_id": {"oov_buckets": 0}}, "oov_buckets must be at least 1"),
        ({"clicks": {"oov_buckets": 2}}, "ids.clicks is no feature of text"),
        ({"channel": {"kind": "hashed", "buckets": 9}}, "ids.channel cannot be hashed"),
    ],
)
def test_contradictions(text, named):
    with pytest.raises(ConfigError, match=named):
        parsing.build(DatasetConfig, {"ids": text}, "")


@pytest.mark.parametrize(("name", "named"), [("user_city", "does not have"), ("user_age", "holds numbers")])
def test_columns_that_a_log_lacks(name, named):
    dataset = parsing.build(DatasetConfig, {"ids": {name: {"min_count": 2}}}, "")
    with pytest.raises(ConfigError, match=named):
        feature_spec(dataset, Layout(("user_id",), {"user_age": Kind.FLOAT}))


def _lines(path) -> list[str]:
    return path.read_text().splitlines()
