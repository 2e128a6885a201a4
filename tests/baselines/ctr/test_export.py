"""A baseline as a SavedModel: the same probabilities, from a served request and from examples."""

import numpy as np
import pytest
import tensorflow as tf
import tiny

from hrlrec_tf import features, models, verbs, warmup
from hrlrec_tf.data.input import session_records


@pytest.fixture(scope="module")
def folders(prepared, tmp_path_factory):
    """A model folder of FM with history, and its first served version."""
    base = tmp_path_factory.mktemp("ctr-served")
    settings = "--set=training.epochs=2 --set=training.learning_rate=0.05 --set=inputs.history=true"
    tiny.run_verb(verbs.TRAIN, f"--data={prepared} --model=fm --out={base / 'model'} {settings}")
    result = tiny.run_verb(verbs.EXPORT, f"--model={base / 'model'} --out={base / 'served'}")
    assert result["version"] == 1
    return base / "model", base / "served" / "1"


@pytest.fixture(scope="module")
def scored(folders, prepared):
    """Examples, their transformed batch, and the trained model's probabilities."""
    scorer, reader, _ = models.load(str(folders[0]))
    examples = next(iter(session_records([str(prepared / "eval" / "sessions-0.tfrecord.gz")]).batch(6)))
    return examples, reader.parse(examples), scorer(reader.read(examples))["click_probability"].numpy(), reader


def test_signatures(folders):
    model = tf.saved_model.load(str(folders[1]))
    assert set(model.signatures) == {"serving_default", "score", "score_examples"}
    records = tf.data.TFRecordDataset(str(folders[1] / warmup.FILE_NAME))
    assert len(list(records)) == len(warmup.COUNTS)


def test_score_examples_is_the_trained_model(folders, scored):
    examples, _, expected, _ = scored
    model = tf.saved_model.load(str(folders[1]))
    found = model.signatures["score_examples"](examples=examples)["click_probability"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_score_of_a_request_is_that_of_the_sessions_rows_shown_first(folders, scored):
    _, raw, _, reader = scored
    spec = reader.spec
    inputs = {}
    for name in spec.serving_inputs():
        if name == "epsilon":
            continue
        values = raw[name.removeprefix(features.CANDIDATE)]
        values = tf.sparse.to_dense(values) if isinstance(values, tf.SparseTensor) else values
        if name.endswith("tags"):
            rows = tf.reshape(values, [values.shape[0], -1, spec.max_tags])
            values = tf.strings.reduce_join(rows, axis=-1, separator=features.TAG_SEPARATOR)
        inputs[name] = values
    found = tf.saved_model.load(str(folders[1])).signatures["score"](**inputs)["click_probability"].numpy()
    scorer, reader, _ = models.load(str(folders[0]))
    batch = reader.transform_lists(raw)
    first = scorer({**batch, "position": tf.ones_like(batch["position"])})["click_probability"].numpy()
    shown = batch["item_id"].numpy() > 0
    np.testing.assert_allclose(found, np.where(shown, first, 0.0), atol=1e-5)
    assert not shown.all() and np.ptp(found[shown]) > 0.01


def test_a_request_without_candidates_is_refused(folders):
    model = tf.saved_model.load(str(folders[1]))
    _, reader, _ = models.load(str(folders[0]))
    inputs = {name: values for name, values in warmup.canned_inputs(reader).items() if name != "epsilon"}
    inputs["candidate_item_id"][:] = ""
    with pytest.raises(tf.errors.InvalidArgumentError, match="hrlrec: every request needs at least one candidate"):
        model.signatures["score"](**{name: tf.constant(values) for name, values in inputs.items()})
