"""What every public layer must do in somebody else's model; each function checks one part of it."""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

Arrays = Mapping[str, np.ndarray]


class Case(NamedTuple):
    """One layer in one form."""

    make: Callable[..., tf.keras.layers.Layer]  # takes the layer's keyword arguments
    inputs: Callable[[int], Arrays]  # of any number of rows
    call: Callable[[tf.keras.layers.Layer, Mapping[str, Any]], Any]  # the layer on tensors of those names

    def run(self, layer: tf.keras.layers.Layer, rows: int = 3) -> Any:
        return arrays(self.call(layer, tensors(self.inputs(rows))))

    def built(self, **options: Any) -> tf.keras.layers.Layer:
        """The layer, every weight with a value of its own."""
        layer = self.make(**options)
        self.run(layer)
        rng = np.random.default_rng(11)
        for variable in layer.trainable_variables:
            variable.assign_add(rng.normal(0, 0.3, variable.shape))
        return layer

    def model(self, layer: tf.keras.layers.Layer) -> tf.keras.Model:
        """A functional model of nothing but the layer, for any batch size and number of rows."""
        few, many = self.inputs(3), self.inputs(5)
        inputs = {
            name: tf.keras.Input(
                [size if size == more else None for size, more in zip(some.shape[1:], many[name].shape[1:])],
                dtype=some.dtype,
                name=name,
            )
            for name, some in few.items()
        }
        return tf.keras.Model(inputs, self.call(layer, inputs))


def tensors(inputs: Arrays) -> dict[str, tf.Tensor]:
    return {name: tf.constant(values) for name, values in inputs.items()}


def arrays(outputs: Any) -> Any:
    return tf.nest.map_structure(lambda tensor: tensor.numpy(), outputs)


def assert_same(mine: Any, theirs: Any, tolerance: float = 1e-5) -> None:
    """Two structures of arrays; numbers to a tolerance."""

    def check(a: np.ndarray, b: np.ndarray) -> None:
        assert a.shape == b.shape
        if np.issubdtype(a.dtype, np.integer) or a.dtype == object:
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a.astype(np.float32), b.astype(np.float32), rtol=tolerance, atol=tolerance)

    tf.nest.map_structure(check, mine, theirs)


def survives_its_config(case: Case) -> None:
    """`get_config` is JSON, and the layer made from it computes the same."""
    layer = case.built()
    copy = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    case.run(copy)
    copy.set_weights(layer.get_weights())
    assert copy.get_config() == layer.get_config()
    assert_same(case.run(copy), case.run(layer))


def survives_saving(case: Case, folder: pathlib.Path) -> None:
    """A functional model of the layer, saved both ways, computes the same for other numbers of rows."""
    layer = case.built()
    model = case.model(layer)
    model.save(folder / "model.keras")
    model.export(folder / "saved_model")
    keras = tf.keras.models.load_model(folder / "model.keras")
    serve = tf.saved_model.load(str(folder / "saved_model")).signatures["serving_default"]
    for rows in (3, 5):
        expected = case.run(layer, rows)
        inputs = tensors(case.inputs(rows))
        for outputs in (model(inputs), keras(inputs), serve(**inputs)):
            assert_same(tf.nest.flatten(arrays(outputs)), tf.nest.flatten(expected))


def trains_every_weight(case: Case) -> None:
    """Each weight gets a gradient other than zero."""
    layer = case.built()
    with tf.GradientTape() as tape:
        # Not a plain sum, which normalised outputs may keep constant.
        outputs = tf.reshape(case.call(layer, tensors(case.inputs(3))), [-1])
        value = tf.reduce_sum(outputs * tf.cos(tf.range(1.0, tf.cast(tf.size(outputs), tf.float32) + 1.0)))
    for variable, slope in zip(layer.trainable_variables, tape.gradient(value, layer.trainable_variables)):
        assert np.abs(tf.convert_to_tensor(slope)).max() > 1e-6, variable.name


def keeps_float32_weights(case: Case, policy: str, tolerance: float) -> None:
    """Under a mixed policy: float32 weights, nearly the same outputs, finite gradients; its config keeps the policy."""
    plain, mixed = case.built(), case.built(dtype=policy)
    mixed.set_weights(plain.get_weights())
    assert {variable.dtype for variable in mixed.variables} <= {tf.float32}
    assert_same(case.run(mixed), case.run(plain), tolerance)
    copy = type(mixed).from_config(mixed.get_config())
    case.run(copy)
    copy.set_weights(mixed.get_weights())
    for mine, theirs in zip(tf.nest.flatten(case.run(copy)), tf.nest.flatten(case.run(mixed))):
        np.testing.assert_array_equal(mine, theirs)
    if mixed.trainable_variables:
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(tf.cast(case.call(mixed, tensors(case.inputs(3))), tf.float32))
        for slope in tape.gradient(value, mixed.trainable_variables):
            assert slope.dtype == tf.float32 and np.isfinite(tf.convert_to_tensor(slope)).all()
