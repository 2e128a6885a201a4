import gzip

import numpy as np
import pandas as pd
import pytest

from hrlrec_tf.errors import ConfigError, LogError

from .copies import rejected, run, write

LOG = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab"
)
VIDEOS = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,server_height,"
    "music_id,music_type,tag"
)
USERS = (
    "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,follow_user_num,"
    "follow_user_num_range,fans_user_num,fans_user_num_range,friend_user_num,friend_user_num_range,register_days,"
    "register_days_range," + ",".join(f"onehot_feat{n}" for n in range(18))
)


def log_row(user, video, time, click=0, play=0, duration=20_000, rand=0, tab=1):
    return f"{user},{video},20220420,1700,{time},{click},0,0,0,0,0,0,{play},{duration},0,0,0,{rand},{tab}"


def copy(folder, variant="1k", first=(), random=()):
    late, early = 1650860000000, 1649860000000
    names = ["log_standard_4_08_to_4_21", "log_standard_4_22_to_5_08"]
    parts = [f"{name}_27k_part{part}" for name in names for part in (1, 2)]
    stems = parts if variant == "27k" else [f"{name}_{variant}" for name in names]
    rows = [log_row(7, 10, early, 1, 12_500), log_row(7, 11, early + 5000, duration=0, tab=4)]
    for n, stem in enumerate(stems):
        write(folder, f"data/{stem}.csv", [LOG, *(first if n == 0 else ()), *(rows if n == 0 else [])])
        if n:
            write(folder, f"data/{stem}.csv", [LOG, log_row(8, 12, late + n, duration=45_000)])
    write(folder, f"data/log_random_4_22_to_5_08_{variant}.csv", [LOG, log_row(8, 13, late + 9, rand=1), *random])
    videos = [
        "10,441,NORMAL,2022-03-01,ShortImport,0.0,20000.0,720.0,1280.0,99.0,4.0,\"12,65\"",
        "11,442,NORMAL,2022-03-01,PictureSet,0.0,,720.0,1280.0,98.0,9.0,",
        "12,443,NORMAL,2022-03-01,LongImport,0.0,45000.0,720.0,1280.0,97.0,,39",
        "13,444,AD,2022-03-01,ShortImport,0.0,9000.0,720.0,1280.0,96.0,4.0,1",
    ]  # fmt: skip
    write(folder, f"data/video_features_basic_{variant}.csv", [VIDEOS, *videos])
    user = '{},full_active,0,-124,1,5,"(0,10]",0,0,0,0,3624,730+,' + ",".join("0" * 18)
    write(folder, f"data/user_features_{variant}.csv", [USERS, user.format(7), user.format(8)])
    return folder


def test_rows_are_mapped(tmp_path):
    report, rows, dataset = run("kuairand", copy(tmp_path / "in"), tmp_path / "log")
    assert rows[0] == {
        "user_id": "7", "timestamp": 1649860000000, "item_id": "10", "channel": "short", "tags": ["12", "65"],
        "clicks": 1, "dwell_seconds": 12.5, "explored": 0, "context_tab": "1", "item_author": "441",
        "item_upload_type": "ShortImport", "item_music_type": "4.0", "item_duration_seconds": 20.0,
        "user_active_degree": "full_active", "user_is_lowactive_period": "0", "user_is_live_streamer": "-124",
        "user_is_video_author": "1", "user_follow_user_num_range": "(0,10]", "user_fans_user_num_range": "0",
        "user_friend_user_num_range": "0", "user_register_days_range": "730+",
    }  # fmt: skip
    assert [row["channel"] for row in rows] == ["short", "photo", "long", "ad"]
    assert [row["explored"] for row in rows] == [0, 0, 0, 1] and rows[1]["context_tab"] == "4"
    assert rows[1]["tags"] == []
    assert (report["read"], report["written"], report["rejected"]) == (4, 4, {})
    assert dataset.list_rule.gap_seconds == 1800 and dataset.item_counts is not None


@pytest.mark.parametrize("variant", ["pure", "1k", "27k"])
def test_each_variant_is_found_by_its_names(tmp_path, variant):
    report, rows, _ = run("kuairand", copy(tmp_path / "in", variant), tmp_path / "log")
    assert len(rows) == (6 if variant == "27k" else 4)


