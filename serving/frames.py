"""Ranking requests from pandas tables, and ranked lists as one.

requests = requests_from_frames(requests_df, candidates_df, history_df, profile_df)
table = responses_to_frame(client.rank_many(requests))
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hrlrec_tf import features
from serving import messages
from serving.messages import Candidate, Counts, Profile, RankRequest, RankResponse, RequestError, Row

_KEY = "request_id"
_PROFILE = (_KEY, "level", "name", "impressions", "clicks")
_LEVELS = ("channel", "tag")
_REQUEST_PREFIXES = (features.USER_PREFIX, features.CONTEXT_PREFIX)


def requests_from_frames(
    requests: pd.DataFrame,
    candidates: pd.DataFrame | None = None,
    history: pd.DataFrame | None = None,
    profile: pd.DataFrame | None = None,
) -> list[RankRequest]:
    """Requests in the order of `requests`; missing values (null, NaN) read as absent.

    Args:
      requests: a row per request: `request_id` (distinct), `user_id`, `timestamp` (ms UTC), optionally `epsilon`,
        `user_*` and `context_*`.
      candidates: a row per candidate: `request_id`, `item_id`, optionally `channel`, `tags` (a list, or text joined by
        "|") and `item_*`.
      history: a row per impression, oldest first within a request: as `candidates`, and feedback and counts as in
        `messages.Row`.
      profile: a row per count: `request_id`, `level` ("channel" or "tag"), `name`, `impressions`, `clicks`.

    Raises:
      RequestError: a column is unknown or missing, a value has the wrong type, or a row belongs to no request.
    """
    _check(requests, "requests", (_KEY, "user_id", "timestamp"), messages.REQUEST_KINDS, _REQUEST_PREFIXES)
    if requests[_KEY].duplicated().any():
        raise RequestError("requests: request_id repeats; give every request its own")
    ids = requests[_KEY].tolist()
    of_candidates = _items(Candidate, candidates, "candidates", messages.CANDIDATE_KINDS, ids)
    of_history = _items(Row, history, "history", messages.ROW_KINDS, ids)
    of_profile = _profiles(profile, ids)
    built = []
    for number, record in enumerate(_records(requests)):
        fixed, optional = _split(record, messages.REQUEST_KINDS, f"requests, row {number}")
        key = record[_KEY]
        built.append(
            RankRequest(
                **fixed,
                candidates=of_candidates.get(key, ()),
                history=of_history.get(key, ()),
                profile=of_profile.get(key, Profile()),
                features=optional,
            )
        )
    return built


def responses_to_frame(responses: Iterable[RankResponse]) -> pd.DataFrame:
    """A row per ranked item: `request_id`, the fields of `RankedItem`, `model_version`."""
    names = [_KEY, *messages.RankedItem.__dataclass_fields__, "model_version"]
    rows = [
        [response.request_id, *(getattr(item, name) for name in names[1:-1]), response.model_version]
        for response in responses
        for item in response.items
    ]
    return pd.DataFrame(rows, columns=names)


def _items(
    cls: type[Candidate], frame: pd.DataFrame | None, where: str, kinds: Mapping[str, Any], ids: Sequence[Any]
) -> dict[Any, tuple[Any, ...]]:
    """The rows of each request."""
    if frame is None:
        return {}
    _check(frame, where, (_KEY, "item_id"), {_KEY: None, "tags": None, **kinds}, (features.ITEM_PREFIX,))
    items: dict[Any, list[Candidate]] = {}
    for number, record in enumerate(_records(frame)):
        key = record.pop(_KEY, None)
        tags = record.pop("tags", ())
        fixed, optional = _split(record, kinds, f"{where}, row {number}")
        if isinstance(tags, str):
            tags = tags.split(features.TAG_SEPARATOR) if tags else ()
        items.setdefault(key, []).append(cls(**{**fixed, "tags": tuple(tags), "features": optional}))
    _check_keys(items, ids, where)
    return {key: tuple(rows) for key, rows in items.items()}


def _profiles(frame: pd.DataFrame | None, ids: Sequence[Any]) -> dict[Any, Profile]:
    if frame is None:
        return {}
    _check(frame, "profile", _PROFILE, dict.fromkeys(_PROFILE), ())
    if unknown := set(frame["level"]) - set(_LEVELS):
        raise RequestError(f"profile: level is {sorted(map(str, unknown))[0]!r} but must be 'channel' or 'tag'")
    counts: dict[Any, dict[str, dict[str, Counts]]] = {}
    for record in _records(frame):
        levels = counts.setdefault(record[_KEY], {level: {} for level in _LEVELS})
        levels[record["level"]][record["name"]] = Counts(record["impressions"], record["clicks"])
    _check_keys(counts, ids, "profile")
    return {key: Profile(levels["channel"], levels["tag"]) for key, levels in counts.items()}


def _check(
    frame: pd.DataFrame, where: str, required: Sequence[str], known: Mapping[str, Any], prefixes: tuple[str, ...]
) -> None:
    if missing := [name for name in required if name not in frame.columns]:
        raise RequestError(f"{where} lacks the column {missing[0]!r}; add it")
    for name in map(str, frame.columns):
        if name not in known and not (prefixes and name.startswith(prefixes)):
            raise messages.unknown_field(name, where, [*known, *(f"{prefix}*" for prefix in prefixes)])


def _check_keys(found: Mapping[Any, Any], ids: Sequence[Any], where: str) -> None:
    if strange := found.keys() - set(ids):
        raise RequestError(
            f"{where} has rows of request {min(map(str, strange))!r}, which requests lacks; add it there"
        )


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain Python values, without missing ones."""
    columns = {str(name): frame[name].tolist() for name in frame.columns}
    present = {
        name: np.ones(len(frame), bool) if name == "tags" else frame[name].notna().to_numpy() for name in columns
    }
    rows: list[dict[str, Any]] = [{} for _ in range(len(frame))]
    for name, values in columns.items():
        for row, value, is_present in zip(rows, values, present[name], strict=True):
            if is_present and value is not None and not (name == "tags" and isinstance(value, float)):
                row[name] = value
    return rows


def _split(record: Mapping[str, Any], kinds: Mapping[str, Any], where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Typed fixed fields, and optional ones."""
    fixed = {name: messages.typed(_whole(record[name], kinds[name]), kinds[name], f"{where}, {name}")
             for name in kinds if name in record}  # fmt: skip
    return fixed, {name: value for name, value in record.items() if name not in kinds}


def _whole(value: Any, kind: features.Kind) -> Any:
    """Whole numbers that a missing value beside them once turned to floats are integers again."""
    is_whole = kind is features.Kind.INT and isinstance(value, float) and value.is_integer()
    return int(value) if is_whole else value
