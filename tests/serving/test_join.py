import gzip
import json
import pathlib
import random

import pandas as pd
import pyarrow.parquet as pq
import pytest
import tiny

from hrlrec_tf.data import masking, prepare
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.data.rules import Masking
from hrlrec_tf.errors import ConfigError
from serving import feedback_verbs, join, log_lines
from serving.feedback import EventLog, FeedbackError, ImpressionLog
from serving.join import JoinRule
from serving.messages import Candidate, RankedItem, RankRequest, RankResponse

START, HOUR = 1_700_000_000_000, 3_600_000
RULE = JoinRule(as_of=START + 1000 * HOUR)


def serve(log: ImpressionLog, request_id: str, items: str, time: int = START, **features) -> None:
    """Logs a list of one-letter items to user `u`."""
    candidates = [Candidate(item, "news" if item < "m" else "video", (item,), {"item_length": 2.5}) for item in items]
    placed = [RankedItem(n, c.item_id, c.channel, 0.5, 0, 0, 0.5, 0.25, n == 1) for n, c in enumerate(candidates, 1)]
    log.served(RankRequest("u", time, candidates, features=features), RankResponse(placed, 3, request_id))


@pytest.fixture
def logs(tmp_path):
    with ImpressionLog(tmp_path / "served") as served, EventLog(tmp_path / "events") as events:
        yield served, events


def joined(tmp_path: pathlib.Path, rule: JoinRule = RULE) -> tuple[dict, pd.DataFrame, list[dict]]:
    """Summary, rows and rejected lines."""
    summary = join.join(str(tmp_path / "served"), str(tmp_path / "events"), str(tmp_path / "log"), rule)
    rejected = tmp_path / "log" / "_rejected" / "lines.jsonl.gz"
    lines = gzip.open(rejected, "rt").read().splitlines() if rejected.exists() else []
    assert json.loads((tmp_path / "log" / "_summary.json").read_text()) == summary
    return (
        summary,
        pd.concat(map(pd.read_parquet, sorted((tmp_path / "log").glob("*.parquet")))),
        list(map(json.loads, lines)),
    )


def clicks(rows: pd.DataFrame) -> dict:
    return {(row.request_id, row.position): (row.clicks, row.dwell_seconds) for row in rows.itertuples()}


def test_events_meet_their_rows(tmp_path, logs):
    served, events = logs
    serve(served, "r1", "abz", user_age=3)
    serve(served, "r2", "b", START + HOUR)
    events.event("r1", 3, clicks=1, dwell_seconds=4, timestamp=START + 10)
    events.event("r1", item_id="a", clicks=1, timestamp=START + 20)
    events.event("r1", 1, "a", clicks=1, dwell_seconds=0.5, timestamp=START + 30)
    events.event("r2", 1, dwell_seconds=9, timestamp=START + HOUR - 5)  # the device's clock is late
    summary, rows, rejected = joined(tmp_path)
    assert clicks(rows) == {("r1", 1): (2, 0.5), ("r1", 2): (0, 0), ("r1", 3): (1, 4), ("r2", 1): (0, 9)}
    assert (summary["lists_joined"], summary["events_joined"], summary["rows"], summary["rows_clicked"]) == (2, 4, 4, 2)
    first = rows.iloc[2].to_dict()
    assert list(first.pop("tags")) == ["z"]
    assert first == {
        "request_id": "r1", "user_id": "u", "timestamp": START, "position": 3, "item_id": "z", "channel": "video",
        "clicks": 1, "dwell_seconds": 4.0, "propensity_channel": 0.5, "propensity_item": 0.25, "explored": False,
        "model_version": "3", "item_length": 2.5, "user_age": 3.0,
    }  # fmt: skip
    assert rejected == []


def test_events_count_once(tmp_path, logs):
    served, events = logs
    serve(served, "r1", "ab")
    serve(served, "r1", "ba")  # logged twice, by client and server
    for _ in range(3):
        events.event("r1", 1, clicks=1, timestamp=START + 1)
        events.event("r1", 2, clicks=1, timestamp=START + 1, event_id="e")
    for seconds in (5, 30, 20):  # reading time as it grows, under one id; out of order
        events.event("r1", 1, dwell_seconds=seconds, timestamp=START + seconds, event_id="reading")
    summary, rows, _ = joined(tmp_path)
    assert clicks(rows) == {("r1", 1): (1, 30), ("r1", 2): (1, 0)} and rows["item_id"].tolist() == ["a", "b"]
    assert (summary["events"], summary["events_repeated"], summary["events_joined"]) == (9, 6, 3)
    assert summary["lists_repeated"] == 1