def test_packed_files_are_read(tmp_path):
    folder = copy(tmp_path / "in")
    for path in list(folder.rglob("*.csv")):
        (path.parent / (path.name + ".gz")).write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert len(run("kuairand", folder, tmp_path / "log")[1]) == 4


def test_damaged_rows_are_counted_with_their_reason(tmp_path):
    bad = [
        "7,10,20220420",
        log_row(7, 10, 5),
        log_row("", 10, 1649860000000),
        log_row(7, 10, 1649860000000, duration="x"),
    ]
    report, rows, _ = run("kuairand", copy(tmp_path / "in", first=bad), tmp_path / "log")
    assert len(rows) == 4 and report["read"] == 8
    name = "data/log_standard_4_08_to_4_21_1k.csv"
    assert rejected(tmp_path / "log") == [
        (name, 2, "malformed_row"),
        (name, 3, "timestamp_out_of_range"),
        (name, 4, "missing_user_id"),
        (name, 5, "missing_channel"),
    ]
    assert report["rejected"] == {
        "malformed_row": 1, "timestamp_out_of_range": 1, "missing_user_id": 1, "missing_channel": 1,
    }  # fmt: skip


def test_a_video_without_features_keeps_its_row(tmp_path):
    report, rows, _ = run("kuairand", copy(tmp_path / "in", random=[log_row(9, 99, 1650860000100)]), tmp_path / "log")
    assert rows[-1]["channel"] == "short" and rows[-1]["item_author"] == "" and rows[-1]["user_active_degree"] == ""


@pytest.mark.parametrize(
    "name",
    [
        "log_random_4_22_to_5_08_27k.csv",
        "log_standard_4_22_to_5_08_27k_part2.csv",
        "video_features_basic_27k.csv",
        "user_features_27k.csv",
    ],
)
def test_a_missing_file_is_named(tmp_path, name):
    folder = copy(tmp_path / "in", "27k")
    (folder / "data" / name).unlink()
    with pytest.raises(LogError, match=f"{name} is missing; KuaiRand needs it: get it from https://kuairand.com"):
        run("kuairand", folder, tmp_path / "log")
    assert not (tmp_path / "log").exists() and not (tmp_path / ".log.partial").exists()


def test_other_columns_are_named(tmp_path):
    folder = copy(tmp_path / "in")
    path = folder / "data" / "log_standard_4_22_to_5_08_1k.csv"
    path.write_text(path.read_text().replace(",tab", ",scene"))
    with pytest.raises(
        LogError, match="1k.csv: column tab is missing; its columns: user_id, .*not the published KuaiRand"
    ):
        run("kuairand", folder, tmp_path / "log")


def test_two_variants_need_a_choice(tmp_path):
    copy(copy(tmp_path / "in", "pure"), "1k")
    with pytest.raises(ConfigError, match="several variants of KuaiRand: name one with --variant pure . 1k"):
        run("kuairand", tmp_path / "in", tmp_path / "log")
    assert len(run("kuairand", tmp_path / "in", tmp_path / "log", "pure")[1]) == 4


def test_the_rows_of_the_real_sample(shared_data, tmp_path):
    """A sample that lacks the published columns is_like, is_hate, profile_stay_time, is_rand and tab."""
    path = next((shared_data / "kuairand27k_like_hate").glob("*.tsv"))
    sample = pd.read_csv(path, sep="\t").reindex(columns=LOG.split(","), fill_value=0)
    folder = copy(tmp_path / "in", "27k")
    sample.to_csv(folder / "data" / "log_standard_4_08_to_4_21_27k_part1.csv", index=False)
    report, rows, _ = run("kuairand", folder, tmp_path / "log")
    assert len(rows) == 41_828 + 4 and report["rejected"] == {}
    rows, short = rows[:-4], sample["duration_ms"].between(1, 29_999)
    photo = sample["duration_ms"] == 0
    channels = np.select([sample["video_id"] == 13, photo, short], ["ad", "photo", "short"], "long")
    assert [row["channel"] for row in rows] == channels.tolist()
    assert sum(row["clicks"] for row in rows) == sample["is_click"].sum()
    np.testing.assert_allclose([row["dwell_seconds"] for row in rows], sample["play_time_ms"] / 1000, rtol=1e-6)
    assert [row["timestamp"] for row in rows] == sample["time_ms"].tolist()
