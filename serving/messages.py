"""What a ranking call carries and brings back, and the JSON request file.

The dataclasses have the field names of `hrlrec_tf.features`; a log's optional columns (`user_*`, `context_*`, `item_*`)
stand in `features`, in JSON beside the fixed ones. Only `user_id`, `timestamp`, `candidates` and each row's `item_id`
are required; everything else reads as "" or 0 when absent. A model without an item catalogue also needs each row's
`channel`.
"""

import dataclasses
import difflib
import json
import math
import numbers
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hrlrec_tf import features
from hrlrec_tf.errors import HrlrecError
from hrlrec_tf.features import Kind

Value = str | int | float

REQUEST_KINDS = {"request_id": Kind.STRING, "user_id": Kind.STRING, "timestamp": Kind.INT, "epsilon": Kind.FLOAT}
CANDIDATE_KINDS = {"item_id": Kind.STRING, "channel": Kind.STRING}
ROW_KINDS = CANDIDATE_KINDS | features.FEEDBACK | features.COUNTS | features.HISTORY_ONLY
COUNTS_KINDS = {"impressions": Kind.INT, "clicks": Kind.INT}

_INT64 = range(-(2**63), 2**63)


class RequestError(HrlrecError):
    """A ranking request has an unknown, missing or wrongly typed field."""


@dataclasses.dataclass(frozen=True)
class Counts:
    """A user's impressions and clicks so far, of one channel or one tag."""

    impressions: int = 0
    clicks: int = 0


@dataclasses.dataclass(frozen=True)
class Profile:
    """A user's long-term counts before the request, by channel and by tag."""

    channels: Mapping[str, Counts] = dataclasses.field(default_factory=dict)
    tags: Mapping[str, Counts] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An item that may be ranked; `features` holds its optional `item_*` columns.

    With the id alone, the rest comes from the item catalogue of the model.
    """

    item_id: str
    channel: str = ""
    tags: Sequence[str] = ()
    features: Mapping[str, Value] = dataclasses.field(default_factory=dict)

    @property
    def is_id_only(self) -> bool:
        """Whether nothing but the id is given."""
        return not (self.channel or self.tags or self.features)


@dataclasses.dataclass(frozen=True)
class Row(Candidate):
    """An impression of the user's history: an item, its feedback and its as-of counts (`features.COUNTS`)."""

    timestamp: int = 0
    position: int = 0
    clicks: int = 0
    dwell_seconds: float = 0.0
    channel_impressions: int = 0
    channel_clicks: int = 0
    tag_impressions: int = 0
    tag_clicks: int = 0