def test_events_that_fit_nothing_are_kept_apart(tmp_path, logs):
    served, events = logs
    serve(served, "r1", "ab")
    events.event("r9", 1, clicks=1, timestamp=START)
    events.event("r1", 7, clicks=1, timestamp=START)
    events.event("r1", item_id="q", clicks=1, timestamp=START)
    events.event("r1", 1, "b", clicks=1, timestamp=START)
    events.event("r1", 1, clicks=1, timestamp=START + 24 * HOUR + 1)
    events.event("r1", 1, clicks=1, timestamp=START + 24 * HOUR)
    events.write({"request_id": "r1", "position": 1, "clicks": -1})
    events.write({"request_id": "r1"})
    served.write({"request_id": "r2", "items": []})
    summary, rows, rejected = joined(tmp_path)
    assert clicks(rows) == {("r1", 1): (1, 0), ("r1", 2): (0, 0)}
    assert summary["rejected"] == {
        "another_item_there": 1, "no_impression": 1, "no_such_position": 2, "not_a_served_list": 1, "not_an_event": 2,
        "outside_maturity": 1,
    }  # fmt: skip
    late = next(line for line in rejected if line["reason"] == "outside_maturity")
    assert (
        late["row"] == 5 and late["file"].startswith("events-") and late["values"]["timestamp"] == START + 24 * HOUR + 1
    )


def test_young_lists_wait_and_other_days_are_left_out(tmp_path, logs):
    served, events = logs
    for n in range(4):
        serve(served, f"r{n}", "a", START + n * HOUR)
        events.event(f"r{n}", 1, clicks=1, timestamp=START + n * HOUR)
    rule = JoinRule(as_of=START + 4 * HOUR, maturity_hours=2, first=START + 1)
    summary, rows, rejected = joined(tmp_path, rule)
    assert rows["request_id"].tolist() == ["r1", "r2"] and rejected == []
    assert (summary["lists_outside"], summary["lists_immature"], summary["events_waiting"]) == (1, 1, 2)


def test_only_what_was_seen(tmp_path, logs):
    served, events = logs
    serve(served, "r1", "abcd")
    serve(served, "r2", "abcd")
    events.event("r1", 1, clicks=1, timestamp=START)
    events.event("r1", 3, timestamp=START)  # scrolled so far
    summary, rows, _ = joined(tmp_path, JoinRule(as_of=RULE.as_of, seen_only=True))
    assert clicks(rows) == {("r1", 1): (1, 0), ("r1", 2): (0, 0), ("r1", 3): (0, 0)}
    assert summary["lists_unseen"] == 1


def test_lists_ranked_by_ids_get_their_columns_from_a_table(tmp_path, logs):
    served, _ = logs
    request = RankRequest("u", START, (Candidate("a"), Candidate("b")))
    placed = [RankedItem(n, item, "news", 0.5, 0, 0, 1, 1, False) for n, item in enumerate("ab", 1)]
    served.served(request, RankResponse(placed, 3, "r1"))
    items = tmp_path / "items.jsonl"
    items.write_text('{"item_id": "a", "tags": ["t"], "item_length": 2.5, "title": "x"}\n')
    _, rows, _ = joined(tmp_path, JoinRule(as_of=RULE.as_of, items=log_lines.read_items(items)))
    assert list(rows["tags"].iloc[0]) == ["t"] and rows["tags"].iloc[1] is None
    assert rows["item_length"].iloc[0] == 2.5 and "title" not in rows
    with pytest.raises(FeedbackError, match="absent.jsonl: no table of items"):
        log_lines.read_items(tmp_path / "absent.jsonl")


def test_a_torn_line_is_told_and_the_rest_joined(tmp_path, logs):
    served, _ = logs
    serve(served, "r1", "ab")
    (path,) = (tmp_path / "served").glob("*.open")
    dead = tmp_path / "served" / "impressions-dead.jsonl.open"
    lines = path.read_bytes().replace(b'"r1"', b'"r0"')
    dead.write_bytes(lines + lines[:50] + b"")
    summary, rows, rejected = joined(tmp_path)
    assert set(rows["request_id"]) == {"r0", "r1"} and summary["rejected"] == {"torn_line": 1}
    assert rejected[0]["values"]["text"].encode() == lines[:50]
    assert dead.read_bytes() == lines + lines[:50]  # reading changes nothing


def test_partitions_change_nothing(tmp_path, logs, monkeypatch):
    served, events = logs
    draw = random.Random(5)
    for n in range(300):
        serve(served, f"r{n}", "".join(draw.sample("abcdefxyz", draw.randint(1, 9))), START + n)
        for _ in range(draw.randint(0, 4)):
            events.event(f"r{n}", draw.randint(1, 9), clicks=draw.randint(0, 1), timestamp=START + n)
    whole = joined(tmp_path)
    (tmp_path / "log").rename(tmp_path / "whole")
    monkeypatch.setattr(join, "_BUCKET_BYTES", 20_000)
    parts = joined(tmp_path)
    assert len(list((tmp_path / "log").glob("*.parquet"))) > 4
    assert parts[0] == whole[0] and clicks(parts[1]) == clicks(whole[1])
    schemas = {str(pq.read_schema(path)) for path in (tmp_path / "log").glob("*.parquet")}
    assert len(schemas) == 1


