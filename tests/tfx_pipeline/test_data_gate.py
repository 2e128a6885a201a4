"""Ten faults of a day's log: each is stopped by the right finding or handled and told; none is silently trained on."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2

from hrlrec_tf.data import schema, transform
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.data.input import SessionReader
from hrlrec_tf.data.prepare import prepare
from hrlrec_tf.data.rules import Bots
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.logs import write_log
from tfx_pipeline import data_faults, data_gate
from tfx_pipeline.data_faults import DataLimits
from tfx_pipeline.window import Window

WINDOW = Window("2024-01-04", train_days=3)
HOUR = 3_600_000


@dataclasses.dataclass
class Feed:
    """A clean log of four days and the transform graph of the first three."""

    log: str
    folder: object
    reader: SessionReader

    def look(self, change=None, old=None, **settings):
        """Faults and notes of the log with its newest day changed, without a day where `change` returns None, and its
        other days by `old`.
        """
        log = self.folder / "changed"
        shutil.rmtree(log, ignore_errors=True)
        shutil.copytree(self.log, log)
        *before, newest = sorted(log.glob("*.parquet"))
        for path, change_day in [(newest, change), *((path, old) for path in before)]:
            if change_day is not None:
                rows = change_day(pd.read_parquet(path))
                path.unlink()
                if rows is not None:
                    rows.to_parquet(path, index=False)
        dataset = WINDOW.dataset(DatasetConfig(log=str(log), **settings))
        out = self.folder / "sessions"
        summary = prepare(dataset, str(out), overwrite=True, show_progress=False)
        found = data_faults.faults(summary, WINDOW.dates, DataLimits())
        if not found:
            files = {split: [str(path) for path in (out / split).glob("*.gz")] for split in ("validation", "eval")}
            found = data_faults.unknown(data_gate.known_shares(self.reader, files), DataLimits())
        return found, data_faults.notes(summary, WINDOW.dates)


@pytest.fixture(scope="module")
def feed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("feed")
    world = WorldConfig(users=300, items=200, days=4, requests_per_day=260)
    write_log(world, folder / "log", progress=False)
    dataset = WINDOW.dataset(DatasetConfig(log=str(folder / "log")))
    prepare(dataset, str(folder / "clean"), show_progress=False)
    declared = schema.read(folder / "clean" / "schema.pbtxt")
    transform.fit(str(folder / "clean" / "train" / "*"), declared, str(folder / "clean" / "transform"))
    return Feed(folder / "log", folder, SessionReader(declared, str(folder / "clean" / "transform")))


def test_a_clean_day_has_no_fault(feed):
    assert feed.look() == ([], [])


def without_channel(rows):
    return rows[rows["channel"] != "news"]


def shifted(rows):
    return rows.assign(timestamp=rows["timestamp"] - 8 * HOUR)


def swapped(rows):
    return rows.assign(item_id=rows["user_id"], user_id=rows["item_id"])


def mojibake(rows):
    def broken(tags):
        return [f"{tag[:-1]}Ã©" for tag in tags]

    return rows.assign(tags=rows["tags"].map(broken), item_id=rows["item_id"] + "Ã©")


def some_from_0(rows):
    """5 % of a day's rows, which is little of four days."""
    return rows.assign(position=rows["position"].where(np.arange(len(rows)) % 20 > 0, 0))


def some_without_time(rows):
    return rows.assign(timestamp=rows["timestamp"].where(np.arange(len(rows)) % 20 > 0))


