"""ImpressionScorer with a small exported model: which rows it writes, and with which values."""

import apache_beam as beam
import numpy as np
import pipeline_fakes as fakes
import pytest
import tensorflow as tf
from tfx import v1 as tfx
from tfx.types import artifact_utils

from hrlrec_tf.features import FeatureSpec
from tfx_pipeline.impression_scorer import ImpressionScorer, position_group


def session(user, weights, clicks=(0, 2, 0)):
    return fakes.example(
        {
            "user_id": [user],
            "item_id": ["a", "b", ""],
            "channel": ["news", "video", ""],
            "position": [1, 12, 0],
            "clicks": list(clicks),
            "weight": list(weights),
        }
    )


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Examples that the component wrote, as plain values, sorted by user and position."""
    folder = tmp_path_factory.mktemp("scorer")
    fakes.save_model(folder / "model" / "Format-Serving", FeatureSpec(list_length=3))
    sessions = [session("u1", [1.0, 1.0, 0.0]), session("ü2", [0.0, 1.0, 0.0])]
    impressions = fakes.artifact(tfx.types.standard_artifacts.Examples, folder / "impressions")
    ImpressionScorer.test_call(
        examples=fakes.examples_artifact(folder / "sessions", {"train": [session("no", [1.0] * 3)], "eval": sessions}),
        model=fakes.artifact(tfx.types.standard_artifacts.Model, folder / "model"),
        impressions=impressions,
        beam_pipeline=beam.Pipeline(runner="DirectRunner"),
    )
    files = tf.io.gfile.glob(artifact_utils.get_split_uri([impressions], "eval") + "/*")
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator()
    return sorted(map(plain, records), key=lambda row: (row["user_id"], row["position"]))


def plain(record):
    feature = tf.train.Example.FromString(record).features.feature
    values = {name: getattr(each, each.WhichOneof("kind")).value for name, each in feature.items()}
    assert all(len(value) == 1 for value in values.values())
    return {name: v[0].decode() if isinstance(v[0], bytes) else v[0] for name, v in values.items()}


def test_one_example_per_impression_that_counts(scored):
    assert [(row["user_id"], row["position"]) for row in scored] == [("u1", 1), ("u1", 12), ("ü2", 12)]


def test_their_values(scored):
    first, second, _ = scored
    names = ("label", "weight", "channel", "position_group")
    assert [first[name] for name in names] == [0.0, 1.0, "news", "1"]
    assert [second[name] for name in names] == [1.0, 1.0, "video", ">10"]
    np.testing.assert_allclose([first["prediction"], second["prediction"]], [0.5 / 2, 0.5 / 13], rtol=1e-6)


GROUPS = {1: "1", 2: "2-3", 3: "2-3", 4: "4-6", 6: "4-6", 7: "7-10", 10: "7-10", 11: ">10"}


@pytest.mark.parametrize(("position", "group"), GROUPS.items())
def test_position_groups(position, group):
    assert position_group(position) == group
