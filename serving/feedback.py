"""What was served and what came of it, as append-only logs: the two sides that `hrlrec join` makes one.

    with ImpressionLog("served") as impressions, EventLog("events") as events:
        with RankingClient(address, impression_log=impressions) as client:
            response = client.rank(request)
        events.event(response.request_id, position=3, clicks=1, dwell_seconds=12.5)

A served list is one line: `request_id`, `user_id`, `timestamp`, `model_version`, the request's `user_*` and `context_*`
columns and, under `items`, each position with its item, tags, `item_*` columns and propensities. An event is one line:
`request_id`, `position` or `item_id`, `clicks`, `dwell_seconds`, `timestamp`, `event_id`.
"""

import os
import time
import uuid
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from hrlrec_tf.data.rules import Masking
from hrlrec_tf.features import Kind
from serving import tensor_values, tensors
from serving.batches import RANK, RANK_IDS, RECOMMEND
from serving.journal import Journal
from serving.journal_files import FeedbackError
from serving.line_mask import LineMask
from serving.messages import RankedItem, RankRequest, RankResponse, Value, typed

__all__ = ["EventLog", "FeedbackError", "ImpressionLog"]

# The names of a call's lists, joined by commas, travel beside the call.
REQUEST_ID_KEY = "x-request-id"
_RANKING = ("", "serving_default", RANK, RANK_IDS, RECOMMEND)

IMPRESSIONS = "impressions"
EVENTS = "events"
EVENT_KINDS = {
    "request_id": Kind.STRING,
    "position": Kind.INT,
    "item_id": Kind.STRING,
    "clicks": Kind.INT,
    "dwell_seconds": Kind.FLOAT,
    "timestamp": Kind.INT,
    "event_id": Kind.STRING,
}


class ImpressionLog(Journal):
    """Writes served lists; see the module docstring. Further arguments and errors are `Journal`'s.

    Args:
      folder: where the files go.
      mask: columns whose values are replaced by keyed hashes, `user_id` and `item_id` among others; with `user_id`
        request ids are, too. The key comes from the environment, as in `dataset.yaml`.
    """

    def __init__(self, folder: str | os.PathLike[str], *, mask: Masking | None = None, **options: Any) -> None:
        self._mask = LineMask(mask)
        super().__init__(folder, IMPRESSIONS, **options)

    def served(self, request: RankRequest, response: RankResponse, numeric: Collection[str] = ()) -> None:
        """Writes one list; an empty one leaves no line.

        Args:
          request, response: what a client sent and got.
          numeric: optional columns that the model takes as measured quantities: their integers are logged as floats, as
            the log that the model learnt from has them.
        """
        if not response.items:
            return
        candidates = {candidate.item_id: candidate for candidate in request.candidates}
        items = []
        for item in response.items:
            candidate = candidates.get(item.item_id)
            line = _placed(item)
            if candidate is not None and not candidate.is_id_only:
                line |= {"tags": list(candidate.tags)} | _quantities(candidate.features, numeric)
            items.append(self._mask(line))
        head = {
            "request_id": response.request_id or request.request_id,
            "user_id": request.user_id,
            "timestamp": request.timestamp,
            "model_version": str(response.model_version),
        }
        self.write(self._mask(head | _quantities(request.features, numeric)) | {"items": items})


class EventLog(Journal):
    """Writes what users did with served lists; see the module docstring. Arguments and errors are `Journal`'s.

    Args:
      folder: where the files go; it may be the impressions' own.
      mask: the impression log's: events name lists, and items, as it does.
    """

    def __init__(self, folder: str | os.PathLike[str], *, mask: Masking | None = None, **options: Any) -> None:
        self._mask = LineMask(mask)
        super().__init__(folder, EVENTS, **options)

    def event(
        self,
        request_id: str,
        position: int | None = None,
        item_id: str | None = None,
        *,
        clicks: int = 0,
        dwell_seconds: float = 0.0,
        timestamp: int | None = None,
        event_id: str = "",
    ) -> None:
        """Writes one event; without clicks and dwell time it says that the position was seen.

        Args:
          request_id: of the list, as its response has it.
          position, item_id: which of its items; one of both is enough.
          clicks, dwell_seconds: what this event adds to them.
          timestamp: ms UTC; by default now.
          event_id: names the event: sent again, it counts once, and the latest of its lines holds.

        Raises:
          RequestError: a value has the wrong type, or neither position nor item is given.
        """
        values: dict[str, Value | None] = {
            "request_id": request_id,
            "position": position,
            "item_id": item_id,
            "clicks": clicks,
            "dwell_seconds": dwell_seconds,
            "timestamp": round(time.time() * 1000) if timestamp is None else timestamp,
            "event_id": event_id or None,
        }
        given = {name: typed(value, EVENT_KINDS[name], name) for name, value in values.items() if value is not None}
        if position is None and item_id is None:
            raise FeedbackError("an event names no item of its list; give its position or its item_id")
        self.write(self._mask(given))


def log_predict(log: ImpressionLog, request: Any, response: Any, metadata: Iterable[tuple[str, Any]] = ()) -> None:
    """Writes the lists of an answered Predict call, for servers; calls of other signatures leave no line.

    Args:
      log: where to.
      request, response: PredictRequest and PredictResponse.
      metadata: of the call; the client's names of the lists are there. Lists without get new ones.
    """
    if request.model_spec.signature_name not in _RANKING:
        return
    if "item_id" not in response.outputs:  # scores, or a list that the caller wanted only a part of
        return
    outputs = {name: tensor_values.to_array(proto) for name, proto in response.outputs.items()}
    given = next((value for key, value in metadata if key == REQUEST_ID_KEY), "")
    names = given.split(",") if given else []
    version, count = response.model_spec.version.value, len(outputs["item_id"])
    if len(names) != count:
        names = [uuid.uuid4().hex for _ in range(count)]
    responses = [tensor_values.to_response(outputs, place, version, name) for place, name in enumerate(names)]
    placed = [set(ids) for ids in outputs["item_id"].tolist()]
    numeric = tensors.numeric_columns(tensors.inputs_of(request.inputs))
    for ranked, answer in zip(tensor_values.to_requests(request.inputs, placed), responses, strict=True):
        log.served(ranked, answer, numeric)


def _placed(item: RankedItem) -> dict[str, Any]:
    return {
        "position": item.position,
        "item_id": item.item_id,
        "channel": item.channel,
        "propensity_channel": item.propensity_channel,
        "propensity_item": item.propensity_item,
        "explored": item.explored,
    }


def _quantities(columns: Mapping[str, Value], numeric: Collection[str]) -> dict[str, Value]:
    return {
        name: float(value) if name in numeric and isinstance(value, int) else value for name, value in columns.items()
    }
