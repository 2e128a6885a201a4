"""The cut on rare values of user features: who counts, what a cut value reads as, and where it must not show."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pytest
import tiny

from hrlrec_tf import features
from hrlrec_tf.data import k_anonymity, parsing, prepare, schema, transform
from hrlrec_tf.data.config import DatasetConfig
from hrlrec_tf.data.input import SessionReader
from hrlrec_tf.data.rules import KAnonymity
from hrlrec_tf.errors import ConfigError

from . import logs

DAY_MS = 86_400_000
# City -> users; the last user of "late" comes only when the evaluation split has begun.
USERS = {"big": 5, "small": 2, "late": 3, "": 2}


def write_log(folder):
    rows = []
    for city, count in USERS.items():
        for number in range(count):
            late = city == "late" and number == 2
            for request in range(4):
                for position in (1, 2):
                    rows.append(
                        {
                            "request_id": f"{city}{number}-{request}",
                            "user_id": f"{city}{number}",
                            "timestamp": logs.START + (9 if late else 3 * (request == 3)) * DAY_MS + request * 60_000,
                            "position": position,
                            "item_id": f"i{position}",
                            "channel": "news",
                            "clicks": 0,
                            "user_city": city,
                            "user_kind": "human",
                        }
                    )
    broken = dict(rows[0], request_id="broken", clicks=-1, user_city="small")
    return logs.write_parquet([*rows, broken], folder, files=3)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("city")
    split = {"validation_from": logs.START + 2 * DAY_MS, "eval_from": logs.START + 5 * DAY_MS}
    settings = {"k_anonymity": {"columns": ["user_city", "user_kind"], "k": 3}, "split": split}
    dataset = parsing.build(DatasetConfig, {"log": write_log(folder / "log"), **settings}, "")
    summary = prepare.prepare(dataset, str(folder / "out"), logs.IN_MEMORY, show_progress=False)
    return folder / "out", summary


def cities(folder) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for split in ("train", "validation", "eval"):
        for session in logs.read_sessions(folder, split, ["user_id", "user_city"]):
            found.setdefault(session["user_id"][0].rstrip("0123456789"), set()).add(session["user_city"][0])
    return found


def test_values_of_fewer_users_are_cut_and_missing_ones_stay(made):
    """Two users hold `late` before the evaluation split: its third does not count."""
    assert cities(made[0]) == {"big": {"big"}, "small": {features.RARE}, "late": {features.RARE}, "": {""}}


def test_the_summary_counts_them(made):
    found = made[1]["k_anonymity"]
    assert found["k"] == 3 and found["columns"]["user_city"] == {
        "values_kept": 1,
        "values_cut": 2,
        "users": 5,
        "rows": 5 * 8,
    }
    assert found["columns"]["user_kind"] == {"values_kept": 1, "values_cut": 0, "users": 0, "rows": 0}
    assert json.loads((made[0] / "summary.json").read_text())["k_anonymity"] == found


def test_rejected_rows_do_not_show_them(made):
    (file,) = (made[0] / "rejected").glob("rows-*")
    (row,) = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    assert row["reason"] == "negative_clicks" and "user_city" not in row["values"] and "user_id" in row["values"]


@pytest.mark.slow
def test_a_rare_value_reads_as_any_unknown_one_in_training_and_serving(made):
    log = schema.read(made[0] / "schema.pbtxt")
    transform.fit(str(made[0] / "train" / "*"), log, str(made[0] / "transform"))
    reader = SessionReader(log, str(made[0] / "transform"))
    assert reader.vocabulary("user_city") == ["big"]
    session = {name: [kind.absent] * (reader.spec.width(name) or 0) for name, kind in reader.spec.session.items()}
    ids = [int(tiny.read(reader, session | {"user_city": [c]})["user_city"][0]) for c in (features.RARE, "small", "")]
    assert ids == [2, 2, 0]


def test_how_many_users_share_a_value_does_not_matter_to_what_is_passed_on():
    users = [f"u{n}" for n in np.random.default_rng(0).permutation(1000)]
    rows = pa.table({"user_id": users * 2, "timestamp": list(range(2000)), "user_city": ["x"] * 2000})
    held = k_anonymity.holders(rows, KAnonymity(("user_city",), 7)).to_pydict()
    assert held["time"] == list(range(7)) and len(set(held["user"])) == 7


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"k_anonymity": {"columns": ["user_id"]}}, "user_id is no feature of users"),
        ({"k_anonymity": {"columns": ["user_city"], "k": 1}}, "k must be at least 2"),
        (
            {"k_anonymity": {"columns": ["user_city"]}, "ids": {"user_city": {"oov_buckets": 4}}},
            "ids.user_city and k_anonymity contradict",
        ),
    ],
)
def test_contradictions(settings, named):
    with pytest.raises(ConfigError, match=named):
        parsing.build(DatasetConfig, settings, "")
