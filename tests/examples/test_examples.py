"""The examples run; what they save works in a fresh process, and is served."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.server import EmbeddedServer

from .conftest import ROOT, fresh_process

WITHOUT_THE_PACKAGE = """
import sys
sys.modules["hrlrec_tf"] = None  # from here on it cannot be imported, wherever it is installed
import numpy, tensorflow
outputs = {}
for name in ("tfrs", "keras"):
    serve = tensorflow.saved_model.load(open(name).read()).signatures["serving_default"]
    given = {key: tensorflow.constant(value) for key, value in numpy.load(name + ".npz").items()}
    outputs |= {name + "_" + key: value.numpy() for key, value in serve(**given).items()}
assert not [module for module in sys.modules if module.startswith(("hrlrec_tf.", "tf_agents"))]
numpy.savez("outputs.npz", **outputs)
"""

WITH_THE_LAYERS = """
import sys
import hrlrec_tf.layers
import numpy, tensorflow
# Or AutoGraph converts Keras's own code first, which takes longer than all the rest.
load = tensorflow.autograph.experimental.do_not_convert(tensorflow.keras.models.load_model)
model = load(open("keras").read())
training = ("hrlrec_tf.agents", "hrlrec_tf.training", "tf_agents")
assert not [module for module in sys.modules if module.startswith(training)]
outputs = model({key: tensorflow.constant(value) for key, value in numpy.load("keras.npz").items()})
numpy.savez("outputs.npz", **{key: value.numpy() for key, value in outputs.items()})
"""


@pytest.fixture(scope="module")
def features(tfrs_example):
    """Other numbers of users, rows and candidates than in training."""
    return tfrs_example.features(users=5, rows=7, candidates=9)


def signature(example):
    return tf.saved_model.load(str(example.folder / "1")).signatures["serving_default"]


def test_saved_models_need_no_package(tfrs_example, keras_example, features, tmp_path):
    expected = {}
    for name, example in (("tfrs", tfrs_example), ("keras", keras_example)):
        (tmp_path / name).write_text(str(example.folder / "1"))
        np.savez(tmp_path / f"{name}.npz", **features)
        outputs = signature(example)(**{key: tf.constant(value) for key, value in features.items()})
        expected |= {f"{name}_{key}": value for key, value in outputs.items()}
    outputs = fresh_process(WITHOUT_THE_PACKAGE, tmp_path, TF_USE_LEGACY_KERAS="0")
    assert set(outputs) == set(expected)
    for name, values in outputs.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-5)


def test_keras_file_needs_the_layers_alone(keras_example, features, tmp_path):
    (tmp_path / "keras").write_text(str(keras_example.folder / "model.keras"))
    np.savez(tmp_path / "keras.npz", **features)
    outputs = fresh_process(WITH_THE_LAYERS, tmp_path, PYTHONPATH=str(ROOT))
    expected = signature(keras_example)(**{key: tf.constant(value) for key, value in features.items()})
    assert set(outputs) == {"click_probability", "channel", "index"}
    for name, values in outputs.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-5)


@pytest.mark.parametrize("name", ["tfrs_example", "keras_example"])
def test_served(name, features, request):
    example = request.getfixturevalue(name)
    call = predict_pb2.PredictRequest()
    call.model_spec.name = "example"
    for key, values in features.items():
        call.inputs[key].CopyFrom(tf.make_tensor_proto(values))
    with EmbeddedServer(example.folder, port=0, model_name="example") as server:
        with grpc.insecure_channel(server.address) as channel:
            answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(call)
    expected = signature(example)(**{key: tf.constant(value) for key, value in features.items()})
    assert set(answer.outputs) == set(expected)
    for key, values in expected.items():
        np.testing.assert_allclose(tf.make_ndarray(answer.outputs[key]), values, rtol=1e-5)


@pytest.fixture(scope="module")
def model(keras_example):
    return tf.keras.models.load_model(keras_example.folder / "model.keras")


def test_picks_are_available_items_of_their_channel(model, features):
    padded = {**features, "candidate_item_id": features["candidate_item_id"] * (np.arange(9) > 3)}
    picked = model({name: tf.constant(values) for name, values in padded.items()})
    assert (picked["index"].numpy() > 3).all()
    chosen = np.take_along_axis(features["candidate_channel"], picked["index"].numpy()[:, None], axis=1)[:, 0]
    np.testing.assert_array_equal(picked["channel"], chosen)


def test_padding_in_front_of_the_history_changes_nothing(model, features):
    longer = {
        name: np.pad(values, [[0, 0], [3, 0]]) if name in ("item_id", "channel", "clicked") else values
        for name, values in features.items()
    }
    before, after = (
        model({name: tf.constant(values) for name, values in given.items()}) for given in (features, longer)
    )
    for name in before:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-4)


def test_under_a_mixed_policy(keras_example, model, features):
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        mixed = keras_example.module.build()
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    mixed.set_weights(model.get_weights())
    assert {variable.dtype for variable in mixed.variables} == {tf.float32}
    inputs = {name: tf.constant(values) for name, values in features.items()}
    outputs = mixed(inputs)["click_probability"]
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), model(inputs)["click_probability"], atol=0.05)
