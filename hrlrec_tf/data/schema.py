"""Feature specs as TensorFlow Metadata schemas, and back.

The schema carries everything a `FeatureSpec` holds, so that a folder of sessions explains itself:

* request features are scalars (`shape {}`), history features have fixed length;
* list rows are of variable length to the graph, since ranking sends any number of candidates through it; their
  `value_count` states T (`tags`: T * K), which data validation checks;
* the profile varies in length;
* rules of ids stand as tags, `ids.FIELD=VALUE`, on the feature that names the vocabulary.
"""

import dataclasses
import os
import pathlib
from typing import Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from hrlrec_tf import features
from hrlrec_tf.errors import DataError
from hrlrec_tf.features import FeatureSpec, IdRule, Kind

_TYPES = {Kind.STRING: schema_pb2.BYTES, Kind.INT: schema_pb2.INT, Kind.FLOAT: schema_pb2.FLOAT}
# Values that prepared sessions cannot hold; where they turn up, something between the log and the model is broken.
_COUNTED = (*features.COUNTS, "clicks", "position")
_AT_LEAST_ZERO = {
    *_COUNTED,
    *(features.HISTORY + name for name in _COUNTED),
    *(name for name, kind in features.PROFILE.items() if kind is Kind.INT),
    "new_tags_in_list",
    "new_tags_to_user",
}
_SHARES = {"weight", "propensity_channel", "propensity_item"}
_KINDS = {proto_type: kind for kind, proto_type in _TYPES.items()}
_IDS = "ids."


def to_schema(spec: FeatureSpec) -> schema_pb2.Schema:
    """The schema of sessions with this spec."""
    schema = schema_pb2.Schema()
    for name, kind in spec.session.items():
        feature = schema.feature.add(name=name, type=_TYPES[kind])
        if name in _AT_LEAST_ZERO:
            feature.int_domain.min = 0
        if name in _SHARES:
            feature.float_domain.min, feature.float_domain.max = 0.0, 1.0
        width = spec.width(name)
        if width is not None:
            feature.presence.min_fraction = 1.0
            feature.presence.min_count = 1
        if name in spec.request:
            feature.shape.SetInParent()
        elif name in spec.history_rows:
            feature.shape.dim.add(size=width)
        elif name in spec.list_rows:
            feature.value_count.min = feature.value_count.max = width
        if name in spec.ids:
            fields = dataclasses.asdict(spec.ids[name])
            feature.annotation.tag.extend(f"{_IDS}{field}={value}" for field, value in fields.items())
    return schema


def from_schema(schema: schema_pb2.Schema) -> FeatureSpec:
    """Inverse of `to_schema`.

    Raises:
      DataError: the schema is not that of sessions.
    """
    declared = {feature.name: feature for feature in schema.feature}
    try:
        list_length = declared["position"].value_count.max
        spec = FeatureSpec.of_names(
            {name: _KINDS[feature.type] for name, feature in declared.items()},
            list_length=list_length,
            history_length=declared[features.HISTORY + "position"].shape.dim[0].size,
            max_tags=declared["tags"].value_count.max // list_length,
            ids={name: _id_rule(feature) for name, feature in declared.items() if _id_tags(feature)},
        )
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise DataError(
            f"this is no schema of sessions ({error!r}); take schema.pbtxt as `prepare` wrote it"
        ) from error
    if difference := sorted(set(spec.session) ^ set(declared)):
        raise DataError(
            f"the schema's features are not those of sessions: {', '.join(difference)}; take schema.pbtxt as "
            "`prepare` wrote it"
        )
    return spec


def _id_tags(feature: schema_pb2.Feature) -> list[str]:
    return [tag.removeprefix(_IDS) for tag in feature.annotation.tag if tag.startswith(_IDS)]


def _id_rule(feature: schema_pb2.Feature) -> IdRule:
    fields: dict[str, Any] = dict(tag.split("=") for tag in _id_tags(feature))
    kind = fields.pop("kind")
    return IdRule(kind, **{name: int(value) for name, value in fields.items()})


def read(path: str | os.PathLike[str]) -> schema_pb2.Schema:
    """The schema in a `.pbtxt` file.

    Raises:
      DataError: the file is absent or no schema.
    """
    try:
        return text_format.Parse(pathlib.Path(path).read_text(encoding="utf-8"), schema_pb2.Schema())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise DataError(
            f"{os.fspath(path)} cannot be read as a schema ({error}); run `hrlrec prepare` again"
        ) from error


def write(schema: schema_pb2.Schema, path: str | os.PathLike[str]) -> None:
    """Writes a schema as a `.pbtxt` file."""
    pathlib.Path(path).write_text(text_format.MessageToString(schema), encoding="utf-8")
