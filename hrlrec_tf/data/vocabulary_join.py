"""The transform of a model that goes on with new sessions: its own graph, whose vocabularies take new values in.

The graph stays the model's, so that whatever it scaled still reads as the model learnt it; only the vocabulary files,
assets of the graph's SavedModel that are read when it is loaded, are written anew.
"""

import pathlib
import shutil
from collections.abc import Mapping, Sequence

import tensorflow_transform as tft

from hrlrec_tf.data.transform import ITEM_IMPRESSIONS, vocabularies
from hrlrec_tf.errors import DataError
from hrlrec_tf.features import FeatureSpec


def check_rules(model: str, old: FeatureSpec, new: FeatureSpec) -> None:
    """Raises DataError unless the ids behind the vocabularies of a model's sessions are those of new sessions."""
    for name in vocabularies(new):
        theirs, ours = old.id_rule(name), new.id_rule(name)
        if (theirs.kind, theirs.unknown) != (ours.kind, ours.unknown):
            raise DataError(
                f"{model} has {theirs.unknown} ids for unknown values of {name} ({theirs.kind}), these sessions "
                f"{ours.unknown} ({ours.kind}); give both the same `ids` in dataset.yaml, or train without --warm-start"
            )


def join(old: str, new: str, spec: FeatureSpec, out: pathlib.Path, keep: bool = True) -> None:
    """Writes the transform of a model that goes on with new sessions.

    Known values come in the model's order, then new ones in that of their frequency. Items come in order of the larger
    of their two numbers of impressions, for windows of days may overlap: who was shown often once stays known.

    Args:
      old: the model's transform output. new: that of the new sessions, under the same rules of ids.
      spec: the sessions' features.
      out: folder to make.
      keep: whether values that the new sessions do not hold stay known.
    """
    before, after = tft.TFTransformOutput(old), tft.TFTransformOutput(new)
    shutil.copytree(old, out)
    made = tft.TFTransformOutput(str(out))
    for name in vocabularies(spec):
        if spec.id_rule(name).kind == "hashed":
            continue
        if name == "item_id":
            counts = _larger(*(_impressions(each) for each in (before, after)))
            if not keep:
                known = set(_impressions(after))
                counts = {item: count for item, count in counts.items() if item in known}
            values = sorted(counts, key=lambda item: -counts[item])
            _write(made, ITEM_IMPRESSIONS, [b"%d %s" % (counts[item], item) for item in values])
        else:
            ours = after.vocabulary_by_name(name)
            values = list(dict.fromkeys([*before.vocabulary_by_name(name), *ours])) if keep else ours
        _write(made, name, values)


def _impressions(transform: tft.TFTransformOutput) -> dict[bytes, int]:
    """Known item -> how often it was shown, in order of the ids."""
    lines = (line.split(b" ", 1) for line in transform.vocabulary_by_name(ITEM_IMPRESSIONS))
    return {item: int(count) for count, item in lines}


def _larger(before: Mapping[bytes, int], after: Mapping[bytes, int]) -> dict[bytes, int]:
    return {item: max(before.get(item, 0), after.get(item, 0)) for item in (*before, *after)}


def _write(transform: tft.TFTransformOutput, name: str, values: Sequence[bytes]) -> None:
    file = pathlib.Path(transform.vocabulary_file_by_name(name))
    file.write_bytes(b"".join(value + b"\n" for value in values))
