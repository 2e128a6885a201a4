"""A SavedModel in a session with a graph of its own, opened without keeping calls to other versions waiting.

`tf.saved_model.load` would add a model's functions to the process for good. TensorFlow's loader for sessions imports
the graph in one go, in which Python's lock is held for a second or more: here the functions come one by one.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import function_pb2, graph_pb2, node_def_pb2
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, saved_model_pb2

from hrlrec_tf.errors import ModelError

FILE = "saved_model.pb"

Function = Callable[..., list[np.ndarray]]

_INIT_OP = "__saved_model_init_op"
_ONE_THREAD = config_pb2.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
_NICENESS = 10


def read(folder: pathlib.Path) -> meta_graph_pb2.MetaGraphDef:
    """The graph that is meant to be served; raises `ModelError` when there is none."""
    model = saved_model_pb2.SavedModel.FromString((folder / FILE).read_bytes())
    for graph in model.meta_graphs:
        if "serve" in graph.meta_info_def.tags:
            return graph
    raise ModelError("it has no graph with the tag 'serve'; export it with tf.saved_model.save")


def signatures(graph: meta_graph_pb2.MetaGraphDef) -> dict[str, meta_graph_pb2.SignatureDef]:
    """The signatures that requests may name."""
    return {name: each for name, each in graph.signature_def.items() if not name.startswith("__saved_model")}


@contextlib.contextmanager
def opened(
    folder: pathlib.Path, graph: meta_graph_pb2.MetaGraphDef, rest: float = 0.0
) -> Iterator[tf.compat.v1.Session]:
    """A session with the graph, its variables and tables; closed when the context ends with an error.

    Args:
      folder: of the SavedModel.
      graph: what `read` found there.
      rest: how long to leave Python's lock to others after each part of the work, as a multiple of its time.
    """
    session = tf.compat.v1.Session(graph=tf.Graph(), config=_ONE_THREAD)
    try:
        with session.graph.as_default():
            if _INIT_OP in graph.signature_def:
                _load(session, folder, graph, rest)
            else:  # not one of `tf.saved_model.save`, which is what `_load` knows
                tf.compat.v1.saved_model.loader.load(session, ["serve"], str(folder))
        yield session
    except BaseException:
        session.close()
        raise


def background() -> concurrent.futures.ThreadPoolExecutor:
    """A thread that gets what calls leave of the cores: for seconds of work without Python's lock."""
    return concurrent.futures.ThreadPoolExecutor(1, initializer=_lower_priority)


def functions(session: tf.compat.v1.Session, graph: meta_graph_pb2.MetaGraphDef) -> dict[str, Function]:
    """Signature -> its outputs, in order of their names, of its inputs, in order of theirs.

    TensorFlow optimises a graph for each, which takes seconds. Signatures that call the same function share one, as
    `serving_default` does.
    """
    nodes = {node.name: node for node in graph.graph_def.node}
    library = _library(graph.graph_def)
    found: dict[bytes, Function] = {}
    by_name = {}
    for name, definition in signatures(graph).items():
        what = _content(definition, nodes, library)
        if what not in found:
            found[what] = _function(session, definition)
        by_name[name] = found[what]
    return by_name


def _load(session: tf.compat.v1.Session, folder: pathlib.Path, graph: meta_graph_pb2.MetaGraphDef, rest: float) -> None:
    """Imports what `tf.saved_model.save` wrote into the session's graph, the default one, and fills it with values."""
    nodes, versions = graph.graph_def.node, graph.graph_def.versions
    bare = graph_pb2.GraphDef(node=nodes, versions=versions)
    meta = meta_graph_pb2.MetaGraphDef(meta_info_def=graph.meta_info_def, graph_def=bare)
    if graph.HasField("saver_def"):
        meta.saver_def.CopyFrom(graph.saver_def)
    # Functions come later: the import goes through the bodies of all that it knows to infer shapes.
    saver = tf.compat.v1.train.import_meta_graph(meta)
    for function in _called(graph.graph_def):
        begun = time.perf_counter()
        library = function_pb2.FunctionDefLibrary(function=[function])
        tf.graph_util.import_graph_def(graph_pb2.GraphDef(versions=versions, library=library), name="")
        time.sleep(rest * (time.perf_counter() - begun))
    if saver is not None:
        saver.restore(session, str(folder / "variables" / "variables"))
    files = {asset.tensor_info.name: str(folder / "assets" / asset.filename) for asset in graph.asset_file_def}
    session.run(graph.signature_def[_INIT_OP].outputs[_INIT_OP].name, files)


def _called(graph: graph_pb2.GraphDef) -> list[function_pb2.FunctionDef]:
    """The functions that the graph calls, directly or not; a SavedModel also keeps those that only training called."""
    known = _library(graph)
    called: dict[str, function_pb2.FunctionDef] = {}
    waiting = list(_callees(graph.node))
    while waiting:
        name = waiting.pop()
        if name in known and name not in called:
            called[name] = known[name]
            waiting += _callees(known[name].node_def)
    return list(called.values())


def _callees(nodes: Iterable[node_def_pb2.NodeDef]) -> Iterator[str]:
    for node in nodes:
        yield node.op
        for value in node.attr.values():
            yield value.func.name
            yield from (function.name for function in value.list.func)


def _library(graph: graph_pb2.GraphDef) -> dict[str, function_pb2.FunctionDef]:
    return {function.signature.name: function for function in graph.library.function}


def _content(
    definition: meta_graph_pb2.SignatureDef,
    nodes: Mapping[str, node_def_pb2.NodeDef],
    library: Mapping[str, function_pb2.FunctionDef],
) -> bytes:
    """What a signature computes: equal for two that call functions of one body with the same inputs."""
    fed = {tensor.name.split(":")[0]: name for name, tensor in definition.inputs.items()}
    fetched = {name: tensor.name.split(":") for name, tensor in definition.outputs.items()}
    callers = {node for node, _ in fetched.values()}
    caller = nodes[next(iter(callers))]
    arguments = [fed.get(argument, argument) for argument in caller.input]
    callee = library.get(caller.attr["f"].func.name) if "f" in caller.attr else None
    if callee is None or len(callers) > 1 or not set(fed.values()) <= set(arguments):
        return definition.SerializeToString(deterministic=True)  # not one call, or fed elsewhere: it is its own
    body = function_pb2.FunctionDef()
    body.CopyFrom(callee)
    body.signature.name = ""
    body.ClearField("arg_attr")  # which numbers the arguments
    outputs = [f"{name}:{index}" for name, (_, index) in sorted(fetched.items())]
    texts = [text.encode() for text in (*sorted(definition.inputs), *outputs, *arguments)]
    return b"\0".join([*texts, body.SerializeToString(deterministic=True)])


def _function(session: tf.compat.v1.Session, definition: meta_graph_pb2.SignatureDef) -> Function:
    """A signature as a function that runs in its caller's thread.

    A call is many small operations: handing them from thread to thread takes longer than they do, and calls that come
    together fill the cores anyway. `Session.make_callable` takes no run options.
    """
    options = config_pb2.CallableOptions(run_options=config_pb2.RunOptions(inter_op_thread_pool=-1))
    options.feed.extend(definition.inputs[name].name for name in sorted(definition.inputs))
    options.fetch.extend(definition.outputs[name].name for name in sorted(definition.outputs))
    return session._make_callable_from_options(options)


def _lower_priority() -> None:
    """Of the calling thread, where the system has priorities by thread."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
