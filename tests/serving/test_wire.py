"""The client's own message definitions against the official ones."""

import subprocess
import sys

import pytest
from google.protobuf import any_pb2, wrappers_pb2
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2, predict_pb2

from serving import wire

OFFICIAL = {
    "Dim": tensor_shape_pb2.TensorShapeProto.Dim,
    "TensorShapeProto": tensor_shape_pb2.TensorShapeProto,
    "TensorProto": tensor_pb2.TensorProto,
    "Int64Value": wrappers_pb2.Int64Value,
    "ModelSpec": model_pb2.ModelSpec,
    "PredictRequest": predict_pb2.PredictRequest,
    "PredictResponse": predict_pb2.PredictResponse,
    "GetModelMetadataRequest": get_model_metadata_pb2.GetModelMetadataRequest,
    "Any": any_pb2.Any,
    "GetModelMetadataResponse": get_model_metadata_pb2.GetModelMetadataResponse,
    "TensorInfo": meta_graph_pb2.TensorInfo,
    "SignatureDef": meta_graph_pb2.SignatureDef,
    "SignatureDefMap": get_model_metadata_pb2.SignatureDefMap,
}


def is_map(field):
    return field.message_type is not None and field.message_type.GetOptions().map_entry


@pytest.mark.parametrize("name", wire.FIELDS)
def test_fields_have_the_official_numbers_and_types(name):
    official = OFFICIAL[name].DESCRIPTOR.fields_by_name
    for field, ours in wire._CLASSES[name].DESCRIPTOR.fields_by_name.items():
        theirs = official[field]
        assert ours.number == theirs.number and ours.label == theirs.label, field
        assert ours.type == theirs.type or (ours.type, theirs.type) == (theirs.TYPE_INT32, theirs.TYPE_ENUM), field
        assert is_map(ours) == is_map(theirs), field
        if is_map(ours):
            ours, theirs = (each.message_type.fields_by_name["value"] for each in (ours, theirs))
        if ours.message_type is not None:
            assert ours.message_type.name == theirs.message_type.name


def test_data_types_are_tensorflows():
    assert {kind.name: kind.value for kind in wire.DataType} == {
        kind.name: types_pb2.DataType.Value(f"DT_{kind.name}") for kind in wire.DataType
    }


def test_the_client_does_without_tensorflow():
    program = (
        "import sys, serving.client, serving.async_client, serving.frames, serving.user_state; "
        "sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": ":".join(sys.path)})
