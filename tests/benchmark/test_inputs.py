import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from hrlrec_tf.benchmark import inputs
from hrlrec_tf.benchmark.workload import QUICK, Workload, random_batch, random_sessions
from hrlrec_tf.data import schema, transform
from hrlrec_tf.data.input import SessionReader


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """The random sessions as files, and a batch of them as training reads it."""
    folder = tmp_path_factory.mktemp("sessions")
    inputs.write_sessions(QUICK, folder)
    log = schema.read(folder / "schema.pbtxt")
    transform.fit(str(folder / "train" / "*"), log, str(folder / "transform"))
    reader = SessionReader(log, str(folder / "transform"))
    records = tf.data.TFRecordDataset(sorted(map(str, folder.glob("train/*"))), "GZIP")
    return reader, reader.read(list(records.as_numpy_iterator()))


def test_random_sessions_read_as_the_steps_batches_are(read):
    """What the steps train on has the names, types and shapes of what the input pipeline gives."""
    reader, batch = read
    count = inputs._BATCHES * QUICK.batch
    made = random_batch(dataclasses.replace(QUICK, batch=count))
    assert reader.spec == QUICK.spec
    assert {name: (tuple(v.shape), v.dtype.as_numpy_dtype) for name, v in batch.items() if name != "request_id"} == {
        name: (v.shape, v.dtype.type) for name, v in made.items()
    }


def test_every_row_is_full(read):
    batch = read[1]
    assert (batch["item_id"].numpy() > 0).all() and (batch["history_item_id"].numpy() > 0).all()
    assert (batch["weight"].numpy() == 1).all() and (batch["position"].numpy()[:, -1] == QUICK.list_length).all()


def test_sessions_are_the_same_lists_as_the_batch():
    raw, batch = random_sessions(QUICK), random_batch(QUICK)
    np.testing.assert_array_equal(raw["item_id"].astype(int), batch["item_id"])
    tags = batch["tags"].reshape(QUICK.batch, -1)
    np.testing.assert_array_equal(raw["tags"] == "", tags == 0)


def test_the_papers_sizes():
    assert Workload().rows == 50 and Workload().batch * Workload().list_length == 2560
    assert Workload().spec.history_length == 41 and Workload().config.training.actor_period == 1
    ids = random_batch(dataclasses.replace(Workload(), batch=4))["item_id"]
    assert ids.shape == (4, 10) and ids.max() < Workload().sizes["item_id"] - 1
