import pytest

from hrlrec_tf.data import prepare
from hrlrec_tf.errors import ConfigError, LogError

from ..logs import IN_MEMORY
from .copies import rejected, run, write

TRAIN = [
    "1\tU13740\t11/11/2019 9:05:58 AM\tN55189 N42782\tN55689-1 N35729-0",
    "2\tU91836\t11/12/2019 6:11:30 PM\t\tN20678-0 N39317-0 N58114-1",
]
DEV = ["1\tU13740\t11/15/2019 12:00:01 AM\tN55189\tN35729-1 N20678-0"]
NEWS = [
    'N55689\tsports\tfootball_nfl\tCharles Rogers, "former" lion\tabstract\thttps://x\t[]\t[]',
    'N35729\tnews\tnewsus\tAn 8" wide title\tabstract\thttps://x\t[{"Label": "a"}]\t[]',
    "N20678\tsports\tbasketball_nba\t\t\thttps://x\t[]\t[]",
    "N39317\tfinance\tmarkets\tt\t\thttps://x\t[]\t[]",
    "N58114\tsports\tfootball_nfl\tt\t\thttps://x\t[]\t[]",
]


def copy(folder, train=TRAIN, dev=DEV, size="small"):
    for name, rows in (("train", train), ("dev", dev)):
        if rows:
            write(folder, f"MIND{size}_{name}/behaviors.tsv", rows)
            write(folder, f"MIND{size}_{name}/news.tsv", NEWS)
    return folder


def test_rows_are_mapped(tmp_path):
    report, rows, dataset = run("mind", copy(tmp_path / "in", dev=()), tmp_path / "log")
    assert rows[0] == {
        "request_id": "MINDsmall_train/1",
        "user_id": "U13740",
        "timestamp": 1573463158000,  # 2019-11-11 09:05:58 UTC
        "position": 1,
        "item_id": "N55689",
        "channel": "sports",
        "tags": ["football_nfl"],
        "clicks": 1,
    }
    assert [(row["item_id"], row["position"], row["clicks"]) for row in rows[1:]] == [
        ("N35729", 2, 0), ("N20678", 1, 0), ("N39317", 2, 0), ("N58114", 3, 1),
    ]  # fmt: skip
    assert rows[2]["timestamp"] == 1573582290000 and rows[1]["channel"] == "news"
    assert report["channels"] == {"sports": 3, "news": 1, "finance": 1}
    assert dataset.list_rule is None and dataset.split.eval_from is None


def test_train_and_dev_keep_the_published_split(tmp_path):
    _, rows, dataset = run("mind", copy(tmp_path / "in"), tmp_path / "log")
    assert dataset.split.eval_from == 1573776001000 and rows[0]["request_id"] == "MINDsmall_dev/1"
    assert 1573463158000 < dataset.split.validation_from <= 1573582290000
    summary = prepare.prepare(dataset, str(tmp_path / "sessions"), IN_MEMORY, show_progress=False)
    assert summary["requests"] == {"train": 1, "validation": 1, "eval": 1} and summary["rejected"] == {}
    assert summary["rows"]["eval"] == 2


def test_a_dev_set_that_overlaps_is_split_by_shares(tmp_path):
    early = [DEV[0].replace("11/15/2019", "11/11/2019")]
    report, _, dataset = run("mind", copy(tmp_path / "in", dev=early), tmp_path / "log")
    assert dataset.split.eval_from is None and any("overlap" in note for note in report["notes"])


def test_the_test_set_is_left_out(tmp_path):
    folder = copy(tmp_path / "in")
    write(folder, "MINDsmall_test/behaviors.tsv", ["1\tU1\t11/20/2019 9:05:58 AM\t\tN55689 N35729"])
    report, rows, _ = run("mind", folder, tmp_path / "log")
    assert len(rows) == 7 and "left out: MINDsmall_test/behaviors.tsv, no labels" in report["notes"]
    for name in ("train", "dev"):
        (folder / f"MINDsmall_{name}" / "behaviors.tsv").unlink()
    with pytest.raises(LogError, match="carry no click labels"):
        run("mind", folder, tmp_path / "other")


def test_damaged_rows_are_counted_with_their_reason(tmp_path):
    bad = [
        "3\tU1\t11/12/2019\t\tN55689-0",
        "4\tU1\t11/12/2019 6:11:30 PM\t\t",
        "5\tU1\t11/12/2019 6:11:30 PM\t\tN55689-7 N0-1",
        "6\tU1\t11/12/2019 6:11:30 PM",
    ]
    report, rows, _ = run("mind", copy(tmp_path / "in", [*TRAIN, *bad], ()), tmp_path / "log")
    assert len(rows) == 5 and report["read"] == 10
    assert sorted(rejected(tmp_path / "log"), key=lambda row: row[1:]) == [
        ("MINDsmall_train/behaviors.tsv", 3, "missing_timestamp"),
        ("MINDsmall_train/behaviors.tsv", 4, "no_impressions"),
        ("MINDsmall_train/behaviors.tsv", 5, "missing_channel"),  # N0 is no news
        ("MINDsmall_train/behaviors.tsv", 5, "missing_channel"),  # neither is N55689-7
        ("MINDsmall_train/behaviors.tsv", 6, "malformed_row"),
    ]


def test_small_and_large_need_a_choice(tmp_path):
    copy(copy(tmp_path / "in"), size="large", dev=())
    with pytest.raises(ConfigError, match="MINDsmall and MINDlarge.*--variant small . large"):
        run("mind", tmp_path / "in", tmp_path / "log")
    assert len(run("mind", tmp_path / "in", tmp_path / "log", "large")[1]) == 5


def test_missing_files_are_named(tmp_path):
    folder = copy(tmp_path / "in", dev=())
    with pytest.raises(LogError, match="MINDlarge_train/behaviors.tsv is missing.*msnews.github.io"):
        run("mind", folder, tmp_path / "log", "large")
    (folder / "MINDsmall_train" / "news.tsv").unlink()
    with pytest.raises(LogError, match="news.tsv is missing; MIND needs it"):
        run("mind", folder, tmp_path / "log")


def test_a_file_of_another_width_is_refused(tmp_path):
    folder = copy(tmp_path / "in", ["1\tU1\tN1-1"], ())
    with pytest.raises(LogError, match="behaviors.tsv: does not have 5 columns; this is not the published MIND"):
        run("mind", folder, tmp_path / "log")
