"""Ten faults of a day's log, the newest or an earlier one: each stops the run or is handled and told."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pandas as pd
import pipeline_fakes as fakes
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx import v1 as tfx
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from hrlrec_tf.data import schema, transform
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.data.examples import SPLITS
from hrlrec_tf.data.input import SessionReader
from hrlrec_tf.data.prepare import prepare
from hrlrec_tf.data.rules import Bots, Day, ListRule
from hrlrec_tf.simulator.config import WorldConfig
from hrlrec_tf.simulator.logs import write_log
from tfx_pipeline import blessed, data_faults, data_gate, reports
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

    def prepared(self, change=None, days=(-1,), window=WINDOW, **settings):
        """The summary of the log with some of its days changed, or without them where `change` returns None."""
        log = self.folder / "changed"
        shutil.rmtree(log, ignore_errors=True)
        shutil.copytree(self.log, log)
        for path in [sorted(log.glob("*.parquet"))[day] for day in days if change is not None]:
            rows = change(pd.read_parquet(path))
            path.unlink()
            if rows is not None:
                rows.to_parquet(path, index=False)
        dataset = window.dataset(DatasetConfig(log=str(log), **settings))
        return prepare(dataset, str(self.folder / "sessions"), overwrite=True, show_progress=False)

    def look(self, change=None, days=(-1,), window=WINDOW, believed=(), **settings):
        """Faults and notes of the log with some of its days changed."""
        summary = self.prepared(change, days, window, **settings)
        found = data_faults.faults(summary, window.dates, DataLimits(), believed)
        if not found:
            out = self.folder / "sessions"
            files = {split: [str(path) for path in (out / split).glob("*.gz")] for split in SPLITS}
            found = data_faults.unknown(data_gate.known_shares(self.reader, files), DataLimits())
            recurring = data_gate.recurring_shares(self.reader, sum(files.values(), []), Day())
            found += data_faults.solitary(recurring, window.dates, DataLimits(), believed)
        return found, data_faults.notes(summary, window.dates, window.without)


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


NEWEST, EARLIER = "2024-01-04", "2024-01-02"


@pytest.mark.parametrize("day", [NEWEST, EARLIER])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: None, "no usable rows of DAY: late, or missing"),
        (without_channel, "channel 'news' has no rows on DAY, 5"),
        (shifted, "of the rows on DAY lie at other hours of the day than on other days (median): is a clock wrong?"),
        (lambda rows: rows.assign(dwell_seconds=rows["dwell_seconds"] * 1000), "DAY has a mean dwell time"),
        (lambda rows: rows.assign(clicks=0), "DAY has a click rate of 0, other days (median) 0."),
        (swapped, "of the rows of DAY were rejected, most of them for request_with_two_users"),
        (mojibake, "item_id: 0.0% of the "),
        (tenfold, "DAY has 26,000 rows, other days (median) 2,600; accepted is 0.3 to 3 times that"),
        (
            lambda rows: rows.assign(channel="radio"),
            "100.0% of the rows on DAY are of channels without rows on other days",
        ),
        (
            lambda rows: rows.assign(position=rows["position"] - 1),
            "DAY were rejected, most of them for position_below_one",
        ),
        (some_from_0, "5.0% of the rows of DAY were rejected, most of them for position_below_one"),
        (some_without_time, "5.0% of the rows of DAY were rejected, most of them for missing_timestamp"),
        (lambda rows: rows.assign(clicks=-1), "100.0% of the rows of DAY were rejected, most of them for negative"),
    ],
    ids=[
        *("missing day", "channel vanished", "clock shift", "milliseconds", "no clicks", "swapped columns"),
        *("unicode", "10x traffic", "all channels renamed", "positions from 0"),
        *("some positions 0", "some times missing", "every row broken"),
    ],
)
def test_a_fault_is_named_with_its_day_alone(feed, change, message, day):
    found, _ = feed.look(change, days=[WINDOW.dates.index(day)])
    remedy = "look at what writes the log" if day == NEWEST else f"leave the day out: --without {day}"
    assert any(message.replace("DAY", day) in fault for fault in found), found
    assert all(remedy in fault and "\n" not in fault for fault in found), found


def test_doubled_rows_are_dropped_and_told(feed):
    def doubled(rows):
        return pd.concat([rows, rows])

    rows = len(pd.read_parquet(sorted(feed.log.glob("*.parquet"))[-1]))
    assert feed.look(doubled) == ([], [f"{rows:,} rows were rejected as duplicate_position"])
    assert feed.look(doubled, deduplicate=True) == ([], [f"{rows:,} rows were rejected as duplicate_row"])


def test_doubled_rows_without_request_ids_are_dropped_and_told(feed):
    def doubled(rows):
        rows = rows.drop(columns=["request_id", "position"])
        return pd.concat([rows, rows])

    rows = sum(len(pd.read_parquet(path)) for path in feed.log.glob("*.parquet"))
    assert feed.look(doubled, days=range(4), list_rule=ListRule()) == (
        [],
        [f"{rows:,} rows were rejected as duplicate_row"],
    )


def test_a_day_that_a_blessed_run_looked_at_is_not_judged_again(feed):
    assert feed.look(tenfold, days=[1], believed=[EARLIER]) == ([], [])


@pytest.mark.parametrize("day", [0, 2])
def test_a_bad_day_that_is_left_out_trains_nothing_and_is_told(feed, day):
    date = WINDOW.dates[day]
    window = dataclasses.replace(WINDOW, without=(date,))
    assert feed.look(tenfold, [day], window) == ([], [f"{date} was left out, 26,000 rows"])
    summary = feed.prepared(tenfold, [day], window)
    assert date not in summary["days"] and summary["rejected_by_day"] == {date: {"day_left_out": 26_000}}
    kept = sum(len(pd.read_parquet(path)) for path in feed.log.glob("*.parquet")) * 3 // 4
    assert summary["accepted"] == kept and min(summary["rows"].values()) > 0
    assert feed.look(lambda rows: None, [day], window) == ([], [f"{date} was left out, 0 rows"])


def test_a_bots_rows_are_dropped_and_told(feed):
    def with_bot(rows):
        times = rows["timestamp"].min() + np.arange(2000)
        bot = pd.concat([rows.head(1)] * 2000).assign(user_id="bot", timestamp=times)
        return pd.concat([rows, bot.assign(request_id=[f"b{n}" for n in range(2000)])])

    assert feed.look(with_bot, bots=Bots(500)) == ([], ["2,000 rows were rejected as too_many_rows_in_a_day"])


def test_a_few_rejected_rows_of_earlier_days_are_told(feed):
    def three_from_0(rows):
        return rows.assign(position=rows["position"].where(np.arange(len(rows)) > 2, 0))

    told = "6 rows of days before 2024-01-04 were rejected, most of them for position_below_one"
    assert feed.look(three_from_0, days=(0, 1)) == ([], [told])


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


# The component itself.


@pytest.fixture(scope="module")
def statistics(feed):
    """Of the clean sessions."""
    folder = feed.folder / "statistics"
    for split in ("train", "eval"):
        (folder / f"Split-{split}").mkdir(parents=True)
        made = tfdv.generate_statistics_from_tfrecord(str(feed.folder / "clean" / split / "*"))
        (folder / f"Split-{split}" / "FeatureStats.pb").write_bytes(made.SerializeToString())
    return folder


def run_gate(feed, statistics, folder, change=None, days=(-1,)):
    """Calls DataGate on the log with some of its days changed; returns where its report is."""
    feed.prepared(change, days)
    sessions = fakes.artifact(tfx.types.standard_artifacts.Examples, folder / "sessions")
    shutil.copy(feed.folder / "sessions" / "summary.json", sessions.uri)
    for split in SPLITS:
        shutil.copytree(feed.folder / "sessions" / split, folder / "sessions" / f"Split-{split}")
    sessions.split_names = artifact_utils.encode_split_names(SPLITS)
    examples_utils.set_payload_format(sessions, example_gen_pb2.FORMAT_TF_EXAMPLE)
    counted = fakes.artifact(tfx.types.standard_artifacts.ExampleStatistics, statistics)
    counted.split_names = artifact_utils.encode_split_names(["train", "eval"])
    counted.set_string_custom_property("tfx_version", tfx.__version__)
    declared = fakes.artifact(tfx.types.standard_artifacts.Schema, folder / "schema")
    shutil.copy(feed.folder / "clean" / "schema.pbtxt", declared.uri)
    report = fakes.artifact(reports.GateReport, folder / "report")
    data_gate.DataGate.test_call(
        examples=sessions,
        statistics=counted,
        schema=declared,
        transform_graph=fakes.artifact(
            tfx.types.standard_artifacts.TransformGraph, feed.folder / "clean" / "transform"
        ),
        report=report,
        date=WINDOW.date,
        days=WINDOW.days,
        day="{}",
        registry=str(folder / "blessed"),
        limits="{}",
    )
    return report.uri


def test_the_gate_lets_a_clean_window_through_and_reports_it(feed, statistics, tmp_path):
    report = reports.read(run_gate(feed, statistics, tmp_path))
    assert report["findings"] == [] and list(report["figures"]["days"]) == WINDOW.dates
    assert set(report["figures"]["known_shares"]) == set(data_gate.KNOWN)


@pytest.mark.parametrize(
    ("change", "day", "message"),
    [
        (tenfold, NEWEST, "nothing was trained: 2024-01-04 has 26,000 rows, other days"),
        (tenfold, EARLIER, "nothing was trained: 2024-01-02 has 26,000 rows, other days"),
        (mojibake, NEWEST, "nothing was trained: item_id: 0.0% of the newest day's values"),
        (mojibake, EARLIER, "nothing was trained: item_id: 0.0% of the values of 2024-01-02"),
    ],
)
def test_the_gate_stops_a_faulty_window(feed, statistics, tmp_path, change, day, message):
    with pytest.raises(reports.GateError, match=message):
        run_gate(feed, statistics, tmp_path, change, [WINDOW.dates.index(day)])
    assert not (tmp_path / "report" / reports.FILE).exists()


@pytest.mark.parametrize("change", [tenfold, mojibake])
def test_the_gate_believes_what_a_blessed_run_looked_at(feed, statistics, tmp_path, change):
    record = tmp_path / "blessed" / "7" / blessed.CARD
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"window": {"date": "2024-01-03", "dates": ["2024-01-02", "2024-01-03"]}}))
    assert pathlib.Path(run_gate(feed, statistics, tmp_path, change, [1]), reports.FILE).exists()
