import collections

import pandas as pd
import pytest

from hrlrec_tf.data import prepare
from hrlrec_tf.errors import ConfigError, LogError

from ..logs import IN_MEMORY
from .copies import rejected, run, write

HEADER = (
    ",timestamp,item_id,position,click,propensity_score,"
    + ",".join(f"user_feature_{n}" for n in range(4))
    + ","
    + ",".join(f"user-item_affinity_{n}" for n in range(3))
)
SLOTS = [
    "0,2019-11-24 00:01:03.979311+00:00,2,2,0,0.045525,cef,2d0,c2e,c39,0.0,0.5,1.5",
    "1,2019-11-24 00:01:45.406608+00:00,0,3,1,0.059345,cef,f1c,7bc,9bd,0.25,0.0,0.0",
]
# The same groups under other hashes.
ITEMS = {"random": ("aa", "bb", "aa"), "bts": ("zz", "yy", "zz")}


def copy(folder, *policies, slots=SLOTS):
    for policy in policies:
        items = [f"{n},{n},-0.{n + 1},{hashed},x,{hashed}" for n, hashed in enumerate(ITEMS[policy])]
        header = ",item_id,item_feature_0,item_feature_1,item_feature_2,item_feature_3"
        write(folder, f"{policy}/men/item_context.csv", [header, *items])
        write(folder, f"{policy}/men/men.csv", [HEADER, *slots])
    return folder


def test_rows_are_mapped(tmp_path):
    _, rows, dataset = run("open-bandit", copy(tmp_path / "in", "random"), tmp_path / "log")
    assert rows[0] == {
        "request_id": "random-2", "user_id": "cef:2d0:c2e:c39", "timestamp": 1574553663979, "position": 2,
        "item_id": "2", "channel": "with_0", "clicks": 0, "propensity_item": pytest.approx(0.045525), "explored": 1,
        "item_feature_0": pytest.approx(-0.3), "item_feature_2": "with_0", "item_feature_3": "with_0",
        "item_affinity": 1.5, "user_feature_0": "cef", "user_feature_1": "2d0", "user_feature_2": "c2e",
        "user_feature_3": "c39",
    }  # fmt: skip
    assert (
        rows[1]["item_affinity"] == 0.25 and rows[1]["clicks"] == 1 and rows[1]["request_id"] != rows[0]["request_id"]
    )
    assert dataset.list_rule is None


def test_both_policies_name_the_groups_of_items_alike(tmp_path):
    folder = copy(tmp_path / "in", "random", "bts")
    with pytest.raises(ConfigError, match="--variant random/men . bts/men"):
        run("open-bandit", folder, tmp_path / "log")
    channels = [
        [
            (row["item_id"], row["channel"], row["explored"])
            for row in run("open-bandit", folder, tmp_path / policy, f"{policy}/men")[1]
        ]
        for policy in ("random", "bts")
    ]
    assert channels == [[("2", "with_0", 1), ("0", "with_0", 1)], [("2", "with_0", 0), ("0", "with_0", 0)]]


def test_damaged_rows_and_missing_files(tmp_path):
    bad = [
        SLOTS[0].replace("0.045525", "0"),
        SLOTS[0].replace(",2,2,", ",99,2,"),
        "7,2019",
        SLOTS[0].replace("2019-", "x"),
    ]
    folder = copy(tmp_path / "in", "random", slots=[*SLOTS, *bad])
    run("open-bandit", folder, tmp_path / "log")
    assert {reason for _, _, reason in rejected(tmp_path / "log")} == {
        "propensity_out_of_range", "missing_channel", "malformed_row", "not_a_number_timestamp",
    }  # fmt: skip
    (folder / "random" / "men" / "item_context.csv").unlink()
    with pytest.raises(
        LogError, match="random/men/item_context.csv is missing; Open Bandit Dataset needs it: get it from"
    ):
        run("open-bandit", folder, tmp_path / "other")
    write(tmp_path / "empty", "men.csv", [HEADER])
    with pytest.raises(LogError, match="no file of Open Bandit Dataset .POLICY/CAMPAIGN/CAMPAIGN.csv"):
        run("open-bandit", tmp_path / "empty", tmp_path / "other")


def test_the_real_small_version(shared_data, tmp_path):
    folder, clicks, groups = shared_data / "obd_small", {}, collections.defaultdict(set)
    for policy in ("random", "bts"):
        report, rows, dataset = run("open-bandit", folder, tmp_path / policy, f"{policy}/men")
        raw = pd.read_csv(folder / policy / "men" / "men.csv")
        clicks[policy] = report["clicks"]
        assert [row["item_id"] for row in rows] == raw["item_id"].astype(str).tolist() and report["rejected"] == {}
        affinity = [raw.at[n, f"user-item_affinity_{item}"] for n, item in enumerate(raw["item_id"])]
        assert [row["item_affinity"] for row in rows] == affinity
        for row in rows:
            groups[row["item_id"]].add((row["channel"], row["item_feature_2"], row["item_feature_3"]))
    assert clicks == {"random": 46, "bts": 69}
    assert {len(names) for names in groups.values()} == {1}
    summary = prepare.prepare(dataset, str(tmp_path / "sessions"), IN_MEMORY, show_progress=False)
    assert summary["accepted"] == 10_000 and summary["lists_cut_at_length"] == 0