def tenfold(rows):
    copies = [rows.assign(request_id=rows["request_id"] + f"-{n}", timestamp=rows["timestamp"] + n) for n in range(10)]
    return pd.concat(copies)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: None, "no usable rows of 2024-01-04: late, or missing"),
        (without_channel, "channel 'news' has no rows on 2024-01-04, before it had"),
        (shifted, "lie at other hours of the day than before: is a clock wrong?"),
        (lambda rows: rows.assign(dwell_seconds=rows["dwell_seconds"] * 1000), "has a mean dwell time"),
        (lambda rows: rows.assign(clicks=0), "2024-01-04 has a click rate of 0, the days before it"),
        (swapped, "most of them for request_with_two_users"),
        (mojibake, "item_id: 0.0% of the newest day's values were seen in training"),
        (tenfold, "a day before it"),
        (lambda rows: rows.assign(channel="radio"), "channel 'article' has no rows"),
        (lambda rows: rows.assign(position=rows["position"] - 1), "most of them for position_below_one"),
        (some_from_0, "5.0% of the rows of 2024-01-04 were rejected, most of them for position_below_one"),
        (some_without_time, "5.0% of the rows of 2024-01-04 were rejected, most of them for missing_timestamp"),
        (
            lambda rows: rows.assign(clicks=-1),
            "100.0% of the rows of 2024-01-04 were rejected, most of them for negative",
        ),
    ],
    ids=[
        *("missing day", "channel vanished", "clock shift", "milliseconds", "no clicks", "swapped columns"),
        *("unicode", "10x traffic", "all channels renamed", "positions from 0"),
        *("some positions 0", "some times missing", "every row broken"),
    ],
)
def test_a_fault_is_named(feed, change, message):
    found, _ = feed.look(change)
    assert any(message in fault for fault in found), found
    assert all("run " in fault and "\n" not in fault for fault in found)


def test_doubled_rows_are_dropped_and_told(feed):
    def doubled(rows):
        return pd.concat([rows, rows])

    rows = len(pd.read_parquet(sorted(feed.log.glob("*.parquet"))[-1]))
    assert feed.look(doubled) == ([], [f"{rows:,} rows were rejected as duplicate_position"])
    assert feed.look(doubled, deduplicate=True) == ([], [f"{rows:,} rows were rejected as duplicate_row"])


def test_a_bots_rows_are_dropped_and_told(feed):
    def with_bot(rows):
        times = rows["timestamp"].min() + np.arange(2000)
        bot = pd.concat([rows.head(1)] * 2000).assign(user_id="bot", timestamp=times)
        return pd.concat([rows, bot.assign(request_id=[f"b{n}" for n in range(2000)])])

    assert feed.look(with_bot, bots=Bots(500)) == ([], ["2,000 rows were rejected as too_many_rows_in_a_day"])


def test_rejected_rows_of_earlier_days_stop_no_good_day(feed):
    days = sorted(feed.log.glob("*.parquet"))[:-1]
    rows = sum(-(-len(pd.read_parquet(path)) // 20) for path in days)
    told = f"{rows:,} rows of days before 2024-01-04 were rejected, most of them for position_below_one"
    assert feed.look(old=some_from_0) == ([], [told])


def test_a_new_channel_is_told(feed):
    def with_radio(rows):
        return rows.assign(channel=np.where(np.arange(len(rows)) % 20 == 0, "radio", rows["channel"]))

    assert feed.look(with_radio) == ([], ["channel 'radio' is new; it can be learnt from the next run on"])


def test_a_column_that_drifts_is_named():
    declared = schema_pb2.Schema()
    for name in ("user_gender", "item_author"):
        declared.feature.add(name=name, type=schema_pb2.BYTES)
    old, new = (
        tfdv.generate_statistics_from_dataframe(pd.DataFrame({"user_gender": genders, "item_author": authors}))
        for genders, authors in ((["f", "m"] * 50, ["a"] * 100), (["f"] * 100, ["b"] * 100))
    )
    assert data_gate.drifts(declared, old, old, DataLimits()) == []
    (fault,) = data_gate.drifts(declared, old, new, DataLimits())
    assert fault.startswith("user_gender: ") and "0.5" in fault


def test_a_column_that_the_training_days_lack_counts_as_drifted():
    declared = schema_pb2.Schema()
    declared.feature.add(name="context_mood", type=schema_pb2.BYTES)
    train, newest = (
        tfdv.generate_statistics_from_dataframe(pd.DataFrame({"context_mood": moods}))
        for moods in ([""] * 60 + ["keen"] * 40, ["keen"] * 100)
    )
    (fault,) = data_gate.drifts(declared, train, newest, DataLimits())
    assert fault.startswith("context_mood: ")
    assert data_gate.drifts(declared, train, newest, DataLimits(drift=1.0)) == []
