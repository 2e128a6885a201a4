"""The one home of feature names, shapes and dtypes.

A *session* is one displayed list with everything a model may know about it, stored as one tf.Example:

* request features, one value each: `request_id`, `user_id`, `timestamp` (ms UTC, the list's first row) and the optional
  `user_*` and `context_*` columns of the log;
* list rows, `list_length` (T) values each, right-padded: what was displayed, its labels, its as-of counts;
* history rows, `history_length` (H) values each, left-padded: the most recent impressions strictly before the list,
with
  their feedback. Their names are the row names behind `history_`;
* the user's long-term profile before the list, of variable length: impressions and clicks so far per channel and tag.

Padding rows have item id "" and count for nothing. `tags` holds `max_tags` (K) strings per row, flattened, "" where a
row has fewer. Optional columns are found by prefix: `user_*`, `context_*`, `item_*`; strings are categorical, floats
numeric.

Served requests carry the same names, dense: see `FeatureSpec.serving_inputs`. There the tags of one row are one string,
joined by `TAG_SEPARATOR`, and candidates are rows whose names stand behind `candidate_`.
"""

import dataclasses
import enum
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from hrlrec_tf.errors import ConfigError

TAG_SEPARATOR = "|"
RARE = "<rare>"  # what a value of a user feature that too few users hold reads as: an unknown value to every model
HISTORY = "history_"
CANDIDATE = "candidate_"

USER_PREFIX = "user_"
CONTEXT_PREFIX = "context_"
ITEM_PREFIX = "item_"


class Kind(enum.Enum):
    """Type of a feature's values."""

    STRING = "string"
    INT = "int"
    FLOAT = "float"

    @property
    def absent(self) -> str | int | float:
        """What a missing value reads as."""
        absent: dict[str, str | int | float] = {"string": "", "int": 0, "float": 0.0}
        return absent[self.value]

    @property
    def dtype(self) -> type:
        """NumPy type of raw values; `tf.as_dtype` makes TensorFlow's of it."""
        return {"string": np.object_, "int": np.int64, "float": np.float32}[self.value]


# One value per request.
REQUEST = {"request_id": Kind.STRING, "user_id": Kind.STRING, "timestamp": Kind.INT}

# What identifies and describes an item; `item_*` columns join these.
ITEM = {"item_id": Kind.STRING, "channel": Kind.STRING, "tags": Kind.STRING}

# As-of counts of a row: the user's impressions and clicks before it, of its channel and summed over its tags. Clicks of
# the row's own list are never counted; impressions of the list's earlier rows are.
COUNTS = {
    "channel_impressions": Kind.INT,
    "channel_clicks": Kind.INT,
    "tag_impressions": Kind.INT,
    "tag_clicks": Kind.INT,
}

# Item columns that `prepare` makes where a log's configuration says `item_counts`: see `data/item_counts.py`.
ITEM_COUNTS = {"item_click_rate": Kind.FLOAT, "item_log_impressions": Kind.FLOAT}

FEEDBACK = {"clicks": Kind.INT, "dwell_seconds": Kind.FLOAT}

# One value per displayed row, beside ITEM, COUNTS and FEEDBACK.
LIST_ONLY = {
    "position": Kind.INT,
    "weight": Kind.FLOAT,  # 1 for a row of this split, 0 for padding and for rows on the other side of a time cut
    "new_tags_in_list": Kind.INT,  # tags no earlier row of the list has: the diversity reward's input
    "new_tags_to_user": Kind.INT,  # tags absent from the user's long-term profile: the novelty reward's input
    "propensity_channel": Kind.FLOAT,  # 1 where the log has none
    "propensity_item": Kind.FLOAT,
    "explored": Kind.INT,
}
HISTORY_ONLY = {"position": Kind.INT, "timestamp": Kind.INT}

PROFILE = {
    "profile_channel": Kind.STRING,
    "profile_channel_impressions": Kind.INT,
    "profile_channel_clicks": Kind.INT,
    "profile_tag": Kind.STRING,
    "profile_tag_impressions": Kind.INT,
    "profile_tag_clicks": Kind.INT,
}

_BASE = {*REQUEST, *ITEM, *COUNTS, *FEEDBACK, *LIST_ONLY, *PROFILE}


