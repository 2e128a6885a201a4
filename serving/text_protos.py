"""TensorFlow Serving's configuration files: protobuf text.

`tensorflow-serving-api` ships the model config's message but not those of batching, monitoring and TLS; these are
declared here field by field, as in tensorflow/serving (servables/tensorflow/session_bundle_config.proto,
config/ssl_config.proto, config/monitoring_config.proto), so that a file means here what it means there.
"""

import os
import pathlib
from typing import Any, TypeVar

from google.protobuf import descriptor_pb2, message, message_factory, text_format, wrappers_pb2

from hrlrec_tf.errors import ConfigError

Message = TypeVar("Message", bound=message.Message)

_PACKAGE = "tensorflow.serving"
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {"string": _Field.TYPE_STRING, "bool": _Field.TYPE_BOOL, "int64": _Field.TYPE_INT64}

# Message -> field -> (number, type, repeated).
_MESSAGES: dict[str, dict[str, tuple[int, str, bool]]] = {
    "BatchingParameters": {
        "max_batch_size": (1, "google.protobuf.Int64Value", False),
        "batch_timeout_micros": (2, "google.protobuf.Int64Value", False),
        "max_enqueued_batches": (3, "google.protobuf.Int64Value", False),
        "num_batch_threads": (4, "google.protobuf.Int64Value", False),
        "thread_pool_name": (5, "google.protobuf.StringValue", False),
        "allowed_batch_sizes": (6, "int64", True),
        "pad_variable_length_inputs": (7, "bool", False),
        "enable_large_batch_splitting": (8, "google.protobuf.BoolValue", False),
        "max_execution_batch_size": (9, "google.protobuf.Int64Value", False),
    },
    "SSLConfig": {
        "server_key": (1, "string", False),
        "server_cert": (2, "string", False),
        "custom_ca": (3, "string", False),
        "client_verify": (4, "bool", False),
    },
    "PrometheusConfig": {"enable": (1, "bool", False), "path": (2, "string", False)},
    "MonitoringConfig": {"prometheus_config": (1, f"{_PACKAGE}.PrometheusConfig", False)},
}


def read(path: str | os.PathLike[str], into: Message) -> Message:
    """Reads a text protobuf file into `into`; raises `ConfigError` naming the file, the place and the reason."""
    path = pathlib.Path(path)
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), into)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the path of a text protobuf") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except text_format.ParseError as error:
        kind = into.DESCRIPTOR.full_name
        raise ConfigError(f"{path}: is no {kind} as protobuf text: {error}; correct it") from error


def _declare() -> dict[str, Any]:
    """The message classes, in a pool of their own: another package may declare the same names in the default one."""
    file = descriptor_pb2.FileDescriptorProto(name="serving/text_protos.proto", package=_PACKAGE, syntax="proto3")
    wrappers = descriptor_pb2.FileDescriptorProto.FromString(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file.dependency.append(wrappers.name)
    for name, fields in _MESSAGES.items():
        declared = file.message_type.add(name=name)
        for field, (number, kind, repeated) in fields.items():
            label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            added = declared.field.add(name=field, number=number, label=label)
            if kind in _SCALARS:
                added.type = _SCALARS[kind]
            else:
                added.type, added.type_name = _Field.TYPE_MESSAGE, f".{kind}"
    return message_factory.GetMessages([wrappers, file])


_CLASSES = _declare()
BatchingParameters = _CLASSES[f"{_PACKAGE}.BatchingParameters"]
SSLConfig = _CLASSES[f"{_PACKAGE}.SSLConfig"]
MonitoringConfig = _CLASSES[f"{_PACKAGE}.MonitoringConfig"]
