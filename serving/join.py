"""Served lists and later events made one impression log, which `hrlrec prepare` reads as it is.

Lists and events of one request meet wherever and whenever they were written: both sides are partitioned by a hash of
the request id through files, and partition after partition is joined, so memory does not grow with the logs.

* An event belongs to the list's row of its position, or else of its item. `clicks` and `dwell_seconds` of a row are the
  sums over its events.
* An event counts once: of events with one `event_id` the latest by timestamp holds; events without id are one where all
  they say is equal.
* Events later than the maturity are late and rejected, so that a list's labels do not depend on when it is joined. A
  list younger than the maturity is left to a later join. Clocks differ: events from before their list count as well.
"""

import dataclasses
import json
import math
import pathlib
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hrlrec_tf import features
from hrlrec_tf.data.buckets import Partitioned, PartitionWriter
from hrlrec_tf.data.rejected import RejectedWriter
from hrlrec_tf.data.rules import Masking
from hrlrec_tf.errors import ConfigError
from serving import journal_files, log_lines
from serving.feedback import EVENTS, IMPRESSIONS
from serving.journal_files import FeedbackError
from serving.line_mask import LineMask
from serving.log_lines import Record

SUMMARY = "_summary.json"
REJECTED = "_rejected"
MATURITY_HOURS = 24.0

_HOUR_MS = 3_600_000
_BUCKET_BYTES = 16 << 20
_COUNTED = (
    *("lists", "lists_joined", "lists_repeated", "lists_immature", "lists_unseen", "lists_outside"),
    *("events", "events_joined", "events_repeated", "events_waiting", "rows", "rows_clicked"),
)


@dataclasses.dataclass(frozen=True)
class JoinRule:
    """What is joined, and how.

    Attributes:
      as_of: ms UTC, the time of the join: lists younger than the maturity then are left out.
      maturity_hours: how long events of a list are waited for.
      first, until: ms UTC, lists from `first` on and before `until`.
      seen_only: leave out what nobody saw: positions below the lowest that has an event, lists without events.
      items: item id -> its `tags` and `item_*` columns, for lists that were ranked by ids alone.
      mask: columns that the lists have hashed and the events have not; with `user_id` request ids are hashed.
    """

    as_of: int
    maturity_hours: float = MATURITY_HOURS
    first: int | None = None
    until: int | None = None
    seen_only: bool = False
    items: Mapping[str, Record] = dataclasses.field(default_factory=dict)
    mask: Masking | None = None

    def __post_init__(self) -> None:
        if not self.maturity_hours >= 0:
            raise ConfigError(f"maturity_hours must not be negative: got {self.maturity_hours}")

    def takes(self, timestamp: int) -> bool:
        """Whether a list of that time lies in the days asked for."""
        return (self.first is None or timestamp >= self.first) and (self.until is None or timestamp < self.until)

    def is_mature(self, timestamp: int) -> bool:
        """Whether no event of a list of that time can count any more that is not written yet."""
        return timestamp + self.maturity_hours * _HOUR_MS <= self.as_of


