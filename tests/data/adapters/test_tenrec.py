import pytest

from hrlrec_tf.data import prepare
from hrlrec_tf.errors import ConfigError, LogError

from ..logs import IN_MEMORY, read_sessions
from .copies import rejected, run, write

VIDEO = "user_id,item_id,click,follow,like,share,video_category,watching_times,gender,age"
ARTICLE = (
    "user_id,item_id,click,gender,age,exposure_count,click_count,like_count,comment_count,read_percentage,item_score1,"
    "item_score2,category_second,category_first,item_score3"
)
START, DAY = 1_609_459_200_000, 86_400_000


def video(user, item, click=0, category="1"):
    return f"{user},{item},{click},0,0,0,{category},{click},1,4"


def test_rows_are_mapped_and_spread_over_the_made_up_period(tmp_path):
    rows = [video(1, 4), video(1, 1201, 1), video(2, 7, category="\\N"), video(1, 5), video(1, 6, 1, "")]
    write(tmp_path / "in", "QB-video.csv", [VIDEO, *rows])
    report, rows, dataset = run("tenrec", tmp_path / "in", tmp_path / "log")
    assert rows[0] == {
        "user_id": "1", "timestamp": START, "item_id": "4", "channel": "1", "clicks": 0, "user_gender": "1",
        "user_age": "4",
    }  # fmt: skip
    days = [(row["user_id"], (row["timestamp"] - START) / DAY) for row in rows]
    assert days == [("1", 0.0), ("1", 25.0), ("2", 0.0), ("1", 50.0), ("1", 75.0)]
    assert [row["channel"] for row in rows] == ["1", "1", "unknown", "1", "unknown"]
    assert dataset.item_counts is None and any("made-up days" in note for note in report["notes"])


def test_sessions_hold_out_the_last_rows_of_every_user(tmp_path):
    rows = [video(user, f"{user}{n:02d}", n % 2) for user in (1, 2, 3) for n in range(20)]
    write(tmp_path / "in", "QK-video.csv", [VIDEO, *rows])
    _, _, dataset = run("tenrec", tmp_path / "in", tmp_path / "log")
    summary = prepare.prepare(dataset, str(tmp_path / "sessions"), IN_MEMORY, show_progress=False)
    assert summary["rows"]["eval"] == 12 and summary["rejected"] == {}
    held_out = set()
    for session in read_sessions(tmp_path / "sessions", "eval"):
        held_out |= {item for item, weight in zip(session["item_id"], session["weight"]) if weight}
    assert held_out == {f"{user}{n}" for user in (1, 2, 3) for n in range(16, 20)}


def test_articles(tmp_path):
    write(
        tmp_path / "in",
        "QB-article.csv",
        [ARTICLE, "1,4,1,0,3,9,8,0,0,0.5,1,2,77,12,3", "1,5,1,0,3,9,8,0,0,0.5,1,2,\\N,12,3"],
    )
    report, rows, _ = run("tenrec", tmp_path / "in", tmp_path / "log")
    assert [(row["channel"], row["tags"]) for row in rows] == [("12", ["77"]), ("12", [])]
    assert any("every row has a click: there is one class only" in note for note in report["notes"])


def test_time_is_the_same_however_the_file_is_cut_into_batches(tmp_path, monkeypatch):
    rows = [video(n % 7, n) for n in range(200)]
    write(tmp_path / "in", "ctr_data_1M.csv", [VIDEO, *rows])
    _, whole, _ = run("tenrec", tmp_path / "in", tmp_path / "log")
    monkeypatch.setattr("hrlrec_tf.data.text_formats._blocks.__defaults__", (256,))
    _, cut, _ = run("tenrec", tmp_path / "in", tmp_path / "again")
    assert whole == cut and len({(row["user_id"], row["timestamp"]) for row in whole}) == 200


def test_damaged_rows_missing_files_and_choices(tmp_path):
    folder = tmp_path / "in"
    write(folder, "QK-video.csv", [VIDEO, video(1, 4), "1,2", video("", 3), video(1, 5, "x")])
    report, _, _ = run("tenrec", folder, tmp_path / "log")
    assert report["rejected"] == {"malformed_row": 1, "missing_user_id": 1, "not_a_number_clicks": 1}
    assert rejected(tmp_path / "log")[0] == ("QK-video.csv", 3, "malformed_row")
    with pytest.raises(
        LogError, match="QB-video.csv is missing; Tenrec needs it: get it from https://github.com/yuangh"
    ):
        run("tenrec", folder, tmp_path / "other", "qb-video")
    write(folder, "QB-video.csv", [VIDEO.replace("video_category", "category"), video(1, 4)])
    with pytest.raises(ConfigError, match="--variant qk-video . qb-video"):
        run("tenrec", folder, tmp_path / "other")
    with pytest.raises(LogError, match="QB-video.csv: column video_category is missing"):
        run("tenrec", folder, tmp_path / "other", "qb-video")