@dataclasses.dataclass(frozen=True)
class IdRule:
    """How the strings of one feature become ids; id 0 stands for "".

    Attributes:
      kind: `vocabulary`: V known values, those of the training sessions, have ids 1..V in order of frequency, and the
        hash of any other value names one of the ids behind them; `hashed`: the hash of any value names its id.
      min_count: of a vocabulary: rarer values are left out of it; the displayed rows of the training sessions count.
      oov_buckets: of a vocabulary: number of ids that all other values share.
      buckets: of hashed ids: how many there are.

    Raises:
      ConfigError: a number is below 1 or belongs to the other kind.
    """

    kind: Literal["vocabulary", "hashed"] = "vocabulary"
    min_count: int = 1
    oov_buckets: int = 1
    buckets: int = 0

    def __post_init__(self) -> None:
        if self.kind == "hashed":
            if self.buckets < 1:
                raise ConfigError(f"hashed ids need `buckets`, their number: got {self.buckets}")
            if (self.min_count, self.oov_buckets) != (1, 1):
                raise ConfigError("hashed ids have no `min_count` and no `oov_buckets`; leave them out, or drop `kind`")
            return
        if self.buckets:
            raise ConfigError("`buckets` belongs to `kind: hashed`; a vocabulary has `oov_buckets`")
        for name in ("min_count", "oov_buckets"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1: got {getattr(self, name)}")

    @property
    def unknown(self) -> int:
        """Number of ids, the last ones, among which a value that training never saw falls."""
        return self.buckets or self.oov_buckets

    def size(self, known: int) -> int:
        """Number of ids, that of "" included, with a vocabulary of `known` values."""
        return 1 + known + self.unknown


@dataclasses.dataclass(frozen=True)
class FeatureSpec:
    """Sizes of a session and the optional columns of one log.

    Attributes:
      list_length: T, positions of a list.
      history_length: H, impressions before the list that a session carries.
      max_tags: K, tags kept per row.
      optional: optional columns by name; each starts with `user_`, `context_` or `item_`; STRING or FLOAT.
      ids: rules of the ids, by vocabulary (see `data.transform.vocabularies`), where they are not `IdRule()`.
    """

    list_length: int = 10
    history_length: int = 41
    max_tags: int = 8
    optional: Mapping[str, Kind] = dataclasses.field(default_factory=dict)
    ids: Mapping[str, IdRule] = dataclasses.field(default_factory=dict)

    def id_rule(self, vocabulary: str) -> IdRule:
        """How the strings of a vocabulary's features become ids."""
        return self.ids.get(vocabulary, IdRule())

    def columns(self, prefix: str) -> dict[str, Kind]:
        """The optional columns behind one prefix, sorted by name."""
        return {name: kind for name, kind in sorted(self.optional.items()) if name.startswith(prefix)}

    @property
    def request(self) -> dict[str, Kind]:
        """Features with one value per request."""
        return {**REQUEST, **self.columns(USER_PREFIX), **self.columns(CONTEXT_PREFIX)}

    @property
    def item(self) -> dict[str, Kind]:
        """Features that describe an item, wherever it stands: in the list, the history or among the candidates."""
        return {**ITEM, **self.columns(ITEM_PREFIX)}

    @property
    def list_rows(self) -> dict[str, Kind]:
        """Features with T values (`tags`: T * K)."""
        return {**self.item, **FEEDBACK, **COUNTS, **LIST_ONLY}

    @property
    def history_rows(self) -> dict[str, Kind]:
        """Features with H values (`history_tags`: H * K), names behind `history_`."""
        rows = {**self.item, **FEEDBACK, **COUNTS, **HISTORY_ONLY}
        return {HISTORY + name: kind for name, kind in rows.items()}

    @property
    def session(self) -> dict[str, Kind]:
        """All features of a session example."""
        return {**self.request, **self.list_rows, **self.history_rows, **PROFILE}

    def width(self, name: str) -> int | None:
        """Values of a session feature: 1, T, T * K, H, H * K, or None where it varies."""
        per_row = self.max_tags if name.endswith("tags") and not name.startswith("new_") else 1
        if name in self.request:
            return 1
        if name in self.list_rows:
            return self.list_length * per_row
        if name in self.history_rows:
            return self.history_length * per_row
        if name in PROFILE:
            return None
        raise KeyError(f"{name!r} is no session feature; known: {', '.join(sorted(self.session))}")

    def serving_inputs(self) -> dict[str, tuple[Kind, int]]:
        """Inputs of the `rank` signature: name -> (kind, rank of the tensor).

        Rank 1 is [batch], rank 2 is [batch, rows] with any number of rows. Tags of a row are one joined string.
        """
        inputs = {name: (kind, 1) for name, kind in self.request.items() if name != "request_id"}
        inputs |= {name: (kind, 2) for name, kind in self.history_rows.items()}
        inputs |= {name: (kind, 2) for name, kind in PROFILE.items()}
        inputs |= {CANDIDATE + name: (kind, 2) for name, kind in self.item.items()}
        return inputs | {"epsilon": (Kind.FLOAT, 1)}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**dataclasses.asdict(self), "optional": {name: kind.value for name, kind in self.optional.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FeatureSpec":
        """Inverse of `to_dict`."""
        optional = {name: Kind(kind) for name, kind in values["optional"].items()}
        return cls(**{**values, "optional": optional, "ids": id_rules(values.get("ids", {}))})

    @classmethod
    def of_names(cls, kinds: Mapping[str, Kind], **rest: Any) -> "FeatureSpec":
        """The spec whose optional columns are those of `kinds` that carry a prefix and are no base feature."""
        return cls(optional={name: kinds[name] for name in sorted(optional_columns(kinds))}, **rest)


def id_rules(values: Mapping[str, Mapping[str, Any]]) -> dict[str, IdRule]:
    """Rules from plain values, without those that say what holds anyway."""
    rules = {name: IdRule(**fields) for name, fields in values.items()}
    return {name: rule for name, rule in sorted(rules.items()) if rule != IdRule()}


def says_something(name: str, value: Any) -> bool:
    """Whether a request must state a value: absent ones read as "", 0 or none, but absent item counts as their mean."""
    if name in ITEM_COUNTS:
        return value == value
    return value not in ("", 0, [])


def optional_columns(names: Iterable[str]) -> list[str]:
    """Those of `names` that are optional columns of a log: found by prefix, base names excluded."""
    prefixes = (USER_PREFIX, CONTEXT_PREFIX, ITEM_PREFIX)
    return [name for name in names if name.startswith(prefixes) and name not in _BASE]