@pytest.mark.parametrize("where", ["in the event log", "in the join"])
def test_masked_lists_and_events_meet(tmp_path, monkeypatch, where):
    """Events are hashed as they are written, or by the join; neither the log nor what is rejected shows a raw id."""
    monkeypatch.setenv("HRLREC_MASK_KEY", "secret")
    mask = Masking(("user_id", "item_id"))
    early, late = (mask, None) if where == "in the event log" else (None, mask)
    with ImpressionLog(tmp_path / "served", mask=mask) as served, EventLog(tmp_path / "events", mask=early) as events:
        serve(served, "u/1", "ab")
        serve(served, "u/2", "b")
        events.event("u/1", 2, clicks=1, timestamp=START)
        events.event("u/2", item_id="b", clicks=1, dwell_seconds=3, timestamp=START)
        events.event("u/3", 1, clicks=1, timestamp=START)
        if late:
            events.write({"request_id": "u/1", "position": -1.5})
    summary, rows, rejected = joined(tmp_path, JoinRule(as_of=RULE.as_of, mask=late))
    hashed = {text: masking.mask_text(text, b"secret") for text in ("u/1", "u/2", "u/3", "b")}
    assert clicks(rows) == {(hashed["u/1"], 1): (0, 0), (hashed["u/1"], 2): (1, 0), (hashed["u/2"], 1): (1, 3)}
    assert rows["item_id"].tolist()[-1] == hashed["b"] and summary["events_joined"] == 2
    assert [line["values"].get("request_id") for line in rejected if line["reason"] == "no_impression"] == [
        hashed["u/3"]
    ]
    assert summary["rejected"] == {"no_impression": 1} | ({"not_an_event": 1} if late else {})
    assert "u/" not in json.dumps(rejected)


def test_the_log_is_read_without_configuration(tmp_path, logs):
    served, events = logs
    for n in range(50):
        serve(served, f"r{n}", "abxyz", START + n * HOUR, user_age=float(n), context_device="ios")
        events.event(f"r{n}", 1 + n % 5, clicks=1, dwell_seconds=3, timestamp=START + n * HOUR)
    events.event("r0", 9, timestamp=START)
    joined(tmp_path)
    summary = prepare.prepare(DatasetConfig(log=str(tmp_path / "log")), str(tmp_path / "sessions"), show_progress=False)
    assert (summary["read"], summary["accepted"], summary["lists"]) == (250, 250, 50)
    assert summary["ignored_files"] == []


def test_the_verb(tmp_path, logs, capsys):
    served, events = logs
    serve(served, "r1", "ab", time=1_767_225_600_000)  # 2026-01-01
    serve(served, "r2", "ab", time=1_767_225_600_000 + 24 * HOUR)
    events.event("r1", 2, clicks=1, timestamp=1_767_225_600_000)
    words = f"--served={tmp_path / 'served'} --events={tmp_path / 'events'} --out={tmp_path / 'log'}"
    result = tiny.run_verb(feedback_verbs.JOIN, f"{words} --until 2026-01-02 --as-of 2026-01-03T00:00:00")
    assert result["rows"] == 2 and result["lists_outside"] == 1
    printed = capsys.readouterr().out
    assert "2 impressions of 1 lists, 1 clicked" in printed and "1 lists are of other days" in printed
    assert "no event names" not in printed
    with pytest.raises(ConfigError, match="log exists; name another --out"):
        tiny.run_verb(feedback_verbs.JOIN, words)
    with pytest.raises(FeedbackError, match=r"no list can be joined \(2 read, 2 younger than 24 hours"):
        tiny.run_verb(feedback_verbs.JOIN, words.replace("/log", "/new") + " --as-of 2026-01-01")
    assert not (tmp_path / "new").exists() and not list(tmp_path.glob(".*"))
    with pytest.raises(FeedbackError, match="there is no such folder"):
        tiny.run_verb(feedback_verbs.JOIN, words.replace("/served", "/absent").replace("/log", "/new"))
    with pytest.raises(SystemExit):
        tiny.run_verb(feedback_verbs.JOIN, f"{words} --until yesterday")


def test_the_verb_hashes_events(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HRLREC_MASK_KEY", "secret")
    with ImpressionLog(tmp_path / "served", mask=Masking(("user_id",))) as served:
        with EventLog(tmp_path / "events") as events:
            serve(served, "r1", "ab")
            events.event("r1", 2, clicks=1, timestamp=START)
    words = f"--served={tmp_path / 'served'} --events={tmp_path / 'events'} --out={tmp_path / 'log'}"
    assert tiny.run_verb(feedback_verbs.JOIN, words)["events_joined"] == 0
    assert "no event names a served list" in capsys.readouterr().out
    assert tiny.run_verb(feedback_verbs.JOIN, f"{words}-of-hashed --mask user_id")["events_joined"] == 1
    assert "no event names" not in capsys.readouterr().out
