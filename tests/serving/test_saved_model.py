"""SavedModels in sessions, against TensorFlow's own loader of them."""

import numpy as np
import pytest
import tensorflow as tf

from hrlrec_tf.errors import ModelError
from serving import saved_model

NAMES, COUNTS = ["a", "b", "never"], [[1.0, 2.0]]


class Model(tf.Module):
    """A variable, a table that is filled from a file, and two signatures of one function."""

    def __init__(self, vocabulary: str) -> None:
        super().__init__()
        self.scale = tf.Variable(3.0)
        lines = tf.lookup.TextFileInitializer(
            vocabulary, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
        )
        self.table = tf.lookup.StaticHashTable(lines, -1)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "name")])
    def number(self, name):
        return {"number": self.table.lookup(name), "same": name}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def twice(self, x):
        return {"y": self._inner(x)}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def thrice(self, x):
        return {"y": self.scale * x}

    @tf.function
    def _inner(self, x):
        return tf.cond(tf.reduce_sum(x) > 0, lambda: 2 * x, lambda: -x)

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])
    def train_only(self, x):
        return self.scale.assign_add(x)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    (folder / "names.txt").write_text("\n".join(NAMES[:2]))
    model = Model(str(folder / "names.txt"))
    shown = {"serving_default": model.twice, "twice": model.twice, "thrice": model.thrice, "number": model.number}
    tf.saved_model.save(model, str(folder / "1"), shown)
    return folder / "1"


def test_answers_are_those_of_tensorflows_loader(folder):
    theirs = tf.saved_model.load(str(folder)).signatures
    graph = saved_model.read(folder)
    with saved_model.opened(folder, graph) as session:
        mine = saved_model.functions(session, graph)
        assert set(mine) == set(theirs) == set(saved_model.signatures(graph))
        for name in ("serving_default", "twice", "thrice"):
            for x in ([[1.0, 2.0]], [[-1.0, -2.0]]):
                np.testing.assert_array_equal(mine[name](np.float32(x))[0], theirs[name](x=tf.constant(x))["y"])
        number, same = mine["number"](np.array(NAMES, object))
        assert list(number) == [0, 1, -1] and list(same) == [name.encode() for name in NAMES]
        session.close()


def test_signatures_of_one_function_share_it(folder):
    graph = saved_model.read(folder)
    with saved_model.opened(folder, graph) as session:
        found = saved_model.functions(session, graph)
        assert found["serving_default"] is found["twice"] is not found["thrice"]  # the same inputs and outputs
        session.close()


def test_functions_that_no_signature_calls_stay_out(folder):
    graph = saved_model.read(folder)
    with saved_model.opened(folder, graph) as session:
        names = {function.signature.name for function in session.graph.as_graph_def().library.function}
        session.close()
    everything = {function.signature.name for function in graph.graph_def.library.function}
    assert names < everything
    assert any("train_only" in name for name in everything - names)


def test_an_error_closes_the_session(folder):
    graph = saved_model.read(folder)
    with pytest.raises(ZeroDivisionError), saved_model.opened(folder, graph) as session:
        raise ZeroDivisionError
    with pytest.raises(RuntimeError, match="closed"):
        session.run(session.graph.get_operations()[0])


def test_a_model_that_is_not_for_serving(folder, tmp_path):
    model = saved_model.saved_model_pb2.SavedModel.FromString((folder / saved_model.FILE).read_bytes())
    model.meta_graphs[0].meta_info_def.tags[:] = ["train"]
    (tmp_path / saved_model.FILE).write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="no graph with the tag 'serve'"):
        saved_model.read(tmp_path)


def test_a_model_of_tensorflow_1(tmp_path):
    """No functions, no initialisation; one output, fed at two places, is two functions."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], "x")
        y = (x + 1) * v1.get_variable("scale", initializer=3.0, use_resource=True)
        session.run(v1.global_variables_initializer())
        shown = {
            name: v1.saved_model.build_signature_def(
                {"x": v1.saved_model.build_tensor_info(fed)}, {"y": v1.saved_model.build_tensor_info(y)}
            )
            for name, fed in (("serving_default", x), ("later", y.op.inputs[0]))
        }
        builder = v1.saved_model.Builder(str(tmp_path / "1"))
        builder.add_meta_graph_and_variables(session, ["serve"], shown)
        builder.save()
    graph = saved_model.read(tmp_path / "1")
    with saved_model.opened(tmp_path / "1", graph) as session:
        found = saved_model.functions(session, graph)
        assert found["serving_default"](np.float32([1]))[0] == 6 and found["later"](np.float32([1]))[0] == 3
        session.close()
