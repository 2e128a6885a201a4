import pytest

from hrlrec_tf.data import prepare
from hrlrec_tf.errors import LogError

from ..logs import IN_MEMORY
from .copies import rejected, run, write


def document(n, reward=0.0):
    fields = [f"field{k}:{k}{n},{k}9" for k in range(1, 10)]
    return " ".join([*fields, f"reward:{reward}", f"return:{reward + 0.3}"])


def line(sid, offset=0, rewards=(0.0, 1.0)):
    rows = "|".join(document(n, reward) for n, reward in enumerate(rewards))
    return f"sid:{sid}\toffset:{offset}\trec_list:{rows}"


def test_rows_are_mapped(tmp_path):
    write(tmp_path / "in", "sample.data", [line("a:1"), line("b", 10, [2.0])])
    report, rows, dataset = run("hrl-rec-sample", tmp_path / "in", tmp_path / "log")
    assert rows[1] == {
        "request_id": "a:1/0/0", "user_id": "a:1", "timestamp": 1_580_515_200_000, "position": 2,
        "item_id": "41,49/51,59/61,69", "channel": "41,49", "clicks": 1,
        "user_field1": "11,19", "user_field2": "21,29", "user_field3": "31,39",
        "item_field1": "41,49", "item_field2": "51,59", "item_field3": "61,69",
        "context_field1": "71,79", "context_field2": "81,89", "context_field3": "91,99",
    }  # fmt: skip
    assert [row["clicks"] for row in rows] == [0, 1, 1]
    assert (rows[2]["request_id"], rows[2]["timestamp"]) == ("b/10/1", 1_580_515_260_000)
    assert dataset.list_rule is None and any("not published" in note for note in report["notes"])


def test_parts_go_on_from_each_other_and_the_channel_can_be_chosen(tmp_path):
    for part in (1, 2, 3):
        write(
            tmp_path / "in", f"sample.data.part{part}", [line(f"s{part}", rewards=[0.0, 1.0, 0.0]) for _ in range(20)]
        )
    _, rows, dataset = run("hrl-rec-sample", tmp_path / "in", tmp_path / "log", "doc2")
    assert len({row["request_id"] for row in rows}) == 60 and rows[0]["channel"] == "50,59"
    summary = prepare.prepare(dataset, str(tmp_path / "sessions"), IN_MEMORY, show_progress=False)
    assert summary["accepted"] == 180 and sum(summary["requests"].values()) == 60


def test_damaged_lines_are_counted_and_a_missing_file_is_named(tmp_path):
    short = line("c").replace("field9:", "other:")
    bad = ["sid:x\toffset:1", "sid:x\toffset:1\tdocs:1", short, line("d").replace("reward:1.0", "reward:x")]
    write(tmp_path / "in", "sample.data", [line("a"), *bad])
    report, rows, _ = run("hrl-rec-sample", tmp_path / "in", tmp_path / "log")
    assert len(rows) == 3 and report["read"] == 8
    assert [row[1:] for row in rejected(tmp_path / "log")] == [
        (2, "malformed_row"), (3, "not_a_sample_line"), (4, "not_a_sample_row"), (4, "not_a_sample_row"),
        (5, "not_a_number_clicks"),
    ]  # fmt: skip
    write(tmp_path / "other", "data_reader.py", "")
    with pytest.raises(
        LogError, match="sample.data is missing; HRL-Rec sample needs it: get it from https://github.com"
    ):
        run("hrl-rec-sample", tmp_path / "other", tmp_path / "x")