@dataclasses.dataclass(frozen=True)
class RankRequest:
    """One ranking call: who asks, when, after which history (oldest first), about which candidates.

    Attributes:
      user_id: the user, known to the model or not.
      timestamp: ms UTC.
      candidates: what may be placed, any number from one channel or several; none where the model retrieves them.
      history: the user's impressions before the request, oldest first.
      profile: the user's long-term counts.
      features: the log's optional `user_*` and `context_*` columns.
      epsilon: probability of exploring, in [0, 1].
      request_id: names the list in impression logs; the client makes one where it is "".
    """

    user_id: str
    timestamp: int
    candidates: Sequence[Candidate] = ()
    history: Sequence[Row] = ()
    profile: Profile = dataclasses.field(default_factory=Profile)
    features: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    epsilon: float = 0.0
    request_id: str = ""

    @property
    def is_id_only(self) -> bool:
        """Whether it has candidates and nothing but their ids."""
        return bool(self.candidates) and all(candidate.is_id_only for candidate in self.candidates)

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> "RankRequest":
        """Reads a request file; raises `RequestError` naming the file and the field."""
        path = pathlib.Path(path)
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise RequestError(f"{path}: cannot be read ({error.strerror}); give the path of a JSON file") from error
        except UnicodeDecodeError as error:
            raise RequestError(f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8") from error
        except (json.JSONDecodeError, RecursionError) as error:
            raise RequestError(f"{path}: is not JSON ({error}); a request is one JSON object") from error
        try:
            return cls.from_dict(raw)
        except RequestError as error:
            raise RequestError(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "RankRequest":
        """Builds a request from its JSON form; raises `RequestError` naming the field."""
        prefixes = (features.USER_PREFIX, features.CONTEXT_PREFIX)
        nested = ("candidates", "history", "profile")
        fields = _fields(raw, REQUEST_KINDS, "request", ("user_id", "timestamp", "candidates"), nested, prefixes)
        rows = enumerate(_array(raw.get("history", []), "history"))
        candidates = enumerate(_array(raw["candidates"], "candidates"))
        return cls(
            **fields,
            candidates=tuple(_item(Candidate, CANDIDATE_KINDS, row, f"candidates[{i}]") for i, row in candidates),
            history=tuple(_item(Row, ROW_KINDS, row, f"history[{i}]") for i, row in rows),
            profile=_profile(raw.get("profile", {})),
        )

    def to_dict(self) -> dict[str, Any]:
        """The request's JSON form, without the fields that hold their default; `from_dict` reads it back."""
        return _plain(self)


@dataclasses.dataclass(frozen=True)
class RankedItem:
    """One position of a ranked list; propensities are those of the choice, 1 without exploration."""

    position: int
    item_id: str
    channel: str
    click_probability: float
    q_channel: float
    q_item: float
    propensity_channel: float
    propensity_item: float
    explored: bool


@dataclasses.dataclass(frozen=True)
class RankResponse:
    """A ranked list, first position first; shorter than the model's list length where candidates ran out.

    Attributes:
      items: the list.
      model_version: who made it.
      request_id: names the list in impression logs; events refer to it.
      unknown_candidates: candidates sent by id alone that the model's item catalogue lacks.
    """

    items: Sequence[RankedItem]
    model_version: int
    request_id: str = ""
    unknown_candidates: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The response as plain JSON values."""
        return {**dataclasses.asdict(self), "items": [dataclasses.asdict(item) for item in self.items]}


def typed(value: Any, kind: Kind, where: str) -> Any:
    """`value` as the plain Python value of `kind`; raises `RequestError` naming `where` when it is none."""
    if kind is Kind.STRING and isinstance(value, str):
        return str(value)
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if kind is Kind.INT and is_number and isinstance(value, numbers.Integral) and int(value) in _INT64:
        return int(value)
    if kind is Kind.FLOAT and is_number and math.isfinite(value):
        return float(value)
    rule = {Kind.STRING: "a string", Kind.INT: "a 64-bit integer", Kind.FLOAT: "a finite number"}[kind]
    raise RequestError(f"{where} is {_shown(value)} but must be {rule}; correct it or leave it out if optional")


def unknown_field(name: str, where: str, known: Iterable[str]) -> RequestError:
    """The error for a field name that nothing takes, with the nearest known name."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
    return RequestError(f"{where} has the unknown field {name!r}; {hint}")


def _shown(value: Any) -> str:
    text = "null" if value is None else f"{type(value).__name__} {value!r}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _object(raw: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise RequestError(f"{where} is {_shown(raw)} but must be an object of named fields")
    return raw


def _array(raw: Any, where: str) -> Sequence[Any]:
    if isinstance(raw, str) or not isinstance(raw, Sequence):
        raise RequestError(f"{where} is {_shown(raw)} but must be an array")
    return raw


def _fields(
    raw: Any,
    kinds: Mapping[str, Kind],
    where: str,
    required: Sequence[str],
    nested: Sequence[str] = (),
    prefixes: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The checked scalar fields of one JSON object; its prefixed ones under `features`, its `nested` ones left out."""
    values: dict[str, Any] = {}
    optional: dict[str, Value] = {}
    for name, value in _object(raw, where).items():
        if name in kinds:
            values[name] = typed(value, kinds[name], f"{where}.{name}")
        elif prefixes and name.startswith(prefixes):
            kind = Kind.STRING if isinstance(value, str) else Kind.INT if isinstance(value, int) else Kind.FLOAT
            optional[name] = typed(value, kind, f"{where}.{name}")
        elif name not in nested:
            raise unknown_field(name, where, [*kinds, *nested, *(f"{prefix}*" for prefix in prefixes)])
    missing = [name for name in required if name not in raw]
    if missing:
        raise RequestError(f"{where} lacks the required field {missing[0]!r}; add it")
    return values | ({"features": optional} if prefixes else {})


def _item(cls: type[Candidate], kinds: Mapping[str, Kind], raw: Any, where: str) -> Any:
    fields = _fields(raw, kinds, where, ("item_id",), ("tags",), (features.ITEM_PREFIX,))
    tags = _array(raw.get("tags", []), f"{where}.tags")
    return cls(**fields, tags=tuple(typed(tag, Kind.STRING, f"{where}.tags[{k}]") for k, tag in enumerate(tags)))


def _profile(raw: Any) -> Profile:
    _fields(raw, {}, "profile", (), ("channels", "tags"))
    counts: dict[str, dict[str, Counts]] = {}
    for level in ("channels", "tags"):
        entries = _object(raw.get(level, {}), f"profile.{level}").items()
        counts[level] = {k: Counts(**_fields(v, COUNTS_KINDS, f"profile.{level}[{k!r}]", ())) for k, v in entries}
    return Profile(**counts)


def _plain(value: Any) -> Any:
    """`value` as JSON values; a dataclass without the fields that hold their default, `features` beside the others."""
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if not dataclasses.is_dataclass(value):
        return value
    shown: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        entry = _plain(getattr(value, field.name))
        if field.name == "features":
            shown |= entry
        elif _is_required(field) or entry not in (field.default, [], {}):
            shown[field.name] = entry
    return shown


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