def join(served: str, events: str, out: str, rule: JoinRule) -> dict[str, Any]:
    """Writes the impression log `out`: Parquet files, `_rejected/` and `_summary.json`.

    Args:
      served, events: folders of `ImpressionLog` and `EventLog`; one folder may be both.
      out: a folder that does not exist; it appears complete.
      rule: what is joined, and how.

    Returns:
      What `_summary.json` holds: counts of lists, events and rows; `rejected` lines by reason.

    Raises:
      ConfigError: `out` exists, or the key of the mask is not at hand.
      FeedbackError: a folder is absent, or no list can be joined.
    """
    target = pathlib.Path(out)
    if target.exists():
        raise ConfigError(f"{target} exists; name another --out or remove it")
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "work").mkdir(parents=True)
    try:
        summary = _Join(rule, partial).run(
            journal_files.files(served, IMPRESSIONS), journal_files.files(events, EVENTS)
        )
        if not summary["rows"]:
            raise FeedbackError(
                f"{served}: no list can be joined ({_why(summary, rule)}); join it later, or other days"
            )
        (partial / SUMMARY).write_text(json.dumps(summary, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        shutil.rmtree(partial / "work")
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return summary


class _Join:
    def __init__(self, rule: JoinRule, out: pathlib.Path) -> None:
        self._rule, self._out = rule, out
        self._mask = LineMask(rule.mask)
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._types: dict[str, set[type]] = {}
        self._rejected = RejectedWriter(str(out / REJECTED / "lines.jsonl.gz"))

    def run(self, served: Sequence[pathlib.Path], events: Sequence[pathlib.Path]) -> dict[str, Any]:
        """Partitions both sides, then joins partition after partition."""
        (self._out / REJECTED).mkdir()
        size = sum(path.stat().st_size for path in (*served, *events) if path.exists())
        bits = max(math.ceil(math.log2(max(size, 1) / _BUCKET_BYTES)), 0)
        sides = [self._partition(served, bits, "lists"), self._partition(events, bits, "events")]
        schema = log_lines.log_schema(self._types)
        for bucket in range(1 << bits):
            lists, happened = (log_lines.load(side, bucket, bits) for side in sides)
            rows = sorted(
                self._join(lists, happened), key=lambda row: (row["timestamp"], row["request_id"], row["position"])
            )
            if rows:
                self._counts["rows"] += len(rows)
                name = f"impressions-{bucket:05d}-of-{1 << bits:05d}.parquet"
                pq.write_table(
                    pa.Table.from_pylist([log_lines.as_row(schema, row) for row in rows], schema), self._out / name
                )
        self._rejected.close()
        return {**{name: self._counts[name] for name in _COUNTED}, "rejected": dict(sorted(self._reasons.items()))}

    def _partition(self, paths: Sequence[pathlib.Path], bits: int, side: str) -> Partitioned:
        """The good lines of some files by request, in one file; notes the types of optional columns."""
        with PartitionWriter(str(self._out / "work" / side), "request_id", bits) as writer:
            for table in log_lines.tables(self._good_lines(paths, side)):
                writer.write(table)
        return writer.written

    def _good_lines(self, paths: Iterable[pathlib.Path], side: str) -> Iterator[Record]:
        for path in paths:
            for line in journal_files.read(path):
                reason = "torn_line" if line.is_torn else log_lines.fault(line.record, side)
                text = line.text.decode("utf-8", "backslashreplace")
                to_mask = side == "events" and bool(self._mask.columns)
                if reason is not None:
                    self._reject(line.file, line.number, reason, {} if to_mask else {"text": text})
                    continue
                assert line.record is not None
                record = line.record
                if side == "lists":
                    self._note_types(record)
                elif to_mask:
                    record = self._mask(record)
                    text = json.dumps(record)
                self._counts[side] += 1
                yield {"request_id": record["request_id"], "text": text, "file": line.file, "row": line.number}

    def _note_types(self, record: Record) -> None:
        for columns in (
            record,
            *record["items"],
            *(self._rule.items.get(row["item_id"], {}) for row in record["items"]),
        ):
            for name in features.optional_columns(columns):
                self._types.setdefault(name, set()).add(type(columns[name]))

    def _join(self, lists: Sequence[Record], events: Sequence[Record]) -> Iterator[dict[str, Any]]:
        """The rows of one partition."""
        wanted: dict[str, Record] = {}
        set_aside: dict[str, str] = {}
        for line in lists:
            record = line["record"]
            name, time = record["request_id"], record["timestamp"]
            if name in wanted or name in set_aside:
                self._counts["lists_repeated"] += 1
            elif self._rule.takes(time) and self._rule.is_mature(time):
                wanted[name] = record
            else:
                set_aside[name] = "lists_immature" if self._rule.takes(time) else "lists_outside"
                self._counts[set_aside[name]] += 1
        found: dict[str, dict[int, list[Record]]] = {}
        for line in self._once(events):
            event = line["record"]
            name = event["request_id"]
            if name in set_aside:
                self._counts["events_waiting"] += 1
            elif name not in wanted:
                self._reject(line["file"], line["row"], "no_impression", event)
            elif (position := self._position(wanted[name], event, line)) is not None:
                self._counts["events_joined"] += 1
                found.setdefault(name, {}).setdefault(position, []).append(event)
        for name, record in wanted.items():
            yield from self._rows(record, found.get(name, {}))

    def _once(self, events: Sequence[Record]) -> Iterator[Record]:
        """Each event once: the latest line of an id, the first of equal ones."""
        latest: dict[Any, Record] = {}
        for line in events:
            event = line["record"]
            key = event.get("event_id") or json.dumps(event, sort_keys=True)
            before = latest.get((event["request_id"], key))
            if before is not None:
                self._counts["events_repeated"] += 1
            if before is None or _age(event) > _age(before["record"]):
                latest[event["request_id"], key] = line
        yield from latest.values()

    def _position(self, record: Record, event: Record, line: Record) -> int | None:
        """The position that an event is about; None, and rejected, where it fits none or comes too late."""
        places = {row["position"]: row["item_id"] for row in record["items"]}
        position, item = event.get("position"), event.get("item_id")
        if position is None:
            position = next((place for place, placed in places.items() if placed == item), None)
        reason = None
        if position not in places:
            reason = "no_such_position"
        elif item is not None and places[position] != item:
            reason = "another_item_there"
        elif (
            abs(event.get("timestamp", record["timestamp"]) - record["timestamp"])
            > self._rule.maturity_hours * _HOUR_MS
        ):
            reason = "outside_maturity"
        if reason is None:
            return position
        self._reject(line["file"], line["row"], reason, event)
        return None

    def _rows(self, record: Record, found: Mapping[int, Sequence[Record]]) -> Iterator[dict[str, Any]]:
        if self._rule.seen_only and not found:
            self._counts["lists_unseen"] += 1
            return
        self._counts["lists_joined"] += 1
        head = {name: value for name, value in record.items() if name != "items"}
        for item in record["items"]:
            if self._rule.seen_only and item["position"] > max(found):
                continue
            happened = found.get(item["position"], ())
            clicks = sum(event.get("clicks", 0) for event in happened)
            dwell = sum(event.get("dwell_seconds", 0.0) for event in happened)
            self._counts["rows_clicked"] += clicks > 0
            known = self._rule.items.get(item["item_id"], {})
            yield {**known, **head, **item, "clicks": clicks, "dwell_seconds": dwell}

    def _reject(self, file: str, row: int, reason: str, values: Record) -> None:
        self._reasons[reason] += 1
        self._rejected.write([{"file": file, "row": row, "reason": reason, "values": values}])


def _age(event: Record) -> tuple[Any, ...]:
    return tuple(event.get(name, 0) for name in ("timestamp", "clicks", "dwell_seconds"))


def _why(summary: Mapping[str, Any], rule: JoinRule) -> str:
    return (
        f"{summary['lists']:,} read, {summary['lists_immature']:,} younger than {rule.maturity_hours:g} hours, "
        f"{summary['lists_outside']:,} of other days, {summary['lists_unseen']:,} without events"
    )
