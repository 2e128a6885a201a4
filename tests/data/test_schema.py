import pathlib

import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_transform.tf_metadata import schema_utils

from hrlrec_tf.data import schema
from hrlrec_tf.errors import DataError
from hrlrec_tf.features import FeatureSpec, Kind

SCHEMAS = pathlib.Path(__file__).parents[2] / "schemas"
WIDE = FeatureSpec(4, 7, 3, {"user_age": Kind.FLOAT, "item_author": Kind.STRING, "context_device": Kind.STRING})


def test_the_curated_schema_is_that_of_the_features():
    assert schema.read(SCHEMAS / "schema.pbtxt") == schema.to_schema(FeatureSpec())


def test_every_feature_is_explained():
    text = (SCHEMAS / "README.md").read_text(encoding="utf-8")
    names = [name for name in FeatureSpec().session if not name.startswith("history_")]
    assert [name for name in names if f"`{name}`" not in text] == []


@pytest.mark.parametrize("spec", [FeatureSpec(), WIDE, FeatureSpec(60, 0, 1)])
def test_spec_survives_the_schema(tmp_path, spec):
    schema.write(schema.to_schema(spec), tmp_path / "schema.pbtxt")
    assert schema.from_schema(schema.read(tmp_path / "schema.pbtxt")) == spec


def test_what_tensorflow_parses():
    parsed = schema_utils.schema_as_feature_spec(schema.to_schema(WIDE)).feature_spec
    assert parsed["user_age"] == tf.io.FixedLenFeature([], tf.float32)
    assert parsed["timestamp"] == tf.io.FixedLenFeature([], tf.int64)
    assert parsed["history_tags"] == tf.io.FixedLenFeature([21], tf.string)
    assert parsed["item_author"] == parsed["profile_tag"] == tf.io.VarLenFeature(tf.string)
    assert set(parsed) == set(WIDE.session)


def test_other_schemas_are_refused(tmp_path):
    path = tmp_path / "schema.pbtxt"
    for text in ("", "no schema at all {", 'feature { name: "x" type: INT }'):
        path.write_text(text)
        with pytest.raises(DataError, match="schema"):
            schema.from_schema(schema.read(path))
    fewer = schema.to_schema(FeatureSpec())
    del fewer.feature[-1]
    path.write_text(text_format.MessageToString(fewer))
    with pytest.raises(DataError, match="features are not those"):
        schema.from_schema(schema.read(path))
    with pytest.raises(DataError, match="absent.pbtxt"):
        schema.read(tmp_path / "absent.pbtxt")
